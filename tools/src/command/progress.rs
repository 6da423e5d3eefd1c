//! The bar of a conversion: entries, bytes per second, time left. Nothing where stderr is no
//! terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use larder::stats::size;

use crate::convert::Progress;

/// A bar.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that is not drawn yet.
    pub fn new(label: &'static str) -> Bar {
        // A line that cannot be wiped would stay on the screen.
        let can_wipe = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = match can_wipe {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{prefix} [{bar:24}] {percent:>3} %  {human_pos} of {human_len} entries  \
                        {msg}  {left}";
        let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // In the first moment the rate says nothing.
            if state.elapsed() >= Duration::from_millis(500) && state.pos() > 0 {
                let _ = write!(out, "{} left", time(state.eta()));
            }
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("left", left).progress_chars("##."));
        }
        bar.set_prefix(label);
        Bar(bar)
    }

    /// Shows how far it is.
    pub fn show(&self, progress: Progress) {
        let rate = progress.bytes as f64 / self.0.elapsed().as_secs_f64().max(0.001);
        self.0.set_length(progress.total.max(progress.done));
        self.0.set_message(format!("{}/s", size(rate as u64)));
        self.0.set_position(progress.done);
    }

    /// Wipes it.
    pub fn end(self) {
        self.0.finish_and_clear();
    }
}

fn time(left: Duration) -> String {
    match left.as_secs() + 1 {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5999 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}
