//! Files of a store that are cut, emptied, punched, overwritten, removed or replaced while somebody
//! has the store open.
//!
//! 1. Under a reader, whatever it has mapped by then: every answer is right, a miss or an error.
//!    When the file is what it was before, a fresh handle finds everything.
//! 2. Under a writer: puts are stored, dropped or refused, upkeep is done or refused; whatever is
//!    found then is right. A fresh handle is refused the store or goes on with it.
//! 3. Nobody panics, and no access to a map of a file that is not there any more ends a process.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_engine::{Budget, Key, Put, ReadMode, Store};
use larder_tests::TempDir;
use larder_tests::sample::{Random, Value};

use super::{Reference, assert_holds, put, roomy};

const MODES: [ReadMode; 3] = [ReadMode::Pread, ReadMode::Auto, ReadMode::Map];

/// What befalls a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    Emptied,
    Halved,
    Punched,
    Overwritten,
    Removed,
    Directory,
}

const HARMS: [Harm; 6] =
    [Harm::Emptied, Harm::Halved, Harm::Punched, Harm::Overwritten, Harm::Removed, Harm::Directory];

impl Harm {
    /// Does it; the same inode stays where the name does not go.
    fn befall(self, path: &Path) {
        let open = || fs::File::options().write(true).open(path).unwrap();
        let bytes = fs::metadata(path).unwrap().len();
        match self {
            Harm::Emptied => open().set_len(0).unwrap(),
            Harm::Halved => open().set_len(bytes / 2).unwrap(),
            Harm::Punched => {
                let mut punch = Command::new("fallocate");
                punch.args(["--punch-hole", "--length", &bytes.max(1).to_string()]).arg(path);
                assert!(punch.status().unwrap().success());
            }
            Harm::Overwritten => {
                open().write_all_at(&Random::new(1).bytes(bytes as usize), 0).unwrap();
            }
            Harm::Removed => fs::remove_file(path).unwrap(),
            Harm::Directory => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
        }
    }
}

/// Puts a file back as it was, with the same inode if that is still there.
fn restore(path: &Path, bytes: &[u8]) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    }
    let file = fs::File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// In memory where that can be, because nothing here depends on a disk.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("larder-test-").tempdir_in("/dev/shm");
    folder.unwrap_or_else(|_| larder_tests::temp_dir())
}

/// A store with merged, sealed and open segments; each key was put once.
struct Sample {
    folder: TempDir,
    reference: Reference,
}

impl Sample {
    fn new() -> Sample {
        let mut sample = Sample { folder: folder(), reference: Reference::new() };
        let store = Store::open(sample.folder.path(), roomy()).unwrap();
        let mut random = Random::new(31);
        for number in 0..36u64 {
            let bytes = if number == 20 { 140_000 } else { random.length(9_000) };
            let value = Value::of(random.bytes(bytes));
            put(&store, key(number), &value);
            sample.reference.insert(key(number), value);
            if number == 24 {
                store.maintain(Budget::full()).unwrap();
            }
        }
        // So that counters and recency are there.
        assert_holds(&store, &sample.reference);
        store.counters().add(1, 1);
        sample
    }

    /// The files, relative to the store; of the segments the first, the large and the last one.
    fn files(&self) -> Vec<PathBuf> {
        let list = |directory: &str| {
            let entries = fs::read_dir(self.folder.path().join(directory)).unwrap();
            let files = entries.map(|entry| entry.unwrap()).filter(|e| e.path().is_file());
            let mut files: Vec<PathBuf> =
                files.map(|entry| Path::new(directory).join(entry.file_name())).collect();
            files.sort();
            files
        };
        let segments = list("log");
        let large =
            |file: &&PathBuf| fs::metadata(self.folder.path().join(file)).unwrap().len() > 130_000;
        let large = segments.iter().find(large).expect("there is a large one");
        let chosen = [&segments[0], large, segments.last().unwrap()].map(PathBuf::clone);
        [list(""), chosen.to_vec()].concat()
    }

