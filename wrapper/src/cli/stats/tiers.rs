//! What `larder stats` and `larder agent status` show of remote tiers.

use std::fmt::Write;
use std::path::Path;

use crate::agent::{Count, Launch, Reply, Request, Side, TierState, now_ms};
use crate::cli::json::{Object, string};
use crate::cli::style::{Paint, Style};
use crate::config::Config;
use crate::stats::size;
use crate::tier::TierSettings;

/// What the store and the agent tell of the tiers.
#[derive(Default)]
pub struct Told {
    /// The process of the agent, if one runs.
    pub pid: Option<u64>,
    tiers: Vec<OfTier>,
}

/// What is known of one tier.
#[derive(Default)]
struct OfTier {
    state: Option<TierState>,
    waiting: Option<u64>,
    used_bytes: Option<u64>,
    bytes_max: Option<u64>,
}

impl Told {
    /// Asks for everything. `starts` lets a program ask the servers where no agent runs.
    pub fn ask(config: &Config, store: &Path, starts: bool) -> Told {
        let tiers = config.tiers.value.iter().map(|tier| {
            let state = TierState::open(store, tier, |_| false);
            OfTier { state, ..OfTier::default() }
        });
        let mut told = Told { pid: None, tiers: tiers.collect() };
        let launch = Launch::new(config, store);
        let reply = match launch.running() {
            Ok(Some(mut client)) => client.ask(&Request::Status).ok().map(|reply| (reply, true)),
            _ if starts => launch.alone(&Request::Status).ok().map(|reply| (reply, false)),
            _ => None,
        };
        if let Some((Reply::Text(text), runs)) = reply {
            told.read(&text, runs);
        }
        told
    }

    /// Reads what the agent says: a line `pid N`, and one `tier WAITING USED MAX` for each.
    fn read(&mut self, text: &str, runs: bool) {
        let mut tiers = self.tiers.iter_mut();
        for line in text.lines() {
            let mut words = line.split(' ');
            let first = words.next();
            let mut number = || words.next().and_then(|word| word.parse().ok());
            match first {
                Some("pid") if runs => self.pid = number(),
                Some("tier") => {
                    let Some(tier) = tiers.next() else { return };
                    tier.waiting = number();
                    tier.used_bytes = number();
                    tier.bytes_max = number();
                }
                _ => {}
            }
        }
    }
}

impl OfTier {
    fn get(&self, count: Count) -> u64 {
        self.state.as_ref().map_or(0, |state| state.get(count))
    }

    /// For how long a side has been left alone, in seconds.
    fn open_secs(&self, side: Side) -> Option<u64> {
        Some(self.state.as_ref()?.open_for_ms(side, now_ms())? / 1000)
    }

    fn condition(&self, settings: &TierSettings) -> String {
        let way = if settings.is_read_only() { "read-only" } else { "read and write" };
        let sides = [(Side::Reads, "reads"), (Side::Writes, "writes")];
        let troubles = sides.into_iter().filter_map(|(side, name)| {
            Some(format!("{name} failed {} s ago", self.open_secs(side)?))
        });
        [way.to_owned()].into_iter().chain(troubles).collect::<Vec<_>>().join(", ")
    }
}

/// The tiers as text; nothing where there are none.
pub fn text(config: &Config, told: &Told, style: Style) -> String {
    let mut text = String::new();
    for (settings, tier) in config.tiers.value.iter().zip(&told.tiers) {
        let heading = style.paint(Paint::Bold, &format!("tier {}", settings.name()));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{heading}  {}", tier.condition(settings));
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<18}{value}");
        };
        let get = |count| tier.get(count);
        let calls = get(Count::Hits) + get(Count::Misses);
        let mean = |time, calls: u64| match get(time).checked_div(calls) {
            Some(us) => format!(", {}.{} ms each", us / 1000, us % 1000 / 100),
            None => String::new(),
        };
        row("hits", format!("{} of {calls}{}", get(Count::Hits), mean(Count::ReadTime, calls)));
        let writes = get(Count::Writes);
        row("writes", format!("{writes}{}", mean(Count::WriteTime, writes)));
        let (into, out) = (get(Count::BackfillsIn), get(Count::BackfillsOut));
        row("backfills", format!("{into} in, {out} out"));
        let bytes = |count| size(get(count));
        row(
            "bytes",
            format!("{} read, {} written", bytes(Count::BytesRead), bytes(Count::BytesWritten)),
        );
        for (count, name) in [
            (Count::ReadFailures, "failed reads"),
            (Count::WriteFailures, "failed writes"),
            (Count::TimeOuts, "time-outs"),
            (Count::Damaged, "damaged values"),
            (Count::Skipped, "not tried"),
            (Count::Lost, "lost"),
            (Count::Refused, "refused signatures"),
        ] {
            if get(count) > 0 {
                row(name, get(count).to_string());
            }
        }
        if let Some(waiting) = tier.waiting {
            row("to be written", waiting.to_string());
        }
        if let Some(used) = tier.used_bytes {
            let of = tier.bytes_max.map_or(String::new(), |max| format!(" of {}", size(max)));
            row("in use", format!("{}{of}", size(used)));
        }
    }
    text
}

/// The tiers as the items of a list in JSON.
pub fn objects(config: &Config, told: &Told) -> Vec<Object> {
    let tiers = config.tiers.value.iter().zip(&told.tiers);
    let object = |(settings, tier): (&TierSettings, &OfTier)| {
        // Who reads these statistics again looks for the end of a list.
        let plain = |text: &str| string(text).replace(']', "\\u005d");
        let object = Object::new()
            .raw("name", &plain(&settings.name()))
            .raw("url", &plain(&settings.display()))
            .switch("is_read_only", settings.is_read_only())
            .number("timeout_ms", settings.timeout().as_millis() as u64);
        let object = Count::ALL
            .iter()
            .fold(object, |object, (count, name)| object.number(name, tier.get(*count)));
        object
            .maybe_number("reads_failed_secs_ago", tier.open_secs(Side::Reads))
            .maybe_number("writes_failed_secs_ago", tier.open_secs(Side::Writes))
            .maybe_number("waiting", tier.waiting)
            .maybe_number("used_bytes", tier.used_bytes)
            .maybe_number("bytes_max", tier.bytes_max)
    };
    tiers.map(object).collect()
}

/// The page of `larder agent status --json`.
pub fn page_json(config: &Config, told: &Told) -> String {
    Object::new().maybe_number("pid", told.pid).list("tiers", objects(config, told)).page()
}

/// Sets the counts of all tiers to zero.
pub fn zero(config: &Config, store: &Path) {
    for tier in &config.tiers.value {
        if let Some(state) = TierState::open(store, tier, |_| false) {
            state.zero();
        }
    }
}
