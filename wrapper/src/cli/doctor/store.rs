//! The settings, and the state of the store.
//!
//! 1. Nothing is changed: the store is opened for reading, and no lock is taken. A lock that
//!    somebody holds is looked at again for 200 ms.
//! 2. It works, in words, where the store cannot be opened, too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_engine::env::{
    Device, Env, Held, LOCK_FILE_NAME, LockByte, OpenMode, RealEnv, file_system_magic,
};
use larder_engine::{JobInfo, State};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::super::command::{advice, is_export};
use super::super::holders::{Holder, holders};
use super::super::verify::{lost_superblock, open_to_read};
use super::findings::Findings;
use crate::config::{Config, Janitor};
use crate::stats::{counted, counted_past, grouped, size};
use crate::store::open_lower;

/// A heartbeat of another kernel that is younger keeps larder from the store.
const HEARTBEAT_SECS_MAX: u64 = 60;

/// As much of `max_size` as begins an eviction soon, in percent; it begins at 90.
const NEARLY_FULL_PERCENT: u64 = 85;

/// A checkpoint is due after this many bytes; several times as many say that nobody makes one.
const LATE_CHECKPOINT_BYTES: u64 = 256 << 20;

/// Files of a kind that are named; `larder verify` names all.
const FILES_SHOWN_MAX: usize = 10;

/// A lock that is held whenever one looks for so long is not given back: each commit holds it for
/// some microseconds.
const LOCK_KEPT_MS: u64 = 200;
const LOCK_LOOK_MS: u64 = 10;

/// File systems by their numbers in `statfs`: the name, and whether larder knows them to keep what
/// it relies on.
const FILE_SYSTEMS: &[(i64, &str, Trust)] = &[
    (0xEF53, "ext4", Trust::Full),
    (0x5846_5342, "xfs", Trust::Full),
    (0x9123_683E, "btrfs", Trust::Full),
    (0x0102_1994, "tmpfs", Trust::Memory),
    (0x794C_7630, "overlay", Trust::Overlay),
    (0xF2F5_2010, "f2fs", Trust::Full),
    (0x6969, "NFS", Trust::Network),
    (0xFF53_4D42, "SMB", Trust::Network),
    (0xFE53_4D42, "SMB", Trust::Network),
    (0x0102_1997, "9p", Trust::Network),
    (0x6573_5546, "FUSE", Trust::Network),
    (0x00C3_6400, "Ceph", Trust::Network),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Full,
    Memory,
    Overlay,
    Network,
}

/// Looks at the settings and at the store.
pub fn examine(config: &Config, findings: &mut Findings) {
    for problem in &config.problems {
        findings.problem("settings", problem.clone(), "`larder config` shows the settings");
    }
    let Some(path) = config.dir.value.as_deref() else {
        findings.problem("store", "nobody says where it is", "set LARDER_DIR, or HOME");
        return;
    };
    let (log, trace) = (config.log.value.as_deref(), config.trace.value.as_deref());
    written_file("log", log, "set LARDER_LOG to a file that can be written", findings);
    written_file("trace", trace, "set LARDER_TRACE to a file that can be written", findings);
    findings.ok("store", format!("{} ({})", path.display(), config.dir.origin));
    if config.disable.value {
        let advice = "unset LARDER_DISABLE";
        findings.note("disabled", "larder only runs the compiler and uses no store", advice);
    }
    // A store that is not there yet will stand in the nearest directory above that is.
    let standing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    file_system(standing, findings);
    permissions(config, path, standing, findings);
    clones(config, Device::of(standing), findings);
    match open_to_read(config, path) {
        Ok(store) => match store.state() {
            Ok(state) => {
                explain(config, path, &state, findings);
                job(config, &store.jobs().unwrap_or_default(), findings);
            }
            Err(error) => {
                findings.problem("reading", error.to_string(), advice(&error));
            }
        },
        Err(error) => cannot_open(path, &error, findings),
    }
    config.lower.value.iter().for_each(|path| lower(config, path, findings));
}

