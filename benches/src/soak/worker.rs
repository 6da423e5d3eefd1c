//! The processes of a soak.
//!
//! 1. A writer puts a manifest and a result in one call, through a store that it opens afresh as a
//!    compile does, and sees to upkeep as the wrapper does.
//! 2. A reader knows from a writer's file how far that has come, and which bytes each record has.
//! 3. A janitor does what is due once, with a low priority.
//! 4. A control writes what a writer puts to a plain file, at a writer's rate: what that waits for
//!    is the machine's. A hog computes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use larder_engine::env::{Device, idle_io_priority};
use larder_engine::{
    Budget, Entry, Key, Options, Put, RecordKind, RecordLayout, Restored, Section, SectionKind,
    Store,
};

use super::latency::Latencies;
use super::settings::{Janitor, Settings};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Mean bytes of an object, as in a C++ build.
const OBJECT_BYTES_MEAN: u64 = 26_000;

/// Bytes of a manifest.
const MANIFEST_BYTES: usize = 2_000;

/// One record in this many is asked for again and again.
const POPULAR_EVERY: u64 = 40;

/// How often a reader asks.
const READ_EVERY: Duration = Duration::from_millis(50);

/// Restored files of one reader: what was restored before makes room.
const TREE_FILES: u64 = 400;

/// Where the parts of a soak stand, and when it ends.
#[derive(Clone, Debug)]
pub struct Place {
    /// This program.
    pub program: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// Files that readers restore, on the same file system.
    pub tree: PathBuf,
    /// What workers note, on another one.
    pub notes: PathBuf,
    /// Bytes per second of one writer; zero for no bound.
    pub bytes_per_second: u64,
}

/// Opens the store as the settings say.
///
/// # Errors
/// As [`Store::open`].
pub fn open(settings: &Settings, store: &Path) -> larder_engine::Result<Store> {
    let layout = if settings.clones { RecordLayout::Cloneable } else { RecordLayout::Raw };
    // As the wrapper would on a disk that does not seek: most is cloned there.
    let options = Options::new().layout(layout).clone_bytes_min(Device::Fast.clone_bytes_min());
    Store::open(store, options.max_size_bytes(settings.max_size_bytes))
}

/// The file that says how many objects a writer has put.
fn progress_file(notes: &Path, writer: u64) -> PathBuf {
    notes.join(format!("progress-{writer}"))
}

fn key(writer: u64, number: u64, part: u64) -> Key {
    Key::of(&[writer, number, part].map(u64::to_le_bytes).concat())
}

/// Bytes that do not compress, of which every object is a piece.
struct Noise(Vec<u8>);

impl Noise {
    fn new() -> Noise {
        let blocks = (0..(4u64 << 20) / 32).map(|block| *Key::of(&block.to_le_bytes()).as_bytes());
        Noise(blocks.flatten().collect())
    }

    /// The bytes of a record: lengths spread over two powers of ten, of the mean above.
    fn object(&self, key: &Key) -> Vec<u8> {
        let word = u64::from_le_bytes(std::array::from_fn(|index| key.as_bytes()[index + 8]));
        // The sum of four shares is roughly normal; two to its power roughly log-normal.
        let share =
            (0..4).map(|part| (word >> (16 * part)) & 0xffff).sum::<u64>() as f64 / 65_536.0;
        let bytes = (OBJECT_BYTES_MEAN as f64 * 0.55 * ((share - 2.0) * 1.9).exp()) as usize;
        self.piece(key, bytes.max(200))
    }

    fn piece(&self, key: &Key, bytes: usize) -> Vec<u8> {
        let start = usize::from(key.as_bytes()[0]) * 4096;
        let piece = &self.0[start..start + bytes.min(self.0.len() / 4)];
        [key.as_bytes(), piece].concat()
    }
}

/// Runs as `ROLE ID STORE TREE NOTES BYTES_PER_SECOND`, and the words of the soak.
///
/// # Errors
/// If the store does something that it may not.
pub fn run(words: &[String]) -> Outcome<()> {
    let [role, id, store, tree, notes, bytes_per_second, rest @ ..] = words else {
        return Err("a worker is told".into());
    };
    let settings = Settings::parse(rest.iter().cloned())?;
    let place = Place {
        program: std::env::current_exe()?,
        store: store.into(),
        tree: tree.into(),
        notes: notes.into(),
        bytes_per_second: bytes_per_second.parse()?,
    };
    match role.as_str() {
        "writer" => write(id.parse()?, &place, &settings, rest),
        "reader" => read(id.parse()?, &place, &settings),
        "janitor" => tidy_up(&place, &settings),
        "control" => control(id.parse()?, &place, &settings),
        "hog" => compute(&settings),
        other => Err(format!("there is no role {other}").into()),
    }
}

