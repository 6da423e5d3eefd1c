//! What a disk of 7200 revolutions per minute would need for a recorded list of requests.
//!
//! 1. Requests that stand behind each other on the disk and directly after each other in the list
//!    are one: the kernel cuts long ones at the limits of the device, a disk does not stop there.
//! 2. Three models, because none is right: each says how long the heads take to a place, all of
//!    them 160 MB/s for the bytes. That is the average of a Seagate Barracuda 7200.14
//!    (ST3000DM001), from whose data sheet the average seek (8.5 ms) and latency (4.17 ms, half a
//!    revolution) are, too.
//!    - *flat*: 8.5 ms and half a revolution for any place that is not the next one, 1 ms for one
//!      within 1 MiB.
//!    - *curve*: the seek takes longer over a longer distance, `0.8 ms + 13.3 ms x
//!      sqrt(distance / 300 GB)` (the shape is that of Ruemmler and Wilkes, "An introduction to
//!      disk drive modeling", IEEE Computer 27(3), 1994, for all but the longest seeks; the
//!      factor makes a third of the disk, the mean of random ones, 8.5 ms), and half a revolution.
//!      What stands less than a track ahead comes by without a seek.
//!    - *queued*: the same curve for a disk that is helped: what nobody waits for is sorted by
//!      place, 32 requests at a time (native command queueing), with a quarter of a revolution
//!      each; and what it has read ahead, 2 MiB behind each of the last 16 places, is there
//!      without positioning. The quarter and the 2 MiB are assumptions, not measured.
//! 3. A flush costs nothing by itself; what it forces out of the cache was counted as writes.

use super::trace::{Kind, Request};

/// Bytes per millisecond.
const BYTES_PER_MS: f64 = 160e3;
/// Half a revolution at 7200 per minute.
const LATENCY_MS: f64 = 4.17;
const SECTOR_BYTES: u64 = 512;
/// One revolution at the rate above.
const TRACK_BYTES: u64 = (BYTES_PER_MS * 2.0 * LATENCY_MS) as u64;
/// Seek of the flat model, and for a jump below [`FLAT_NEAR_BYTES`] in place of seek and latency.
const FLAT_SEEK_MS: f64 = 8.5;
const FLAT_NEAR_MS: f64 = 1.0;
const FLAT_NEAR_BYTES: u64 = 1 << 20;
/// From one track to the next.
const CURVE_MS_MIN: f64 = 0.8;
const CURVE_FACTOR_MS: f64 = 13.3;
const DISK_BYTES: f64 = 300e9;
/// Requests that a queueing disk sorts at once, and how many places it reads ahead at.
const QUEUE_DEPTH: usize = 32;
const AHEAD_PLACES: usize = 16;
const AHEAD_BYTES: u64 = 2 << 20;

/// How long the heads take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// The same for any place.
    Flat,
    /// Longer over longer distances.
    Curve,
    /// With queueing and reading ahead.
    Queued,
}

impl Model {
    /// All of them.
    pub const ALL: [Model; 3] = [Model::Flat, Model::Curve, Model::Queued];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Model::Flat => "flat",
            Model::Curve => "curve",
            Model::Queued => "queued",
        }
    }
}

/// What a list of requests comes to.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Figures {
    /// Reads, after merging.
    pub reads: u64,
    /// Writes, after merging.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Reads, as they were issued.
    pub reads_issued: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Requests whose place was not the next one, and not within 1 MiB of it.
    pub seeks: u64,
    /// The same, of reads.
    pub read_seeks: u64,
    /// Milliseconds by each of [`Model::ALL`].
    pub model_ms: [f64; 3],
    /// The same, if the disk had been asked for the reads alone.
    pub read_model_ms: [f64; 3],
}