/// A store behind the own one.
fn lower(config: &Config, path: &Path, findings: &mut Findings) {
    let topic = "lower store";
    let place = path.display();
    let entries = open_lower(config, path).and_then(|store| store.stats());
    match entries.map(|stats| stats.entries) {
        Ok(0) => findings.note(topic, format!("{place} is empty"), ""),
        Ok(1) => findings.ok(topic, format!("{place} has 1 entry")),
        Ok(count) => findings.ok(topic, format!("{place} has {} entries", grouped(count))),
        Err(error) => {
            let text = format!("{place} answers nothing: {error}");
            findings.problem(topic, text, "put a store there that this larder and user can read");
        }
    }
}

fn file_system(path: &Path, findings: &mut Findings) {
    let topic = "file system";
    let Some(magic) = file_system_magic(path) else {
        return findings.note(topic, "it cannot be asked what it is", "");
    };
    let known = FILE_SYSTEMS.iter().find(|(known, ..)| *known == magic);
    match known.map(|(_, name, trust)| (*name, *trust)) {
        Some((name, Trust::Full)) => findings.ok(topic, name),
        Some((name, Trust::Memory)) => {
            let text = format!("{name}: the store is in memory and gone after a reboot");
            findings.note(topic, text, "");
        }
        Some((name, Trust::Overlay)) => {
            let text = format!("{name}: the store lives as long as the container's upper layer");
            findings.note(topic, text, "mount a volume to keep it");
        }
        Some((name, Trust::Network)) => {
            let text = format!("{name}: locks and caches do not reach across machines for certain");
            findings.problem(topic, text, "put the store on a local disk of this machine");
        }
        None => {
            let text = format!("one that larder does not know (number {magic:#x})");
            findings.note(topic, text, "ext4, xfs, btrfs and tmpfs are known to be right");
        }
    }
}

/// Whether a file that is asked for can be written. Nothing is made for that.
fn written_file(
    topic: &'static str,
    path: Option<&Path>,
    advice: &'static str,
    findings: &mut Findings,
) {
    let Some(path) = path else { return };
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    let why = match path.metadata() {
        Ok(found) if found.is_dir() => Some("it is a directory"),
        Ok(_) => access(path, Access::WRITE_OK).is_err().then_some("this user may not write it"),
        Err(_) if !parent.is_dir() => Some("there is no such directory"),
        Err(_) => {
            let may_make = access(parent, Access::WRITE_OK | Access::EXEC_OK).is_ok();
            (!may_make).then_some("this user may not make it")
        }
    };
    if let Some(why) = why {
        let text = format!("nothing is written to {}: {why}", path.display());
        findings.problem(topic, text, advice);
    }
}

/// What `file_clone` does here.
fn clones(config: &Config, device: Device, findings: &mut Findings) {
    let (topic, origin) = ("clones", &config.file_clone.origin);
    if !config.file_clone.value {
        return findings
            .ok(topic, format!("files of hits are copied: file_clone is off ({origin})"));
    }
    let Some(bytes_min) = device.clone_bytes_min() else {
        let text = format!(
            "files of hits are copied: this file system cannot share blocks, so file_clone \
             ({origin}) changes nothing"
        );
        return findings.note(topic, text, "put the store and the builds on one XFS or btrfs");
    };
    let disk = match device {
        Device::Fast => "the disk does not spin",
        Device::Rotational => "the disk spins",
        _ => "the disk does not say whether it spins",
    };
    let text = format!(
        "files of hits from {} on share their blocks with the store ({disk}; {origin}), where the \
         file system can and the build is on the same one",
        size(bytes_min)
    );
    findings.ok(topic, text);
}

/// The job that compiles are said to be part of.
fn job(config: &Config, jobs: &[JobInfo], findings: &mut Findings) {
    let topic = "job";
    let Some(id) = config.job.value.as_deref() else { return };
    match jobs.iter().find(|job| job.id == id) {
        Some(job) if job.is_full => {
            let text = format!("{id} touched more than it could note, so nothing is trimmed by it");
            findings.note(topic, text, "begin another one for fewer builds");
        }
        Some(job) => findings.ok(topic, format!("{id} touched {}", job.keys)),
        None => {
            let text = format!("the store knows no job {id}, so what compiles touch is not noted");
            findings.note(topic, text, "set LARDER_JOB to what `larder job start` prints");
        }
    }
}

