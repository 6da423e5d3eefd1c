//! The page of `larder stats` for a terminal, as wide as there is room.

use std::fmt::Write;

use super::super::style::{Paint, Style};
use super::Shown;
use crate::outcome::Counter::{self, *};
use crate::stats::figures::bucket_end_us;
use crate::stats::{COUNTERS, Figures, Group, counted, grouped, size, time};

/// Most and fewest columns of a label.
const LABEL_MAX: usize = 34;
const LABEL_MIN: usize = 20;
/// What stands behind a label and its number.
const MORE: usize = 24;
/// Columns of a number.
const NUMBER: usize = 12;
/// A histogram without so many columns for bars is hard to read.
const BAR_MIN: usize = 8;

/// A page being written.
struct Page {
    text: String,
    style: Style,
    /// Columns of a label.
    label: usize,
    /// What a bar is drawn with: its part, and the rest.
    ink: (char, char),
}

/// The page.
pub fn text(shown: &Shown, style: Style) -> String {
    text_in(shown, style, is_utf8())
}

fn text_in(shown: &Shown, style: Style, is_utf8: bool) -> String {
    let figures = &shown.figures;
    let ink = if is_utf8 { ('\u{2588}', '\u{2591}') } else { ('#', '.') };
    let label = style.width.saturating_sub(NUMBER + MORE).clamp(LABEL_MIN, LABEL_MAX);
    let mut page = Page { text: String::new(), style, label, ink };
    let title = style.paint(Paint::Dim, &shown.title);
    let _ = writeln!(page.text, "{title}");
    if figures.was_zeroed {
        page.text.push_str(&style.hang(
            "",
            0,
            "The counters were set to zero in between: these are the numbers since then.",
        ));
    }
    page.calls(figures);
    page.times(figures);
    page.objects(figures);
    page.lower(figures);
    page.reasons(figures, Group::Uncacheable, "not cached");
    page.reasons(figures, Group::Errors, "errors");
    page.histograms(figures);
    if figures.has_store {
        page.store(figures);
    }
    if let Some(calls) = &shown.calls {
        page.of_calls(calls);
    }
    if figures.has_nonsense() {
        page.text
            .push_str("\nsome of these numbers cannot be right; `larder zero` sets them to zero\n");
    }
    page.text
}

/// Whether the terminal's letters are those of Unicode, as the locale says.
fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    set.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

impl Page {
    fn heading(&mut self, label: &str, value: &str) {
        let blank = self.label.saturating_sub(label.chars().count());
        let label = self.style.paint(Paint::Bold, label);
        let line = format!("{label}{:blank$}{value:>NUMBER$}", "");
        let _ = writeln!(self.text, "\n{}", line.trim_end());
    }