impl Figures {
    /// What is left when a part that was measured by itself is taken off.
    pub fn less(&self, part: &Figures) -> Figures {
        let times = |all: [f64; 3], part: [f64; 3]| [0, 1, 2].map(|n| (all[n] - part[n]).max(0.0));
        Figures {
            reads: self.reads.saturating_sub(part.reads),
            writes: self.writes.saturating_sub(part.writes),
            flushes: self.flushes.saturating_sub(part.flushes),
            reads_issued: self.reads_issued.saturating_sub(part.reads_issued),
            read_bytes: self.read_bytes.saturating_sub(part.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(part.written_bytes),
            seeks: self.seeks.saturating_sub(part.seeks),
            read_seeks: self.read_seeks.saturating_sub(part.read_seeks),
            model_ms: times(self.model_ms, part.model_ms),
            read_model_ms: times(self.read_model_ms, part.read_model_ms),
        }
    }
}

/// Counts and times the requests of a phase; the heads begin far away.
pub fn figures(requests: &[Request]) -> Figures {
    let merged = merge(requests);
    let reads: Vec<Request> = only(&merged, Kind::Read);
    let is_seek = |end: Option<u64>, next: &Request| {
        end.is_none_or(|end| next.sector.abs_diff(end) * SECTOR_BYTES > FLAT_NEAR_BYTES)
    };
    let seeks = |list: &[Request]| {
        let mut end = None;
        let far = |next: &&Request| {
            let far = is_seek(end, next);
            end = Some(next.end());
            far
        };
        list.iter().filter(|request| request.bytes > 0).filter(far).count() as u64
    };
    let bytes = |kind| merged.iter().filter(|r| r.kind == kind).map(|r| r.bytes).sum();
    let count = |list: &[Request], kind| list.iter().filter(|r| r.kind == kind).count() as u64;
    Figures {
        reads: reads.len() as u64,
        writes: count(&merged, Kind::Write),
        flushes: count(&merged, Kind::Flush),
        reads_issued: count(requests, Kind::Read),
        read_bytes: bytes(Kind::Read),
        written_bytes: bytes(Kind::Write),
        seeks: seeks(&merged),
        read_seeks: seeks(&merge(&reads)),
        model_ms: Model::ALL.map(|model| milliseconds(model, &merged)),
        read_model_ms: Model::ALL.map(|model| milliseconds(model, &reads)),
    }
}

fn only(requests: &[Request], kind: Kind) -> Vec<Request> {
    requests.iter().filter(|request| request.kind == kind).cloned().collect()
}

/// Joins requests that go on where the one before ended.
pub fn merge(requests: &[Request]) -> Vec<Request> {
    let mut merged: Vec<Request> = Vec::with_capacity(requests.len());
    for request in requests {
        match merged.last_mut() {
            Some(last)
                if last.kind == request.kind
                    && request.bytes > 0
                    && last.end() == request.sector =>
            {
                last.bytes += request.bytes;
                last.in_background &= request.in_background;
            }
            _ => merged.push(request.clone()),
        }
    }
    merged
}

/// The time of a list of merged requests.
pub fn milliseconds(model: Model, requests: &[Request]) -> f64 {
    let requests = requests.iter().filter(|request| request.bytes > 0);
    match model {
        Model::Flat => sum(requests, flat_ms),
        Model::Curve => sum(requests, |end, next| curve_ms(end, next, LATENCY_MS)),
        Model::Queued => queued_ms(requests),
    }
}

fn sum<'a>(
    requests: impl Iterator<Item = &'a Request>,
    position_ms: impl Fn(Option<u64>, &Request) -> f64,
) -> f64 {
    let mut end = None;
    let mut total = 0.0;
    for request in requests {
        total += position_ms(end, request) + request.bytes as f64 / BYTES_PER_MS;
        end = Some(request.end());
    }
    total
}

fn flat_ms(end: Option<u64>, next: &Request) -> f64 {
    match end.map(|end| next.sector.abs_diff(end) * SECTOR_BYTES) {
        Some(0) => 0.0,
        Some(bytes) if bytes < FLAT_NEAR_BYTES => FLAT_NEAR_MS,
        _ => FLAT_SEEK_MS + LATENCY_MS,
    }
}

/// The first request of a phase finds the heads a third of the disk away.
fn curve_ms(end: Option<u64>, next: &Request, latency_ms: f64) -> f64 {
    let third = (DISK_BYTES / 3.0) as u64;
    let bytes = end.map_or(third, |end| next.sector.abs_diff(end) * SECTOR_BYTES);
    let is_ahead = end.is_some_and(|end| next.sector >= end);
    if is_ahead && bytes < TRACK_BYTES {
        return bytes as f64 / BYTES_PER_MS;
    }
    CURVE_MS_MIN + CURVE_FACTOR_MS * (bytes as f64 / DISK_BYTES).sqrt() + latency_ms
}

