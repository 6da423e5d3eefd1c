//! What a block device is asked for, as the kernel's tracing tells it.
//!
//! 1. A recorder is a tracing instance of its own with three events, `block_rq_issue`,
//!    `block_rq_requeue` (the device was busy; it is issued again) and `block_rq_complete`,
//!    filtered by the device; nothing else on the machine is in it.
//! 2. A recording in which the kernel lost an event is an error, and so is one in which requests
//!    were issued and never completed: their figures would be too small.
//! 3. An instance that a killed run left is removed by the next one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Room for events in each processor's buffer. One takes some 100 bytes.
const BUFFER_KIB: u64 = 24 << 10;

const INSTANCES: &str = "/sys/kernel/tracing/instances";
const NAME_PREFIX: &str = "larder-seeks-";
const EVENTS: [&str; 3] = [
    "events/block/block_rq_issue",
    "events/block/block_rq_requeue",
    "events/block/block_rq_complete",
];

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes from the disk.
    Read,
    /// Bytes to the disk.
    Write,
    /// Only that what was written be durable.
    Flush,
    /// Blocks that need not be kept.
    Discard,
}

/// A request that was issued to the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// When, in microseconds of the tracing clock.
    pub at_us: u64,
    /// What for.
    pub kind: Kind,
    /// Nobody waits for it: writing back. Of reads this cannot be told.
    pub in_background: bool,
    /// Metadata, as the file system says.
    pub is_metadata: bool,
    /// First sector of 512 bytes.
    pub sector: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Request {
    /// The sector behind the last one.
    pub fn end(&self) -> u64 {
        self.sector + self.bytes / 512
    }
}

/// Requests of one phase, and the lines that they were read from.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// In the order in which they were issued.
    pub requests: Vec<Request>,
    /// As the kernel wrote it.
    pub text: String,
}

/// Records one device until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    instance: PathBuf,
}

impl Recorder {
    /// Of the device with these numbers.
    ///
    /// # Errors
    /// If tracing is not to be had.
    pub fn new(major: u32, minor: u32) -> io::Result<Recorder> {
        remove_stale();
        let name = format!("{NAME_PREFIX}{}", std::process::id());
        let instance = Path::new(INSTANCES).join(name);
        fs::create_dir(&instance)?;
        let recorder = Recorder { instance };
        recorder.set("tracing_on", "0")?;
        recorder.set("buffer_size_kb", &BUFFER_KIB.to_string())?;
        for event in EVENTS {
            let device = u64::from(major) << 20 | u64::from(minor);
            recorder.set(&format!("{event}/filter"), &format!("dev == {device}"))?;
            recorder.set(&format!("{event}/enable"), "1")?;
        }
        Ok(recorder)
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, value)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// Begins with an empty buffer.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn start(&self) -> io::Result<()> {
        self.set("trace", "")?;
        self.set("tracing_on", "1")
    }

    /// Ends the phase.
    ///
    /// # Errors
    /// If events were lost, or a line is not understood.
    pub fn stop(&self) -> io::Result<Recording> {
        self.set("tracing_on", "0")?;
        for processor in fs::read_dir(self.instance.join("per_cpu"))? {
            let stats = fs::read_to_string(processor?.path().join("stats"))?;
            if let Some(line) = lost(&stats) {
                return Err(io::Error::other(format!("the kernel lost events: {line}")));
            }
        }
        let text = fs::read_to_string(self.instance.join("trace"))?;
        let requests = parse(&text).map_err(io::Error::other)?;
        Ok(Recording { requests, text })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for event in EVENTS {
            let _ = self.set(&format!("{event}/enable"), "0");
        }
        let _ = fs::remove_dir(&self.instance);
    }
}

/// Removes the instances of processes that are gone.
fn remove_stale() {
    let Ok(instances) = fs::read_dir(INSTANCES) else { return };
    for instance in instances.flatten() {
        let name = instance.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(NAME_PREFIX)) else {
            continue;
        };
        if !Path::new("/proc").join(id).exists() {
            drop(Recorder { instance: instance.path() });
        }
    }
}

/// The line of a processor's statistics that tells of lost events.
fn lost(stats: &str) -> Option<&str> {
    let fields = ["overrun:", "commit overrun:", "dropped events:"];
    stats.lines().find(|line| {
        fields.iter().any(|field| line.strip_prefix(field).is_some_and(|count| count.trim() != "0"))
    })
}

/// Reads the lines of a trace.
///
/// # Errors
/// A sentence about a line that is not understood, or about requests without an end.
pub fn parse(text: &str) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    let (mut issued, mut completed) = (0u64, 0u64);
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if line.contains("LOST") {
            return Err(format!("events were lost: {line}"));
        }
        let unknown = || format!("a line of the trace is not understood: {line}");
        if let Some((head, words)) = line.split_once(": block_rq_issue: ") {
            let request = issue(head, words).ok_or_else(unknown)?;
            issued += request.bytes;
            requests.push(request);
        } else if let Some((_, words)) = line.split_once(": block_rq_requeue: ") {
            let bytes = completion(words).ok_or_else(unknown)?;
            let sector = sector(words).ok_or_else(unknown)?;
            let again = requests.iter().rposition(|r: &Request| {
                r.sector == sector && (r.bytes == bytes || r.kind == Kind::Discard)
            });
            issued -= requests.remove(again.ok_or_else(unknown)?).bytes;
        } else if let Some((_, words)) = line.split_once(": block_rq_complete: ") {
            completed += completion(words).ok_or_else(unknown)?;
        } else {
            return Err(unknown());
        }
    }
    if issued != completed {
        return Err(format!("{issued} bytes were asked for and {completed} came"));
    }
    Ok(requests)
}