    fn line(&mut self, label: &str, value: &str, more: &str) {
        let line = format!("  {label:<width$}{value:>NUMBER$}  {more}", width = self.label - 2);
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    fn count(&mut self, label: &str, value: u64) {
        self.line(label, &grouped(value), "");
    }

    fn bar(&self, part: f64, columns: usize, paint: Paint) -> String {
        let full = (part.clamp(0.0, 1.0) * columns as f64).round() as usize;
        let ink = |letter: char, count: usize| letter.to_string().repeat(count);
        let rest = self.style.paint(Paint::Dim, &ink(self.ink.1, columns - full));
        format!("{}{rest}", self.style.paint(paint, &ink(self.ink.0, full)))
    }

    fn calls(&mut self, figures: &Figures) {
        self.heading("cacheable calls", &grouped(figures.cacheable()));
        if figures.cacheable() > 0 {
            let bar = self.bar(figures.hit_rate(), self.label + NUMBER - 2, Paint::Green);
            let _ = writeln!(self.text, "  {bar}");
        }
        let percent = format!("({:.1} %)", figures.hit_rate() * 100.0);
        // The number and its share stay together, for those who look for them.
        let hits = format!("{:>NUMBER$} {percent}", grouped(figures.hits()));
        let _ = writeln!(self.text, "  {:<width$}{hits}", "hits", width = self.label - 2);
        self.count("  direct", figures.value(DirectCacheHit));
        self.count("  preprocessed", figures.value(PreprocessedCacheHit));
        self.count("misses", figures.value(CacheMiss));
        // Nothing for who never asked for failures.
        if figures.value(FailureCacheHit) > 0 {
            self.count("failures answered", figures.value(FailureCacheHit));
        }
    }

    fn times(&mut self, figures: &Figures) {
        let of = |counter: Counter| figures.value(counter);
        if of(HitTime) == 0 && of(MissTime) == 0 {
            return;
        }
        self.heading("time saved", &time(figures.saved_us()));
        if of(HitTime) > 0 {
            self.line("compilers would have taken", &time(of(AvoidedTime)), "");
            self.line("hits took", &time(of(HitTime)), &each(of(HitTime), figures.hits()));
        }
        if of(MissTime) > 0 {
            let misses = each(of(MissTime), of(CacheMiss));
            self.line("misses took", &time(of(MissTime)), &misses);
            let own = of(MissTime).saturating_sub(of(CompileTime));
            let share = 100.0 * own as f64 / of(MissTime) as f64;
            self.line("  of that larder itself", &time(own), &format!("{share:.1} %"));
        }
        if of(AvoidedUnknown) > 0 {
            self.count("hits whose compile time is unknown", of(AvoidedUnknown));
        }
    }

    /// Nothing for who never asked for clones.
    fn objects(&mut self, figures: &Figures) {
        let (cloned, copied) = (figures.value(ObjectsCloned), figures.value(ObjectsCopied));
        if cloned == 0 && figures.sum(Group::Objects) == 0 {
            return;
        }
        self.heading("files of hits", &grouped(cloned.saturating_add(copied)));
        self.count("cloned", cloned);
        self.count("copied", copied);
        for (_, words, value) in figures.group(Group::Objects) {
            self.count(&format!("  {words}"), value);
        }
    }

    /// Nothing for who has no lower stores.
    fn lower(&mut self, figures: &Figures) {
        if !figures.has_lower() {
            return;
        }
        self.heading("lower stores", "");
        for (counter, _, words, _) in COUNTERS.iter().filter(|row| row.3 == Group::Lower) {
            self.count(words, figures.value(*counter));
        }
    }

    fn reasons(&mut self, figures: &Figures, group: Group, title: &str) {
        let (rows, sum) = (figures.group(group), figures.sum(group));
        if rows.is_empty() && group == Group::Errors {
            return;
        }
        self.heading(title, &grouped(sum));
        for (_, words, value) in rows {
            let share = format!("{:.0} %", 100.0 * value as f64 / sum as f64);
            let more = if sum > value { share } else { String::new() };
            self.line(words, &grouped(value), &more);
        }
    }

    fn histograms(&mut self, figures: &Figures) {
        for (title, times, paint) in [
            ("how long hits took", &figures.hit_times, Paint::Green),
            ("how long misses took", &figures.miss_times, Paint::Yellow),
        ] {
            let Some(first) = times.iter().position(|count| *count > 0) else { continue };
            let last = times.iter().rposition(|count| *count > 0).unwrap_or(first);
            let most = times.iter().copied().max().unwrap_or(1);
            let columns = self.style.width.saturating_sub(2 + 12 + NUMBER + 2).max(BAR_MIN);
            self.heading(title, "");
            for (bucket, count) in times.iter().enumerate().take(last + 1).skip(first) {
                let label = match bucket + 1 == times.len() {
                    true => format!("from {}", time(bucket_end_us(bucket - 1))),
                    false => format!("to {}", time(bucket_end_us(bucket))),
                };
                let part = *count as f64 / most as f64;
                let full = (part * columns as f64).ceil() as usize;
                let bar = self.ink.0.to_string().repeat(full.min(columns));
                let bar = self.style.paint(paint, &bar);
                let row = format!("  {label:<12}{:>NUMBER$}  {bar}", grouped(*count));
                let _ = writeln!(self.text, "{}", row.trim_end());
            }
        }
    }

    fn store(&mut self, figures: &Figures) {
        let bytes = |name: &str| figures.named(name);
        let (used, most) = (bytes("store_disk_bytes"), bytes("store_max_size_bytes"));
        self.heading("store", "");
        let grown = match figures.grown_bytes {
            Some(grown) if grown < 0 => format!(", {} less", size(grown.unsigned_abs())),
            Some(grown) if grown > 0 => format!(", {} more", size(grown.unsigned_abs())),
            _ => String::new(),
        };
        self.line("on disk", &size(used), &format!("of {}{grown}", size(most)));
        if most > 0 {
            let bar = self.bar(used as f64 / most as f64, self.label + NUMBER - 2, Paint::Cyan);
            let _ = writeln!(self.text, "  {bar}");
        }
        self.count("entries", bytes("store_entries"));
        self.count("segments", bytes("store_segments"));
        let (stored, real) = (bytes("engine_put_bytes"), bytes("engine_put_real_bytes"));
        if stored > 0 && real > 0 {
            let share = format!("of {}, {:.0} %", size(real), 100.0 * stored as f64 / real as f64);
            self.line("written", &size(stored), &share);
        }
        let evicted = bytes("engine_segments_evicted");
        if evicted > 0 {
            self.count("segments evicted", evicted);
        }
    }

    fn of_calls(&mut self, calls: &super::Calls) {
        let slowest = calls.slowest();
        if !slowest.is_empty() {
            self.heading("the slowest misses", "");
        }
        for line in slowest {
            let row = format!("  {:>NUMBER$}  {}", time(line.spent_us), line.source);
            let _ = writeln!(self.text, "{row}");
        }
        let reasons = calls.reasons();
        if !reasons.is_empty() {
            self.heading("why calls were not cached", "");
        }
        let style = self.style;
        for (reason, count) in reasons.into_iter().take(20) {
            let lead = format!("  {:>NUMBER$}", grouped(count));
            self.text.push_str(&style.hang(&lead, NUMBER + 4, reason));
        }
        if calls.strange > 0 {
            let lines = counted(calls.strange as u64, "line");
            let _ = writeln!(self.text, "\n{lines} of the log could not be read");
        }
    }
}

/// The mean, in words.
fn each(us: u64, count: u64) -> String {
    match us.checked_div(count) {
        Some(mean) if count > 1 => format!("{} each", time(mean)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(figures: &str) -> String {
        let figures = Figures::parse(figures).unwrap();
        let shown = Shown { figures, title: "here".to_owned(), calls: None, tiers: None };
        text_in(&shown, Style::plain(72), false)
    }

    #[test]
    fn hits_and_reasons_are_told_the_most_frequent_first() {
        let text = page(
            "{\"direct_cache_hit\": 3, \"cache_miss\": 1, \"called_for_link\": 7, \
             \"compile_failed\": 9, \"hit_time_us\": 3000, \"avoided_time_us\": 9000, \
             \"miss_time_us\": 1000, \"compile_time_us\": 750, \"hit_times\": [0, 2, 1, 0]}",
        );
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        let has = |wanted: &str| {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(lines.iter().any(|line| words(line) == wanted), "{wanted}\n{text}");
        };
        has("hits 3 (75.0 %)");
        has("time saved 6.0 ms");
        has("of that larder itself 250 us 25.0 %");
        has("called for linking 7 44 %");
        has(&format!("to 250 us 2 {}", "#".repeat(44)));
        let at = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
        assert!(at("compilation failed") < at("called for linking"));
        assert!(!text.contains("errors") && !text.contains("cloned"));
        assert!(lines.iter().all(|line| line.chars().count() <= 72), "{text}");
    }

    #[test]
    fn lower_stores_are_shown_to_who_has_some() {
        let none = Figures::parse("{\"direct_cache_hit\": 1}").unwrap();
        assert!(!none.has_lower() && none.clone().with_lower().has_lower());
        assert!(!page("{\"direct_cache_hit\": 1}").contains("lower stores"));
        let text = page("{\"direct_cache_hit\": 1, \"lower_hits\": 7}");
        assert!(text.contains("lower stores") && text.contains("failures"), "{text}");
    }

    #[test]
    fn clones_are_shown_to_who_asked_for_them() {
        let with = |more: &str| page(&format!("{{\"direct_cache_hit\": 1{more}}}"));
        assert!(!with(", \"objects_copied\": 5").contains("cloned"));
        let text =
            with(", \"objects_copied\": 5, \"objects_cloned\": 2, \"objects_copied_fresh\": 1");
        assert!(text.contains("written since the last checkpoint"), "{text}");
        assert!(!text.contains("small"), "{text}");
    }
}
