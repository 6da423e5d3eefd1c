//! What `__TIME__`, `__DATE__` and `__TIMESTAMP__` would say now.
//!
//! 1. `__TIME__` is never known before the compiler runs, unless `SOURCE_DATE_EPOCH` is set and the
//!    compiler honours it. Then `__DATE__` too is decided by that variable, which is in the keys.
//! 2. `__DATE__` is the local date. The time zone is read as the C library reads it from `TZ` or
//!    /etc/localtime; where that is not understood (rules written out in `TZ`), nothing is cached.
//! 3. `__TIMESTAMP__` is the mtime of a file in local time. A macro may mention it in one file and
//!    be used in another, so the mtimes of all inputs count.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Mentions};

const ZONES: &str = "/usr/share/zoneinfo";
const LOCALTIME: &str = "/etc/localtime";
/// Zone files are a few kilobytes.
const ZONE_BYTES_MAX: u64 = 1 << 20;

/// A digest of what the mentioned macros would expand to for inputs with these mtimes, zeros if
/// none is mentioned, `None` if that cannot be known.
pub fn moment(
    mentions: Mentions,
    epoch_is_honoured: bool,
    now_ns: u64,
    mtimes_secs: impl Iterator<Item = i64>,
) -> Option<Digest> {
    if !mentions.any(Mentions::TIME.union(Mentions::DATE).union(Mentions::TIMESTAMP)) {
        return Some([0; 32]);
    }
    let fixed = epoch_is_honoured && env::var_os("SOURCE_DATE_EPOCH").is_some();
    if mentions.any(Mentions::TIME) && !fixed {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    if mentions.any(Mentions::DATE) && !fixed {
        let day = Zone::of_environment()?.day((now_ns / 1_000_000_000) as i64)?;
        hasher.update(b"date").update(&day.to_le_bytes());
    }
    if mentions.any(Mentions::TIMESTAMP) {
        let zone = Zone::of_environment()?;
        hasher.update(b"timestamp").update(&(zone.bytes.len() as u64).to_le_bytes());
        hasher.update(&zone.bytes);
        mtimes_secs.for_each(|secs| {
            hasher.update(&secs.to_le_bytes());
        });
    }
    Some(*hasher.finalize().as_bytes())
}

/// How far local time is ahead of UTC at a moment, in seconds; `None` where that is not understood.
pub fn local_offset_secs(secs: i64) -> Option<i64> {
    let zone = Zone::of_environment()?;
    if zone.bytes.is_empty() { Some(0) } else { offset_at(&zone.bytes, secs) }
}

/// A time zone file (TZif); no bytes are UTC.
struct Zone {
    bytes: Vec<u8>,
}

impl Zone {
    fn of_environment() -> Option<Zone> {
        if env::var_os("TZDIR").is_some() {
            return None;
        }
        Zone::named(env::var_os("TZ"))
    }

    /// The zone of a value of `TZ`; `None` if it is not understood.
    fn named(name: Option<OsString>) -> Option<Zone> {
        let utc = Zone { bytes: Vec::new() };
        let Some(name) = name else {
            // The C library falls back to UTC without a file.
            return if Path::new(LOCALTIME).exists() { read(LOCALTIME.into()) } else { Some(utc) };
        };
        let name = name.into_string().ok()?;
        let name = name.strip_prefix(':').unwrap_or(&name);
        match name {
            "" | "UTC" | "UTC0" | "GMT" | "GMT0" => Some(utc),
            _ if name.contains("..") => None,
            // Joining an absolute path gives that path.
            _ => read(Path::new(ZONES).join(name)),
        }
    }

    /// The local day at `secs`, counted from 1970-01-01.
    fn day(&self, secs: i64) -> Option<i64> {
        let offset = if self.bytes.is_empty() { 0 } else { offset_at(&self.bytes, secs)? };
        Some(secs.checked_add(offset)?.div_euclid(86_400))
    }
}

fn read(path: PathBuf) -> Option<Zone> {
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.len() > ZONE_BYTES_MAX {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    bytes.starts_with(b"TZif").then_some(Zone { bytes })
}

/// Counts of a TZif header, in its order: isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt.
fn counts(header: &[u8]) -> Option<[usize; 6]> {
    let mut counts = [0; 6];
    for (count, bytes) in counts.iter_mut().zip(header.get(20..44)?.chunks_exact(4)) {
        *count = u32::from_be_bytes(bytes.try_into().ok()?) as usize;
    }
    counts.iter().all(|count| *count < 1 << 20).then_some(counts)
}

/// Seconds east of UTC at `secs`; `None` if the file is damaged, is of version 1, or only its rule
/// for times after the last transition could tell.
fn offset_at(bytes: &[u8], secs: i64) -> Option<i64> {
    if bytes.get(4).is_none_or(|version| *version < b'2') {
        return None;
    }
    let [utc, std, leap, times, types, chars] = counts(bytes)?;
    let first = 44 + times * 5 + types * 6 + chars + leap * 8 + std + utc;
    let block = bytes.get(first..)?;
    let [utc, std, leap, times, types, chars] = counts(block)?;
    let transitions = block.get(44..44 + times * 8)?;
    let kinds = block.get(44 + times * 8..44 + times * 9)?;
    let infos = block.get(44 + times * 9..44 + times * 9 + types * 6)?;
    let footer = block.get(44 + times * 9 + types * 6 + chars + leap * 12 + std + utc..)?;
    let passed = transitions
        .chunks_exact(8)
        .map(|time| time.try_into().map_or(i64::MAX, i64::from_be_bytes))
        .take_while(|time| *time <= secs)
        .count();
    // Behind the last transition a rule with a comma switches between summer and winter time.
    if passed == times && footer.contains(&b',') {
        return None;
    }
    let kind = match passed.checked_sub(1) {
        Some(last) => usize::from(*kinds.get(last)?),
        None => 0,
    };
    let offset = infos.get(kind * 6..kind * 6 + 4)?;
    Some(i64::from(i32::from_be_bytes(offset.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(zone: &str, secs: i64) -> Option<i64> {
        Zone::named(Some(zone.into()))?.day(secs)
    }

    #[test]
    fn the_day_is_local() {
        // 2026-01-01 23:30 UTC.
        let secs = 1_767_310_200;
        let utc = day("UTC", secs).unwrap();
        assert_eq!(utc, 20_454);
        if Path::new(ZONES).join("Asia/Tokyo").exists() {
            assert_eq!(day("Asia/Tokyo", secs), Some(utc + 1));
            assert_eq!(day(":Asia/Tokyo", secs), Some(utc + 1));
            assert_eq!(day("America/New_York", secs - 23 * 3600), Some(utc - 1));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_known() {
        assert_eq!(day("CET-1CEST,M3.5.0,M10.5.0/3", 0), None);
        assert_eq!(day("../../../etc/passwd", 0), None);
        assert_eq!(offset_at(b"TZif2", 0), None);
        let cut: Vec<u8> = fs::read("/usr/share/zoneinfo/Asia/Tokyo").unwrap_or_default();
        for length in 0..cut.len() {
            let _ = offset_at(&cut[..length], 0);
        }
    }

    #[test]
    fn nothing_mentioned_is_no_moment_and_the_time_is_never_known() {
        let none = std::iter::empty;
        assert_eq!(moment(Mentions::default(), false, 0, none()), Some([0; 32]));
        assert_eq!(moment(Mentions::TIME, false, 0, none()), None);
    }

    #[test]
    fn a_mentioned_timestamp_is_the_mtime_of_every_input() {
        let of = |secs| moment(Mentions::TIMESTAMP, false, 0, [1, secs].into_iter()).unwrap();
        assert_eq!(of(2), of(2));
        assert_ne!(of(2), of(3));
    }
}
