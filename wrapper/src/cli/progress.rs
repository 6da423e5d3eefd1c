//! A bar on the terminal of whoever waits; nothing where stderr is no terminal.
//!
//! Written by hand: it is one line, and whatever a crate for it brings along every compile loads.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::stats::size;

/// Redrawn no more often than this: each time costs a call and a terminal's work. What takes no
/// longer is not drawn at all.
const REDRAW: Duration = Duration::from_millis(100);

/// Cells of the bar, and where lines are short.
const CELLS: [usize; 2] = [24, 10];

/// A bar that shows how many bytes are done.
pub struct Bar {
    label: &'static str,
    is_shown: bool,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    /// A bar that is not drawn yet.
    pub fn new(label: &'static str) -> Bar {
        // A line that cannot be wiped would stay on the screen.
        let can_wipe = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let is_shown = can_wipe && std::io::stderr().is_terminal();
        Bar { label, is_shown, begun: Instant::now(), drawn: None }
    }

    /// Shows that `done` bytes of `total` are done.
    pub fn show(&mut self, done: u64, total: u64) {
        if !self.is_shown || self.drawn.unwrap_or(self.begun).elapsed() < REDRAW {
            return;
        }
        self.drawn = Some(Instant::now());
        let text = line(self.label, columns(), (done, total), self.begun.elapsed());
        // The rest of an earlier, longer line is wiped.
        let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
    }

    /// How long it took; wipes the bar.
    pub fn end(self) -> Duration {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.begun.elapsed()
    }
}

/// Columns of the terminal.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

/// As much of it as fits into one line: one that went on in the next could not be drawn over. The
/// last column stays free. Letters are single bytes.
fn line(label: &str, columns: usize, (done, total): (u64, u64), elapsed: Duration) -> String {
    let share = |of: u64| (done.min(total) * of).checked_div(total).unwrap_or(of);
    let head = |cells: usize| {
        let filled = share(cells as u64) as usize;
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(cells - filled));
        format!("{label} [{bar}] {:3} %", share(100))
    };
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / rate.max(1.0);
    // In the first moment the rate says nothing.
    let left = match done > 0 && elapsed >= Duration::from_millis(500) {
        true => format!("  {} left", time(left)),
        false => String::new(),
    };
    let rate = format!("  {}/s", size(rate as u64));
    let sizes = format!("  {} of {}", size(done), size(total));
    let [wide, narrow] = CELLS.map(head);
    let lines = [
        wide + &sizes + &rate + &left,
        format!("{narrow}{sizes}{rate}{left}"),
        format!("{narrow}{sizes}{left}"),
        format!("{narrow}{left}"),
    ];
    let fits = |text: &String| text.len() < columns;
    let text = lines.into_iter().find(fits).unwrap_or(narrow);
    text.get(..columns.saturating_sub(1)).unwrap_or(&text).to_owned()
}

fn time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: (u64, u64) = (512 << 20, 2 << 30);

    #[test]
    fn a_line_says_how_much_is_done_how_fast_and_for_how_long_yet() {
        let text = line("verifying", 100, PART, Duration::from_secs(2));
        let bar = format!("{}{}", "#".repeat(6), ".".repeat(18));
        let wanted =
            format!("verifying [{bar}]  25 %  512.0 MiB of 2.0 GiB  256.0 MiB/s  6 s left");
        assert_eq!(text, wanted);
        assert!(line("x", 100, (0, 0), Duration::ZERO).contains("100 %"));
    }

    #[test]
    fn a_line_leaves_the_last_column_free_and_drops_what_matters_least() {
        let of = |columns| line("recompressing", columns, PART, Duration::from_secs(2));
        for (columns, wanted) in [
            (80, "recompressing [##........]  25 %  512.0 MiB of 2.0 GiB  256.0 MiB/s  6 s left"),
            (77, "recompressing [##........]  25 %  512.0 MiB of 2.0 GiB  6 s left"),
            (50, "recompressing [##........]  25 %  6 s left"),
            (40, "recompressing [##........]  25 %"),
            (6, "recom"),
            (0, ""),
        ] {
            assert_eq!(of(columns), wanted, "{columns}");
            assert!(wanted.len() < columns.max(1));
        }
    }

    #[test]
    fn long_times_are_told_in_longer_units() {
        assert_eq!(
            (time(0.2), time(99.0), time(119.0)),
            ("1 s".into(), "99 s".into(), "2 min".into())
        );
        assert_eq!(time(7000.0), "2 h");
    }
}