    fn copy(&self) -> TempDir {
        let copy = folder();
        fs::create_dir(copy.path().join("log")).unwrap();
        for directory in ["", "log"] {
            for entry in fs::read_dir(self.folder.path().join(directory)).unwrap() {
                let entry = entry.unwrap();
                if entry.path().is_file() {
                    let to = copy.path().join(directory).join(entry.file_name());
                    fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        copy
    }

    /// Reads in every way; how many values were found.
    fn read(&self, store: &Store) -> usize {
        let mut found = 0;
        for (key, value) in &self.reference {
            let _ = store.contains(key);
            let Ok(Some(record)) = store.get(key) else { continue };
            store.touch(&record);
            let Ok(read) = Value::read(&record) else { continue };
            assert!(read == *value, "{key} is wrong");
            found += 1;
        }
        if let Ok(snapshot) = store.snapshot() {
            for record in snapshot.iter() {
                let Ok(read) = Value::read(&record) else { continue };
                let known = self.reference.get(&record.key());
                assert!(known.is_none_or(|value| *value == read), "a snapshot is wrong");
            }
        }
        let _ = store.stats();
        let _ = store.verify(|_, _| {});
        store.counters().add(2, 1);
        found
    }

    /// Writes in every way; what is found of that afterwards must be right.
    fn write(&self, store: &Store) {
        let mut random = Random::new(7);
        for number in 100..106 {
            let value = Value::of(random.bytes(25_000));
            if store.put(&value.entry(key(number))).is_ok_and(|put| put == Put::Stored)
                && let Ok(Some(record)) = store.get(&key(number))
                && let Ok(read) = Value::read(&record)
            {
                assert!(read == value, "what was just put is wrong");
            }
            let _ = match number {
                102 => store.maintain(Budget::inline()).map(drop),
                103 => store.maintain(Budget::full()).map(drop),
                104 => store.checkpoint(),
                _ => Ok(()),
            };
        }
    }
}

/// Runs `test` for each file, harm and way of reading; says which one failed.
fn for_each(sample: &Sample, test: impl Fn(&Path, &Path, Harm, ReadMode)) {
    let files = sample.files();
    assert!(files.len() >= 9, "{files:?}");
    for file in &files {
        for harm in HARMS {
            for mode in MODES {
                let copy = sample.copy();
                let run = || test(copy.path(), file, harm, mode);
                if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                    eprintln!("{} was {harm:?} under {mode:?}", file.display());
                    resume_unwind(panic);
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_harmed_under_a_reader_makes_no_answer_wrong() {
    let sample = Sample::new();
    for_each(&sample, |path, file, harm, mode| {
        let file = path.join(file);
        let whole = fs::read(&file).unwrap();
        let open = || Store::open(path, roomy().read_mode(mode));
        let warm = open().unwrap();
        assert_eq!(sample.read(&warm), sample.reference.len());
        let cold = open().unwrap();
        harm.befall(&file);
        for store in [&warm, &cold] {
            let found = sample.read(store);
            // What was harmed is noticed.
            let is_segment = file.extension().is_some_and(|end| end == "seg");
            assert!(!(is_segment && harm == Harm::Emptied) || found < sample.reference.len());
        }
        if let Ok(late) = Store::open(path, roomy().read_mode(mode).read_only(true)) {
            sample.read(&late);
        }
        restore(&file, &whole);
        for store in [&warm, &cold] {
            sample.read(store);
        }
        let fresh = open().unwrap();
        assert_holds(&fresh, &sample.reference);
        put(&fresh, key(200), &Value::of(b"goes on".as_slice()));
        assert_eq!(fresh.verify(|_, _| {}).unwrap().damaged, []);
    });
}

#[test]
fn a_file_that_is_harmed_under_a_writer_makes_no_answer_wrong() {
    let sample = Sample::new();
    for_each(&sample, |path, file, harm, mode| {
        let open = || Store::open(path, roomy().read_mode(mode));
        let warm = open().unwrap();
        put(&warm, key(99), &Value::of(b"before".as_slice()));
        let cold = open().unwrap();
        harm.befall(&path.join(file));
        for store in [&warm, &cold] {
            sample.write(store);
            sample.read(store);
        }
        drop((warm, cold));
        let Ok(fresh) = open() else { return };
        sample.read(&fresh);
        let value = Value::of(b"goes on".as_slice());
        let stored = fresh.put(&value.entry(key(200))).is_ok_and(|put| put == Put::Stored);
        // One round may find the damage, and the next one has it behind it.
        let _ = fresh.maintain(Budget::full());
        let _ = fresh.maintain(Budget::full());
        sample.read(&fresh);
        if stored && let Ok(Some(record)) = fresh.get(&key(200)) {
            assert!(Value::read(&record).unwrap() == value);
        }
    });
}

#[test]
fn a_log_that_is_removed_or_replaced_under_a_handle_makes_no_answer_wrong() {
    let sample = Sample::new();
    for mode in MODES {
        for is_replaced in [false, true] {
            let copy = sample.copy();
            let open = || Store::open(copy.path(), roomy().read_mode(mode));
            let (warm, cold) = (open().unwrap(), open().unwrap());
            assert_eq!(sample.read(&warm), sample.reference.len());
            let (log, away) = (copy.path().join("log"), copy.path().join("away"));
            fs::rename(&log, &away).unwrap();
            if is_replaced {
                fs::write(&log, b"no directory").unwrap();
            }
            for store in [&warm, &cold] {
                sample.read(store);
                sample.write(store);
                sample.read(store);
            }
            if let Ok(late) = open() {
                sample.read(&late);
            }
        }
    }
}

/// What root leaves in somebody's store belongs to them: `sudo make install` made segments that the
/// owner could not read, and nothing was found until the store was removed.
#[test]
fn root_leaves_nothing_of_its_own_in_the_store_of_a_user() {
    let folder = larder_tests::temp_dir();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    if chown(&home, Some(65_534), Some(65_534)).is_err() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let path = home.join("cache").join("store");
    let store = Store::open(&path, roomy()).unwrap();
    let mut reference = Reference::new();
    for number in 0..60u64 {
        let value = Value::of(Random::new(number).bytes(3_000));
        put(&store, Key::of(&number.to_le_bytes()), &value);
        reference.insert(Key::of(&number.to_le_bytes()), value);
    }
    store.maintain(Budget::full()).unwrap();
    store.checkpoint().unwrap();
    assert_holds(&store, &reference);
    let mut seen = 0;
    let mut left = vec![home.join("cache")];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (65_534, 65_534), "{}", path.display());
        seen += 1;
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 8, "{seen} files and directories");
}
