//! Timing whole processes side by side: A, B, A, B, ... in one run, so that a drift of the
//! machine's speed meets both.

use std::error::Error;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// One command that is measured.
pub struct Candidate {
    /// Name in the table.
    pub name: String,
    /// Makes the command afresh for each run.
    pub command: Box<dyn Fn() -> Command>,
    /// Runs before each timed run, untimed.
    pub before: Box<dyn Fn()>,
}

/// Times of one candidate in milliseconds, sorted.
pub struct Times {
    /// Name in the table.
    pub name: String,
    /// One entry per run.
    pub milliseconds: Vec<f64>,
}

impl Times {
    /// The median.
    pub fn median(&self) -> f64 {
        self.milliseconds[self.milliseconds.len() / 2]
    }
}

/// Clock ticks per second in `/proc`, on every Linux that larder runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of all children that have ended, and of theirs, in steps of 10 ms.
///
/// # Errors
/// If the kernel does not tell.
pub fn children_cpu_seconds() -> Result<f64, Box<dyn Error>> {
    // Of the fields 16 and 17, counted from 1.
    cpu_seconds(&std::fs::read_to_string("/proc/self/stat")?, 13)
        .ok_or("/proc/self/stat is not understood".into())
}

/// User and system time of all processes with a name, and of their children that have ended.
///
/// # Errors
/// If the kernel does not tell.
pub fn cpu_seconds_of(name: &str) -> Result<f64, Box<dyn Error>> {
    // The kernel keeps so many letters of a name.
    let mark = format!("({})", &name[..name.len().min(15)]);
    let mut seconds = 0.0;
    for entry in std::fs::read_dir("/proc")? {
        // One that has ended meanwhile counts no more.
        let text = std::fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
        if text.contains(&mark) {
            seconds += [11, 13].iter().filter_map(|at| cpu_seconds(&text, *at)).sum::<f64>();
        }
    }
    Ok(seconds)
}

/// Two times that stand behind so many others in a process's line, which tells its state first.
fn cpu_seconds(stat: &str, at: usize) -> Option<f64> {
    // The second field is the program's name in brackets, which may hold anything.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks: Vec<f64> = fields.skip(at).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Some((user + system) / TICKS_PER_SECOND),
        _ => None,
    }
}

/// Runs each candidate `warm_up` times untimed, then all in turn `runs` times.
///
/// # Panics
/// If a command cannot be started or fails: its time would mean nothing.
pub fn compare(candidates: &[Candidate], warm_up: usize, runs: usize) -> Vec<Times> {
    let mut times: Vec<Times> = candidates
        .iter()
        .map(|candidate| Times { name: candidate.name.clone(), milliseconds: Vec::new() })
        .collect();
    for round in 0..warm_up + runs {
        for (candidate, times) in candidates.iter().zip(&mut times) {
            (candidate.before)();
            let mut command = (candidate.command)();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            let status = command.status().expect("the command starts");
            let elapsed = start.elapsed();
            assert!(status.success(), "{} failed", candidate.name);
            if round >= warm_up {
                times.milliseconds.push(elapsed.as_secs_f64() * 1e3);
            }
        }
    }
    for times in &mut times {
        times.milliseconds.sort_by(f64::total_cmp);
    }
    times
}

/// A table: minimum, median and maximum, and the median's ratio to that of the first candidate.
pub fn table(times: &[Times]) -> String {
    let mut text = String::from("| command | min ms | median ms | max ms | first / this |\n");
    text.push_str("|---|---|---|---|---|\n");
    let first = times.first().map_or(1.0, Times::median);
    for times in times {
        let (min, max) = (times.milliseconds[0], times.milliseconds[times.milliseconds.len() - 1]);
        let ratio = first / times.median();
        let median = times.median();
        let name = &times.name;
        let _ = writeln!(text, "| {name} | {min:.2} | {median:.2} | {max:.2} | {ratio:.2} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_children_and_of_named_processes() {
        let (before, own) = (children_cpu_seconds().unwrap(), cpu_seconds_of("none such").unwrap());
        let count = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
        assert!(Command::new("sh").args(["-c", count]).status().unwrap().success());
        assert!(children_cpu_seconds().unwrap() > before);
        let line = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 50 25 25 0";
        assert_eq!((cpu_seconds(line, 11), cpu_seconds(line, 13)), (Some(1.5), Some(0.5)));
        assert_eq!((own, cpu_seconds("7 (a) S 1", 11)), (0.0, None));
    }

    #[test]
    fn a_slower_command_has_a_larger_median() {
        let candidate = |name: &str, seconds: &'static str| Candidate {
            name: name.into(),
            command: Box::new(move || {
                let mut command = Command::new("sleep");
                command.arg(seconds);
                command
            }),
            before: Box::new(|| {}),
        };
        let times = compare(&[candidate("short", "0"), candidate("long", "0.2")], 0, 2);
        assert!(times[1].median() >= 200.0);
        assert!(table(&times).lines().count() == 4);
    }
}