/// Whether this user may write, and if not, why.
fn permissions(config: &Config, path: &Path, standing: &Path, findings: &mut Findings) {
    let topic = "writing";
    if config.readonly.value {
        let text = format!("nothing is stored: readonly is set ({})", config.readonly.origin);
        return findings.note(topic, text, "unset LARDER_READONLY to store results");
    }
    if is_export(path) {
        let text = "it is an export, which is only read: hits work, nothing is stored";
        let advice = "name it in LARDER_LOWER, below a store of its own, to store what is new";
        return findings.note(topic, text, advice);
    }
    if let Ok(info) = statvfs(standing)
        && info.f_flag.contains(StatVfsMountFlags::RDONLY)
    {
        let text = "the file system is mounted read-only: hits work, nothing is stored";
        return findings.problem(topic, text, "mount it for writing, or set LARDER_DIR");
    }
    let files: Vec<PathBuf> = ["superblock", "tail", "index", "lock", "log"]
        .iter()
        .map(|name| path.join(name))
        .filter(|file| file.exists())
        .chain([standing.to_path_buf()])
        .collect();
    match files.iter().find(|file| access(file.as_path(), Access::WRITE_OK).is_err()) {
        Some(file) => {
            let text = format!("this user may not write {}", file.display());
            findings.problem(topic, text, "give the store to this user, or set LARDER_DIR");
        }
        None => findings.ok(topic, "this user may write"),
    }
}

/// Why a store cannot be opened, in words.
fn cannot_open(path: &Path, error: &larder_engine::Error, findings: &mut Findings) {
    let topic = "opening";
    if lost_superblock(path, error).is_some() {
        let text = "the superblock is lost: nobody can read the store as it is";
        let advice = "the next compile makes it anew from the segments; then `larder verify`";
        return findings.problem(topic, text, advice);
    }
    let is_empty = || fs::read_dir(path).is_ok_and(|mut names| names.next().is_none());
    if error.is_not_found() && (!path.exists() || is_empty()) {
        return findings.note(topic, "there is no store yet; the first compile makes it", "");
    }
    findings.problem(topic, error.to_string(), advice(error));
}

/// The state of a store that can be read.
fn explain(config: &Config, path: &Path, state: &State, findings: &mut Findings) {
    superblock(state, findings);
    kernel(state, findings);
    let free = statvfs(path).ok().map(|info| info.f_bavail.saturating_mul(info.f_frsize));
    sizes(config, free, state, findings);
    files(path, state, findings);
    segments(state, findings);
    power_cut(state, findings);
    upkeep(config, state, findings);
    let lock = path.join(LOCK_FILE_NAME);
    locks(state, |byte| holders(&lock, byte as u64), |byte| is_kept(&lock, byte), findings);
    damage(state, findings);
}

fn superblock(state: &State, findings: &mut Findings) {
    match state.superblock_copies {
        2 => findings.ok("superblock", format!("both copies are valid; made {}", age(state))),
        _ => findings.problem(
            "superblock",
            "one of the two copies is damaged; the other one is used",
            "run `larder verify --repair`",
        ),
    }
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn age(state: &State) -> String {
    format!("{} ago", duration(now_secs().saturating_sub(state.created_secs)))
}

/// Seconds as people say them.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => counted(seconds / 86_400, "day"),
    }
}

fn kernel(state: &State, findings: &mut Findings) {
    let topic = "kernel";
    // No kernel has written an export.
    if state.heartbeat_secs == 0 {
        return;
    }
    let seen = now_secs().saturating_sub(state.heartbeat_secs);
    let last = duration(seen);
    if state.is_of_this_kernel {
        let recovered = counted(state.recoveries, "time");
        let text = format!(
            "this kernel uses it, the last writer was seen {last} ago; recovered {recovered} after \
             reboots"
        );
        return findings.ok(topic, text);
    }
    if seen < HEARTBEAT_SECS_MAX {
        let text = format!("another kernel wrote {last} ago: a reboot just now, or two machines");
        let advice = "wait a minute; if it stays so, give each machine a store of its own";
        return findings.problem(topic, text, advice);
    }
    let text = format!("nobody has written since the last boot; the last writer was {last} ago");
    findings.note(topic, text, "");
}

