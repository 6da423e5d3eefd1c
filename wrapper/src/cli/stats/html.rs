//! The same numbers as one page for a browser: text, tables and bars, and nothing from elsewhere.

use std::fmt::Write;

use super::Shown;
use crate::outcome::Counter;
use crate::stats::figures::bucket_end_us;
use crate::stats::{Figures, Group, grouped, size, time};

/// Colours for light and for dark rooms.
const STYLE: &str = "\
:root{--ink:#1d2733;--dim:#6b7785;--page:#fff;--line:#e3e8ee;--hit:#2f9e6e;--miss:#d99a2b;\
--part:#3b7dd8}\
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--dim:#93a0ae;--page:#151a20;\
--line:#2a323c;--hit:#46c08b;--miss:#e3b04b;--part:#6aa5f0}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);\
max-width:46rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.3rem}h2{font-size:1rem;margin:2rem 0 .4rem}p{color:var(--dim);margin:.2rem 0}\
table{width:100%;border-collapse:collapse}td{border-bottom:1px solid var(--line);padding:.2rem 0}\
td+td{text-align:right;font-variant-numeric:tabular-nums}\
.big{font-size:2.2rem;color:var(--hit)}svg{width:100%;height:auto;display:block}\
text{fill:var(--ink);font-size:12px}";

/// The page.
pub fn page(shown: &Shown) -> String {
    let figures = &shown.figures;
    let mut body = String::new();
    let percent = figures.hit_rate() * 100.0;
    let _ = write!(
        body,
        "<h1>larder</h1><p>{}</p><p class=\"big\">{percent:.1} % hits</p>{}\
         <p>{} of {} cacheable calls</p>",
        escaped(&shown.title),
        share(figures.hit_rate(), "--hit"),
        grouped(figures.hits()),
        grouped(figures.cacheable())
    );
    table(&mut body, "Calls", &calls(figures));
    table(&mut body, "Time", &times(figures));
    for (group, title) in [
        (Group::Uncacheable, "Not cached"),
        (Group::Errors, "Errors"),
        (Group::Objects, "Files of hits that were copied"),
        (Group::Lower, "Lower stores"),
    ] {
        let rows = figures.group(group);
        let rows = rows.into_iter().map(|(_, words, n)| (words.to_owned(), grouped(n)));
        table(&mut body, title, &rows.collect::<Vec<_>>());
    }
    histogram(&mut body, "How long hits took", &figures.hit_times, "--hit");
    histogram(&mut body, "How long misses took", &figures.miss_times, "--miss");
    if figures.has_store {
        let (used, most) =
            (figures.named("store_disk_bytes"), figures.named("store_max_size_bytes"));
        table(&mut body, "Store", &store(figures));
        body.push_str(&share(used as f64 / most.max(1) as f64, "--part"));
    }
    if let Some(calls) = &shown.calls {
        let rows = calls.slowest().into_iter();
        let rows: Vec<_> = rows.map(|line| (line.source.clone(), time(line.spent_us))).collect();
        table(&mut body, "The slowest misses", &rows);
        let rows = calls.reasons().into_iter();
        let rows: Vec<_> = rows.map(|(why, count)| (why.to_owned(), grouped(count))).collect();
        table(&mut body, "Why calls were not cached", &rows);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>larder</title>\
         <style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

fn calls(figures: &Figures) -> Vec<(String, String)> {
    [
        ("direct hits", Counter::DirectCacheHit),
        ("preprocessed hits", Counter::PreprocessedCacheHit),
        ("misses", Counter::CacheMiss),
        ("failures answered", Counter::FailureCacheHit),
    ]
    .into_iter()
    .map(|(words, counter)| (words.to_owned(), grouped(figures.value(counter))))
    .collect()
}

fn times(figures: &Figures) -> Vec<(String, String)> {
    let of = |counter: Counter| time(figures.value(counter));
    let rows = [
        ("saved", time(figures.saved_us())),
        ("compilers would have taken", of(Counter::AvoidedTime)),
        ("hits took", of(Counter::HitTime)),
        ("misses took", of(Counter::MissTime)),
        ("of that compilers", of(Counter::CompileTime)),
    ];
    rows.into_iter().map(|(words, value)| (words.to_owned(), value)).collect()
}

fn store(figures: &Figures) -> Vec<(String, String)> {
    let of = |name: &str| size(figures.named(name));
    let rows = [
        ("on disk", of("store_disk_bytes")),
        ("may take", of("store_max_size_bytes")),
        ("entries", grouped(figures.named("store_entries"))),
        ("written", of("engine_put_bytes")),
        ("before it was compressed", of("engine_put_real_bytes")),
    ];
    rows.into_iter().map(|(words, value)| (words.to_owned(), value)).collect()
}

/// A table, unless it is empty.
fn table(body: &mut String, title: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(body, "<h2>{title}</h2><table>");
    for (words, value) in rows {
        let _ = write!(body, "<tr><td>{}</td><td>{}</td></tr>", escaped(words), escaped(value));
    }
    body.push_str("</table>");
}

/// A bar of which a part is filled.
fn share(part: f64, colour: &str) -> String {
    let width = part.clamp(0.0, 1.0) * 700.0;
    format!(
        "<svg viewBox=\"0 0 700 14\"><rect width=\"700\" height=\"14\" rx=\"3\" \
         fill=\"var(--line)\"/><rect width=\"{width:.1}\" height=\"14\" rx=\"3\" \
         fill=\"var({colour})\"/></svg>"
    )
}

/// A row for each bucket between the first and the last that has calls.
fn histogram(body: &mut String, title: &str, times: &[u64], colour: &str) {
    let Some(first) = times.iter().position(|count| *count > 0) else { return };
    let last = times.iter().rposition(|count| *count > 0).unwrap_or(first);
    let most = times.iter().copied().max().unwrap_or(1).max(1);
    let height = (last - first + 1) * 22;
    let _ = write!(body, "<h2>{title}</h2><svg viewBox=\"0 0 700 {height}\">");
    for (row, bucket) in (first..=last).enumerate() {
        let (count, y) = (times[bucket], row * 22);
        let label = match bucket + 1 == times.len() {
            true => format!("from {}", time(bucket_end_us(bucket - 1))),
            false => format!("to {}", time(bucket_end_us(bucket))),
        };
        let width = 480.0 * count as f64 / most as f64;
        let _ = write!(
            body,
            "<text x=\"0\" y=\"{ty}\">{label}</text><rect x=\"110\" y=\"{ry}\" \
             width=\"{width:.1}\" height=\"16\" rx=\"2\" fill=\"var({colour})\"/>\
             <text x=\"{tx:.1}\" y=\"{ty}\">{count}</text>",
            ty = y + 15,
            ry = y + 3,
            tx = 118.0 + width,
            count = grouped(count)
        );
    }
    body.push_str("</svg>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_its_tags_are_closed() {
        let json = "{\"direct_cache_hit\": 3, \"cache_miss\": 1, \"called_for_link\": 7, \
                    \"hit_times\": [0, 2, 1]}";
        let figures = Figures::parse(json).unwrap();
        let shown = Shown { figures, title: "<here> & there".to_owned(), calls: None, tiers: None };
        let page = page(&shown);
        assert!(page.contains("75.0 % hits") && page.contains("&lt;here&gt; &amp; there"));
        assert!(!page.contains("http") && !page.contains("<script"));
        for tag in ["table", "tr", "svg", "h2", "p", "body", "html", "style"] {
            let count = |text: &str| page.matches(text).count();
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
        }
        assert!(page.contains("called for linking") && page.contains("to 250 us"));
    }
}