fn queued_ms<'a>(requests: impl Iterator<Item = &'a Request>) -> f64 {
    let mut end = None;
    let mut ahead: Vec<u64> = Vec::new();
    let mut queue: Vec<&Request> = Vec::new();
    let mut total = 0.0;
    let mut serve = |request: &Request, latency_ms: f64| {
        let was_read_ahead = |start: &u64| {
            request.sector >= *start && (request.end() - start) * SECTOR_BYTES <= AHEAD_BYTES
        };
        let hit = ahead.iter().position(was_read_ahead);
        let transfer_ms = request.bytes as f64 / BYTES_PER_MS;
        if request.kind == Kind::Read {
            if let Some(hit) = hit {
                ahead[hit] = request.end();
                return transfer_ms;
            }
            if ahead.len() == AHEAD_PLACES {
                ahead.remove(0);
            }
            ahead.push(request.end());
        }
        let position_ms = curve_ms(end, request, latency_ms);
        end = Some(request.end());
        position_ms + transfer_ms
    };
    for request in requests {
        if request.in_background {
            queue.push(request);
            if queue.len() < QUEUE_DEPTH {
                continue;
            }
        }
        queue.sort_by_key(|request| request.sector);
        total += queue.drain(..).map(|request| serve(request, LATENCY_MS / 2.0)).sum::<f64>();
        if !request.in_background {
            total += serve(request, LATENCY_MS);
        }
    }
    queue.sort_by_key(|request| request.sector);
    total + queue.into_iter().map(|request| serve(request, LATENCY_MS / 2.0)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: Kind, sector: u64, bytes: u64) -> Request {
        let in_background = kind == Kind::Write;
        Request { at_us: 0, kind, in_background, is_metadata: false, sector, bytes }
    }

    fn read(sector: u64, bytes: u64) -> Request {
        request(Kind::Read, sector, bytes)
    }

    #[test]
    fn what_goes_on_where_the_last_one_ended_is_one_request() {
        let list = [read(0, 4096), read(8, 8192), read(24, 512), read(1 << 30, 512)];
        let figures = figures(&list);
        assert_eq!((figures.reads, figures.reads_issued, figures.seeks), (2, 4, 2));
        assert_eq!(figures.read_bytes, 4096 + 8192 + 512 + 512);
    }

    #[test]
    fn flushes_and_writes_are_not_reads() {
        let list = [request(Kind::Write, 0, 4096), request(Kind::Flush, 0, 0), read(0, 4096)];
        let figures = figures(&list);
        assert_eq!((figures.reads, figures.writes, figures.flushes), (1, 1, 1));
        assert_eq!((figures.seeks, figures.read_seeks), (1, 1));
        assert!(figures.read_model_ms[0] < figures.model_ms[0]);
    }

    #[test]
    fn the_flat_model_has_the_times_that_it_states() {
        let close = |list: &[Request], expected: f64| {
            let ms = milliseconds(Model::Flat, list);
            assert!((ms - expected).abs() < 1e-6, "{ms} {expected}");
        };
        close(&[read(0, 160_000)], 12.67 + 1.0);
        close(&[read(0, 512), read(1000, 512)], 12.67 + 1.0 + 2.0 * 0.0032);
        close(&[read(0, 512), read(1 << 20, 512)], 2.0 * (12.67 + 0.0032));
    }

    #[test]
    fn the_mean_of_random_seeks_is_that_of_the_data_sheet() {
        let third = read((DISK_BYTES / 3.0) as u64 / SECTOR_BYTES, 512);
        let ms = curve_ms(Some(0), &third, 0.0);
        assert!((8.3..8.7).contains(&ms), "{ms}");
        assert!(curve_ms(Some(0), &read(1000, 512), LATENCY_MS) < LATENCY_MS);
        assert!(curve_ms(Some(4000), &read(0, 512), LATENCY_MS) > LATENCY_MS);
    }

    #[test]
    fn a_disk_that_sorts_and_reads_ahead_is_faster() {
        let scattered: Vec<Request> =
            (0..64).map(|n| request(Kind::Write, n * 7919 % 64 * 4_000_000, 4096)).collect();
        assert!(milliseconds(Model::Queued, &scattered) < milliseconds(Model::Curve, &scattered));
        let turns: Vec<Request> =
            (0..64).map(|n| read(n % 2 * 400_000_000 + n / 2 * 16, 4096)).collect();
        assert!(milliseconds(Model::Queued, &turns) < milliseconds(Model::Curve, &turns) / 8.0);
    }
}