/// Whether the store is full, or the disk is, of which `free` bytes can be had.
fn sizes(config: &Config, free: Option<u64>, state: &State, findings: &mut Findings) {
    let max = config.max_size_bytes.value;
    let percent = state.disk_bytes.saturating_mul(100) / max.max(1);
    let (used, most) = (size(state.disk_bytes), size(max));
    let text = format!("{used} of {most} ({percent} %); the oldest results go at 90 %");
    let is_full = percent >= NEARLY_FULL_PERCENT;
    let is_disk_small = free.is_some_and(|free| free.saturating_add(state.disk_bytes) < max);
    match is_full {
        true if is_disk_small => findings.note("size", text, ""),
        true => findings.note("size", text, "raise LARDER_MAX_SIZE if there are too few hits"),
        false => findings.ok("size", text),
    }
    if state.dropped_full > 0 {
        let dropped = counted_past(state.dropped_full, "result");
        let advice = match (is_disk_small, is_full) {
            (true, _) => "make room on the disk",
            (false, true) => "raise LARDER_MAX_SIZE, or see that the janitor can run",
            (false, false) => "there is room now; see it when it happens again",
        };
        findings.note("dropped", format!("{dropped} not stored for want of room"), advice);
    }
    let Some(free) = free else { return };
    match is_disk_small {
        true => {
            let text = format!("{} free: the disk is full before max_size is reached", size(free));
            findings.note("disk", text, "make room, or lower LARDER_MAX_SIZE");
        }
        false => findings.ok("disk", format!("{} free", size(free))),
    }
}

/// Files that cannot be read, or are not there.
fn files(path: &Path, state: &State, findings: &mut Findings) {
    let topic = "files";
    for (file, error) in state.closed_files.iter().take(FILES_SHOWN_MAX) {
        let Ok(found) = fs::symlink_metadata(path.join(file)) else { continue };
        if !found.is_file() {
            let text = format!("something else stands in place of {file}: {error}");
            findings.problem(topic, text, "remove it, then run `larder verify --repair`");
            continue;
        }
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        let text = format!("{file} belongs to user {owner}, mode {mode:03o}: {error}");
        findings.problem(topic, text, "give the whole store to one user, or set LARDER_DIR");
    }
    for file in state.missing_segments.iter().take(FILES_SHOWN_MAX) {
        let text = format!("{file} is missing: what was in it will be compiled again");
        findings.problem(topic, text, "run `larder verify --repair`, which ends this");
    }
    let more = [state.closed_files.len(), state.missing_segments.len()]
        .map(|count| count.saturating_sub(FILES_SHOWN_MAX) as u64);
    if more != [0, 0] {
        let text = format!("and {}", counted(more.iter().sum(), "file"));
        findings.problem(topic, text, "`larder verify` lists them");
    }
}

fn segments(state: &State, findings: &mut Findings) {
    let open = state.open_segments.map_or("none open".to_owned(), |open| format!("{open} open"));
    let text = format!(
        "{} of up to {}: {open}, {} not in the index yet; {} in the index",
        state.segments,
        size(state.segment_bytes),
        state.unmerged_segments,
        counted(state.index_entries, "record")
    );
    findings.ok("segments", text);
    let is_closed = state.closed_files.iter().any(|(file, _)| file == "index");
    if !state.has_index && !is_closed {
        let text = "there is no valid index: look-ups ask every segment";
        findings.problem("index", text, "run `larder janitor`, which rebuilds it");
    }
    if state.suspect_segments > 0 {
        let text = format!(
            "{} written before the last power cut; each record there is checked in full before it \
             is used",
            counted_past(u64::from(state.suspect_segments), "segment")
        );
        findings.note("suspects", text, "run `larder janitor`, which cleans up");
    }
}