/// A worker, started.
///
/// # Errors
/// If it cannot be.
pub fn start(role: &str, id: u64, place: &Place, words: &[String]) -> std::io::Result<Child> {
    let mut command = Command::new(&place.program);
    command.arg("work").arg(role).arg(id.to_string());
    command.arg(&place.store).arg(&place.tree).arg(&place.notes);
    command.arg(place.bytes_per_second.to_string()).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

fn tidy_up(place: &Place, settings: &Settings) -> Outcome<()> {
    let _ = rustix::process::nice(settings.nice as i32);
    let _ = idle_io_priority();
    match open(settings, &place.store)?.maintain(Budget::full()) {
        Err(error) if !error.is_busy() => Err(error.into()),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Written {
    puts: Latencies,
    calls: Latencies,
    bytes: u64,
    dropped: u64,
    /// Bytes of all puts, dropped ones too: a compiler has made them.
    offered: u64,
    janitors: Vec<Child>,
}

/// Bytes of the control's file, over which it goes again and again.
const CONTROL_BYTES: u64 = 64 << 20;

/// Bytes per second of the control where writers have no bound.
const CONTROL_RATE: u64 = 8 << 20;

fn control(id: u64, place: &Place, settings: &Settings) -> Outcome<()> {
    let noise = Noise::new();
    let path = place.tree.join("control");
    File::create(&path)?;
    let rate = if place.bytes_per_second > 0 { place.bytes_per_second } else { CONTROL_RATE };
    let begun = Instant::now();
    let (mut times, mut number, mut bytes) = (Latencies::default(), 0, 0u64);
    while begun.elapsed().as_secs() < settings.seconds {
        let keys = [key(id, number, 0), key(id, number, 1)];
        let pieces = [noise.piece(&keys[0], MANIFEST_BYTES), noise.object(&keys[1])].concat();
        number += 1;
        let at_write = Instant::now();
        let file = File::options().write(true).open(&path)?;
        file.write_all_at(&pieces, bytes % CONTROL_BYTES)?;
        times.note(at_write.elapsed());
        bytes += pieces.len() as u64;
        let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let text = format!("controls {}\n", times.line());
    Ok(fs::write(place.notes.join("control"), text)?)
}

fn compute(settings: &Settings) -> Outcome<()> {
    let begun = Instant::now();
    let mut key = Key::of(b"hog");
    while begun.elapsed().as_secs() < settings.seconds {
        for _ in 0..10_000 {
            key = Key::of(key.as_bytes());
        }
    }
    // So that nothing of it is left out.
    std::hint::black_box(key);
    Ok(())
}

fn write(id: u64, place: &Place, settings: &Settings, words: &[String]) -> Outcome<()> {
    let noise = Noise::new();
    let progress = File::create(progress_file(&place.notes, id))?;
    let begun = Instant::now();
    let mut written = Written::default();
    let mut number = 0;
    while begun.elapsed().as_secs() < settings.seconds {
        let (manifest, object) = (key(id, number, 0), key(id, number, 1));
        let bytes = [noise.piece(&manifest, MANIFEST_BYTES), noise.object(&object)];
        put(&bytes, [manifest, object], place, settings, words, &mut written)?;
        number += 1;
        progress.write_all_at(&number.to_le_bytes(), 0)?;
        if place.bytes_per_second > 0 {
            let due =
                Duration::from_secs_f64(written.offered as f64 / place.bytes_per_second as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    for mut janitor in written.janitors {
        janitor.wait()?;
    }
    let text = format!(
        "puts {}\ncalls {}\nbytes {}\ndropped {}\n",
        written.puts.line(),
        written.calls.line(),
        written.bytes,
        written.dropped
    );
    Ok(fs::write(place.notes.join(format!("writer-{id}")), text)?)
}

/// What a compile does when the compiler has run.
fn put(
    bytes: &[Vec<u8>; 2],
    keys: [Key; 2],
    place: &Place,
    settings: &Settings,
    words: &[String],
    written: &mut Written,
) -> Outcome<()> {
    let begun = Instant::now();
    let store = open(settings, &place.store)?;
    let entry = |index: usize, kind| {
        let section = Section::new(SectionKind::Object, &bytes[index][..]).mode(0o644);
        Entry::new(keys[index], kind, vec![section])
    };
    let entries = [entry(0, RecordKind::Manifest), entry(1, RecordKind::Result)];
    let at_put = Instant::now();
    let put = store.put_all(&entries)?;
    written.puts.note(at_put.elapsed());
    let count = bytes.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    written.offered += count;
    match put {
        Put::Stored => written.bytes += count,
        Put::Dropped(_) => written.dropped += 1,
    }
    if store.maintenance_due() && !store.is_being_maintained() {
        match settings.janitor {
            Janitor::Off => {}
            Janitor::Inline => match store.maintain(Budget::inline()) {
                Err(error) if !error.is_busy() => return Err(error.into()),
                _ => {}
            },
            Janitor::Detached => written.janitors.push(start("janitor", 0, place, words)?),
        }
    }
    drop(store);
    written.calls.note(begun.elapsed());
    let ended = |janitor: &mut Child| janitor.try_wait().is_ok_and(|status| status.is_some());
    written.janitors.retain_mut(|janitor| !ended(janitor));
    Ok(())
}

/// Which records a reader asks for.
struct Choice {
    random: u64,
    writers: u64,
}

impl Choice {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % bound.max(1)
    }

    /// A writer, and one of its objects: a young one, one of any age, or a popular one.
    fn next(&mut self, notes: &Path) -> Outcome<Option<(u64, u64)>> {
        let writer = self.below(self.writers);
        let mut count = [0; 8];
        match File::open(progress_file(notes, writer)).and_then(|file| file.read_at(&mut count, 0))
        {
            Ok(8) => {}
            _ => return Ok(None),
        }
        let count = u64::from_le_bytes(count);
        let number = match self.below(3) {
            0 => count.saturating_sub(1 + self.below(500)),
            1 => self.below(count),
            _ => self.below(count) / POPULAR_EVERY * POPULAR_EVERY,
        };
        Ok((count > 0).then_some((writer, number)))
    }
}

fn read(id: u64, place: &Place, settings: &Settings) -> Outcome<()> {
    let noise = Noise::new();
    let tree = place.tree.join(id.to_string());
    fs::create_dir_all(&tree)?;
    let begun = Instant::now();
    let mut choice = Choice { random: id + 1, writers: settings.writers };
    let mut gets = Latencies::default();
    let (mut hits, mut cloned, mut copied) = (0u64, 0u64, 0u64);
    while begun.elapsed().as_secs() < settings.seconds {
        let Some((writer, number)) = choice.next(&place.notes)? else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let key = key(writer, number, 1);
        let at_get = Instant::now();
        let store = open(settings, &place.store)?;
        let record = store.get(&key)?;
        let bytes = record.as_ref().map(|record| record.read(0));
        gets.note(at_get.elapsed());
        let (Some(record), Some(bytes)) = (record, bytes) else { continue };
        let wanted = noise.object(&key);
        match bytes {
            Ok(bytes) if bytes == wanted => hits += 1,
            Ok(_) => return Err(format!("{key} has wrong bytes").into()),
            Err(error) => return Err(format!("{key} is damaged: {error}").into()),
        }
        if settings.clones {
            let file = tree.join((hits % TREE_FILES).to_string());
            match store.restore(&record, 0, &file)? {
                Restored::Cloned => cloned += 1,
                Restored::Copied => copied += 1,
            }
            if fs::read(&file)? != wanted {
                return Err(format!("{key} was restored with wrong bytes").into());
            }
        }
        // Readers are not to be the load: unbounded, two of them take more than half a processor.
        std::thread::sleep(READ_EVERY.saturating_sub(at_get.elapsed()));
    }
    let gets = gets.line();
    let text = format!("gets {gets}\nhits {hits}\ncloned {cloned}\ncopied {copied}\n");
    Ok(fs::write(place.notes.join(format!("reader-{id}")), text)?)
}