/// `7,2 RAM 4096 () 327155712 + 8 be,0,4 [mkdir]`, after processor and time.
fn issue(head: &str, words: &str) -> Option<Request> {
    let seconds: f64 = head.split_whitespace().last()?.parse().ok()?;
    let mut words = words.split_whitespace().skip(1);
    let flags = words.next()?;
    let bytes: u64 = words.next()?.parse().ok()?;
    let mut words = words.skip_while(|word| word.parse::<u64>().is_err());
    let sector: u64 = words.next()?.parse().ok()?;
    let kind = kind(flags)?;
    let has = |flag| flags.contains(flag);
    Some(Request {
        at_us: (seconds * 1e6) as u64,
        kind,
        // The `A` of reading ahead says nothing: reads that somebody waits for have it, too.
        in_background: kind != Kind::Read && !has('S'),
        is_metadata: has('M'),
        sector: if bytes == 0 { 0 } else { sector },
        bytes: if kind == Kind::Discard { 0 } else { bytes },
    })
}

/// `7,2 RAM () 327155712 + 8 be,0,4 [0]`: the bytes that came.
fn completion(words: &str) -> Option<u64> {
    let mut all = words.split_whitespace();
    let kind = kind(all.nth(1)?)?;
    let sectors: u64 = all.skip_while(|word| *word != "+").nth(1)?.parse().ok()?;
    Some(if kind == Kind::Discard { 0 } else { sectors * 512 })
}

/// The sector of the same words.
fn sector(words: &str) -> Option<u64> {
    words.split_whitespace().skip(2).find_map(|word| word.parse().ok())
}

fn kind(flags: &str) -> Option<Kind> {
    // A flush that is written with data begins with `F` and has a `W` or nothing behind it.
    let mut letters = flags.chars();
    match letters.next()? {
        'F' if letters.clone().next() == Some('W') => Some(Kind::Write),
        'F' | 'N' => Some(Kind::Flush),
        'R' => Some(Kind::Read),
        'W' => Some(Kind::Write),
        'D' => Some(Kind::Discard),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
# tracer: nop
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
  mkdir-15656   [001] ..... 37061.427030: block_rq_issue: 7,2 RAM 4096 () 74296 + 8 be,0,4 [mkdir]
  loop2-1       [001] ..... 37061.427040: block_rq_complete: 7,2 RAM () 74296 + 8 be,0,4 [0]
  kworker/u8:3-7329 [001] ..... 37061.434169: block_rq_issue: 7,2 W 528384 () 327417856 + 1032 \
be,0,4 [kworker/u8:3]
  loop2-1       [001] ..... 37061.434180: block_rq_complete: 7,2 W () 327417856 + 1032 be,0,4 [0]
  kworker/0:2H-15196 [000] ..... 37061.436001: block_rq_issue: 7,2 FF 0 () 0 + 0 none,0,0 [k w]
  loop2-1       [000] ..... 37061.436101: block_rq_complete: 7,2 FF () 0 + 0 none,0,0 [0]
";

    #[test]
    fn a_trace_is_read() {
        let requests = parse(TRACE).unwrap();
        let kinds: Vec<Kind> = requests.iter().map(|request| request.kind).collect();
        assert_eq!(kinds, [Kind::Read, Kind::Write, Kind::Flush]);
        assert!(requests[0].is_metadata && !requests[0].in_background && requests[1].in_background);
        assert_eq!((requests[1].sector, requests[1].bytes), (327_417_856, 528_384));
        assert_eq!(requests[1].end(), 327_417_856 + 1032);
        assert_eq!(requests[1].at_us - requests[0].at_us, 7139);
    }

    #[test]
    fn what_was_lost_or_never_came_is_an_error() {
        let again = "  k-1 [0] ..... 1.0: block_rq_requeue: 7,2 W () 327417856 + 1032 be,0,4 [0]";
        let mut lines: Vec<&str> = TRACE.lines().collect();
        lines.insert(5, again);
        lines.insert(6, lines[4]);
        assert_eq!(parse(&lines.join("\n")).unwrap().len(), 3);
        let cut = TRACE.lines().take(5).collect::<Vec<_>>().join("\n");
        assert!(parse(&cut).unwrap_err().contains("came"), "{cut}");
        assert!(parse("CPU:1 [LOST 17 EVENTS]\n").is_err());
        assert!(parse("a 1.0: sched_switch: x\n").is_err());
        assert_eq!(lost("entries: 5\noverrun: 3\ncommit overrun: 0\n"), Some("overrun: 3"));
        assert_eq!(lost("overrun: 0\ncommit overrun: 0\ndropped events: 0\n"), None);
        assert_eq!(lost("overrun: 0\ndropped events: 1\n"), Some("dropped events: 1"));
    }
}