fn power_cut(state: &State, findings: &mut Findings) {
    let topic = "power cut";
    let Some(bytes) = state.bytes_since_checkpoint else {
        return findings.ok(topic, "it would cost nothing: nobody has written since the boot");
    };
    if bytes == 0 {
        return findings.ok(topic, "it would cost nothing: everything is on the disk");
    }
    let waits = duration(state.ms_since_checkpoint.unwrap_or(0) / 1000);
    let text = format!(
        "it would cost at most the results of the last {waits} ({}), which would be compiled again",
        size(bytes)
    );
    match bytes < LATE_CHECKPOINT_BYTES {
        true => findings.ok(topic, text),
        false => findings.note(topic, text, "run `larder checkpoint`; does the janitor run?"),
    }
}

fn upkeep(config: &Config, state: &State, findings: &mut Findings) {
    let topic = "janitor";
    let origin = &config.janitor.origin;
    match config.janitor.value {
        Janitor::Detached => {
            findings.ok(topic, format!("runs by itself, in the background ({origin})"));
        }
        Janitor::Inline => findings.ok(topic, format!("compiles do the upkeep ({origin})")),
        Janitor::Off => {
            let text = format!("upkeep happens only when somebody asks for it ({origin})");
            findings.note(topic, text, "run `larder janitor` now and then");
        }
    }
    if state.left_segments > 0 {
        let files = counted(u64::from(state.left_segments), "file");
        let text = format!("{files} of segments that are not in use");
        findings.note("left over", text, "`larder verify --repair` removes that");
    }
}

/// Who holds which lock. `holders` sees the processes that hold a byte, and `is_kept` looks for a
/// while whether one stays held.
fn locks(
    state: &State,
    holders: impl Fn(LockByte) -> Vec<Holder>,
    is_kept: impl Fn(LockByte) -> bool,
    findings: &mut Findings,
) {
    let held = [
        (state.life_lock, LockByte::Life, "writers have it open"),
        (state.tail_lock, LockByte::Tail, "a commit is under way"),
        (state.index_lock, LockByte::Index, "a merge is under way"),
        (state.janitor_lock, LockByte::Janitor, "a janitor is at work"),
    ];
    if held.iter().all(|(lock, ..)| lock.is_none()) {
        let text = "who holds which cannot be told";
        return findings.note("locks", text, "");
    }
    let mut words = Vec::new();
    for (lock, byte, what) in held {
        match lock {
            Some(Held::Exclusive) => {}
            Some(Held::Shared) => {
                words.push(what);
                continue;
            }
            _ => continue,
        }
        let holders = holders(byte);
        let who: Vec<String> = holders.iter().map(Holder::words).collect();
        let who = if who.is_empty() { "somebody".to_owned() } else { who.join(" and ") };
        let lock = byte.words();
        if holders.iter().any(|holder| holder.is_stopped) {
            let text = format!("{who} has {lock} and lets nobody else go on");
            findings.problem("locks", text, "let it continue (kill -CONT), or end it");
        } else if byte == LockByte::Tail && is_kept(byte) {
            // Nobody needs it for longer than a write of some kilobytes.
            let text = format!("{who} does not give {lock} back: nothing is stored meanwhile");
            findings.problem("locks", text, "see what it waits for, or end it");
        } else if byte == LockByte::Life {
            findings.note("locks", format!("{who} recovers the store"), "wait for it");
        } else {
            words.push(what);
        }
    }
    if state.dropped_busy > 0 {
        let text = format!(
            "{} not stored, because somebody held a lock for long",
            counted_past(state.dropped_busy, "result")
        );
        findings.note("dropped", text, "if there are more from time to time, see the locks then");
    }
    if findings.0.iter().all(|line| line.topic != "locks") {
        let text = if words.is_empty() { "nobody holds one".to_owned() } else { words.join(", ") };
        findings.ok("locks", text);
    }
}

/// Whether a lock is held whenever one looks, for [`LOCK_KEPT_MS`].
fn is_kept(lock: &Path, byte: LockByte) -> bool {
    let Ok(file) = RealEnv.open(lock, OpenMode::Read) else { return false };
    (0..LOCK_KEPT_MS / LOCK_LOOK_MS).all(|_| {
        std::thread::sleep(Duration::from_millis(LOCK_LOOK_MS));
        file.held(byte as u64) == Some(Held::Exclusive)
    })
}

fn damage(state: &State, findings: &mut Findings) {
    match (state.damage_met, state.damage_mended) {
        (0, 0) => findings.ok("damage", "none was met"),
        (0, _) => findings.ok("damage", "none was met since the last repair"),
        (count, _) => {
            let text = format!("met {}; each was a miss", counted(count, "time"));
            let advice = "`larder verify` says what is left of it, and `larder verify --repair` \
                          drops that";
            findings.note("damage", text, advice);
        }
    }
    if state.has_wild_counters {
        let text = "they hold numbers that cannot be right; results are not affected";
        findings.note("counters", text, "`larder zero` sets the statistics to zero");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(check: impl FnOnce(&mut Findings)) -> Vec<(&'static str, &'static str)> {
        let mut findings = Findings::default();
        check(&mut findings);
        findings.0.iter().map(|line| (line.topic, line.verdict.name())).collect()
    }

    fn state() -> State {
        State {
            superblock_copies: 2,
            is_of_this_kernel: true,
            has_index: true,
            heartbeat_secs: now_secs(),
            ..State::default()
        }
    }

    #[test]
    fn what_is_wrong_with_a_state_is_said() {
        let check = |change: fn(&mut State), check: fn(&State, &mut Findings)| {
            let mut state = state();
            change(&mut state);
            verdicts(|findings| check(&state, findings))
        };
        assert_eq!(check(|_| {}, superblock), [("superblock", "ok")]);
        assert_eq!(check(|s| s.superblock_copies = 1, superblock), [("superblock", "problem")]);
        assert_eq!(check(|_| {}, kernel), [("kernel", "ok")]);
        assert_eq!(check(|s| s.is_of_this_kernel = false, kernel), [("kernel", "problem")]);
        let long_ago = |s: &mut State| (s.is_of_this_kernel, s.heartbeat_secs) = (false, 7);
        assert_eq!(check(long_ago, kernel), [("kernel", "note")]);
        assert_eq!(check(|_| {}, damage), [("damage", "ok")]);
        assert_eq!(check(|s| s.damage_met = 1, damage), [("damage", "note")]);
        assert_eq!(check(|s| s.damage_mended = 1, damage), [("damage", "ok")]);
        let wild = check(|s| s.has_wild_counters = true, damage);
        assert_eq!(wild, [("damage", "ok"), ("counters", "note")]);
        let late = |s: &mut State| s.bytes_since_checkpoint = Some(LATE_CHECKPOINT_BYTES);
        assert_eq!(check(late, power_cut), [("power cut", "note")]);
        assert_eq!(check(|s| s.bytes_since_checkpoint = Some(9), power_cut), [("power cut", "ok")]);
        let suspect = |s: &mut State| s.suspect_segments = 1;
        assert_eq!(check(suspect, segments), [("segments", "ok"), ("suspects", "note")]);
        assert_eq!(check(|s| s.has_index = false, segments)[1], ("index", "problem"));
    }

    #[test]
    fn a_lock_that_is_not_given_back_is_a_problem() {
        let check = |change: fn(&mut State), is_stopped, is_kept| {
            let mut state = state();
            change(&mut state);
            let holder = Holder { pid: 7, name: "larder".to_owned(), is_stopped };
            verdicts(|findings| locks(&state, |_| vec![holder.clone()], |_| is_kept, findings))
        };
        assert_eq!(check(|_| {}, false, true), [("locks", "note")]);
        let recovering = |s: &mut State| s.life_lock = Some(Held::Exclusive);
        assert_eq!(check(recovering, false, true), [("locks", "note")]);
        assert_eq!(check(recovering, true, true), [("locks", "problem")]);
        assert_eq!(check(|s| s.life_lock = Some(Held::Shared), true, true), [("locks", "ok")]);
        let commits = |s: &mut State| s.tail_lock = Some(Held::Exclusive);
        assert_eq!(check(commits, false, false), [("locks", "ok")]);
        assert_eq!(check(commits, false, true), [("locks", "problem")]);
        let maintained = |s: &mut State| s.janitor_lock = Some(Held::Exclusive);
        assert_eq!(check(maintained, false, true), [("locks", "ok")]);
        assert_eq!(check(maintained, true, true), [("locks", "problem")]);
        let dropped = |s: &mut State| (s.tail_lock, s.dropped_busy) = (Some(Held::Free), 2);
        assert_eq!(check(dropped, false, false), [("dropped", "note"), ("locks", "ok")]);
    }

    #[test]
    fn what_file_clone_does_here_is_said_with_its_reason() {
        let check = |is_on, device| {
            let mut config = Config::load();
            config.file_clone.value = is_on;
            let mut findings = Findings::default();
            clones(&config, device, &mut findings);
            let line = &findings.0[0];
            (line.verdict.name(), line.text.clone())
        };
        for device in Device::ALL {
            let (verdict, text) = check(false, device);
            assert!(verdict == "ok" && text.contains("file_clone is off"), "{text}");
        }
        let (verdict, text) = check(true, Device::NoClones);
        assert!(verdict == "note" && text.contains("cannot share blocks"), "{text}");
        assert!(check(true, Device::Fast).1.contains("from 64.0 KiB on share"));
        assert!(check(true, Device::Rotational).1.contains("from 2.0 MiB on share"));
        assert!(check(true, Device::Unknown).1.contains("does not say"));
    }

    #[test]
    fn a_job_that_notes_nothing_is_told() {
        let of = |id: &str, is_full| JobInfo { id: id.into(), started_secs: 0, keys: 3, is_full };
        let check = |id: Option<&str>, jobs: &[JobInfo]| {
            let mut config = Config::load();
            config.job.value = id.map(str::to_owned);
            verdicts(|findings| job(&config, jobs, findings))
        };
        assert_eq!(check(None, &[of("a", false)]), []);
        assert_eq!(check(Some("a"), &[of("b", true), of("a", false)]), [("job", "ok")]);
        assert_eq!(check(Some("a"), &[of("a", true)]), [("job", "note")]);
        assert_eq!(check(Some("a"), &[of("b", false)]), [("job", "note")]);
    }

    /// On a full disk the doctor said to raise LARDER_MAX_SIZE, and in the next line to lower it.
    #[test]
    fn advice_about_room_does_not_contradict_itself() {
        let config = Config::load();
        let max = config.max_size_bytes.value;
        let advices = |free, disk_bytes, dropped_full| {
            let mut findings = Findings::default();
            sizes(&config, free, &State { disk_bytes, dropped_full, ..state() }, &mut findings);
            findings
                .0
                .iter()
                .filter_map(|line| line.advice.as_deref())
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(advices(Some(max), 1 << 20, 0), "");
        let full_disk = advices(Some(0), 4 << 20, 3);
        assert_eq!(full_disk, "make room on the disk; make room, or lower LARDER_MAX_SIZE");
        assert!(!advices(Some(0), max / 100 * 95, 3).contains("raise"));
        let full_store = advices(Some(max), max / 100 * 95, 3);
        assert!(full_store.contains("raise") && !full_store.contains("lower"), "{full_store}");
        assert!(advices(Some(max), 1 << 20, 3).contains("there is room now"));
        assert!(advices(None, max, 0).contains("raise"));
    }

    #[test]
    fn durations_are_readable() {
        let of = |seconds| duration(seconds);
        assert_eq!((of(5), of(600), of(9000)), ("5 s".into(), "10 min".into(), "2 h".into()));
        assert_eq!(of(200_000), "2 days");
    }

    #[test]
    fn each_file_system_has_one_row() {
        let numbers: std::collections::BTreeSet<i64> =
            FILE_SYSTEMS.iter().map(|row| row.0).collect();
        assert_eq!(numbers.len(), FILE_SYSTEMS.len());
    }
}
