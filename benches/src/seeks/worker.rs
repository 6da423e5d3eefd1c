//! What is done to a store, in a process of its own: it is opened, as after a reboot, used, and
//! everything that it gives is compared with what was put.
//!
//! ```text
//! work SUBJECT ACTION STORE SEED WORD...
//!
//!   fill ENTRIES          puts entries 0 to ENTRIES
//!   put NUMBER,...        puts entries, one after the other; from BUILD_FROM on they are units
//!   get NUMBER,...        gets entries
//!   miss COUNT            asks for keys that were never put
//!   settle                lets upkeep do all that it can
//!   verify ENTRIES        checks everything
//!   evict ENTRIES BYTES   drops the oldest entries until so much is free
//! ```

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use larder_engine::checksum::xxh3_64;
use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};

use crate::entries::{RESULT_BYTES_MEAN, result};

/// Numbers from here on are units of the build.
pub const BUILD_FROM: u64 = 1 << 40;
/// Numbers from here on were never put.
const ABSENT_FROM: u64 = 1 << 41;
/// Stored bytes of a unit: objects of a C project with `-g`, under zstd.
const UNIT_BYTES_MEAN: f64 = 52_000.0;
const CHECK_BYTES: usize = 8;

/// What went wrong.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// The bytes of a key.
pub type KeyBytes = [u8; 32];

/// A store as this measurement uses it.
pub trait Subject {
    /// Puts one entry, so that it is there for every process.
    ///
    /// # Errors
    /// If it is not stored.
    fn put(&mut self, key: &KeyBytes, value: &[u8]) -> Outcome<()>;

    /// Puts many, as fast as it goes.
    ///
    /// # Errors
    /// If one is not stored.
    fn fill(&mut self, entries: &mut dyn Iterator<Item = (KeyBytes, Vec<u8>)>) -> Outcome<()> {
        for (key, value) in entries {
            self.put(&key, &value)?;
        }
        Ok(())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, key: &KeyBytes) -> Outcome<Option<Vec<u8>>>;

    /// Does all upkeep that there is.
    ///
    /// # Errors
    /// If it fails.
    fn settle(&mut self) -> Outcome<()> {
        Ok(())
    }

    /// Checks everything; answers how many entries are whole.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn verify(&self) -> Outcome<u64>;

    /// Drops entries until about `bytes` are free; `oldest_first` has the keys and lengths.
    ///
    /// # Errors
    /// If that is not done.
    fn evict(
        &mut self,
        oldest_first: &mut dyn Iterator<Item = (KeyBytes, u64)>,
        bytes: u64,
    ) -> Outcome<()>;
}

/// The value of an entry.
pub fn value(seed: u64, number: u64) -> Vec<u8> {
    let bytes_mean = if number >= BUILD_FROM { UNIT_BYTES_MEAN } else { RESULT_BYTES_MEAN };
    result(seed, number, bytes_mean)
}

/// The key of an entry.
pub fn key(seed: u64, number: u64) -> KeyBytes {
    *Key::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).as_bytes()
}

/// A value with a check behind it, for stores that have none themselves.
pub fn sealed(value: &[u8]) -> Vec<u8> {
    let mut sealed = value.to_vec();
    sealed.extend_from_slice(&xxh3_64(value, 0).to_le_bytes());
    sealed
}

/// The value, if its check is right.
pub fn unsealed(mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let bytes = sealed.len().checked_sub(CHECK_BYTES)?;
    let is_right = sealed[bytes..] == xxh3_64(&sealed[..bytes], 0).to_le_bytes();
    sealed.truncate(bytes);
    is_right.then_some(sealed)
}

/// `work SUBJECT ACTION STORE SEED WORD...`
///
/// # Errors
/// If the store does not do what it must.
pub fn work(words: &[String]) -> Outcome<()> {
    let [subject, action, store, rest @ ..] = words else { return Err("who calls?".into()) };
    let path = Path::new(store);
    match subject.split_once('@') {
        None if subject == "files" => perform(&mut Files(path.to_path_buf()), action, rest),
        None if subject == "larder" => perform(&mut Larder::open(path, None)?, action, rest),
        Some(("larder", kib)) => {
            perform(&mut Larder::open(path, Some(kib.parse()?))?, action, rest)
        }
        _ => Err(format!("there is no subject `{subject}`").into()),
    }
}

/// Does one action; `words` are the seed and what the action takes.
///
/// # Errors
/// If the store does not do what it must.
pub fn perform(subject: &mut dyn Subject, action: &str, words: &[String]) -> Outcome<()> {
    let seed: u64 = words.first().ok_or("a seed is missing")?.parse()?;
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    match action {
        "fill" => {
            let entries: u64 = word(1).parse()?;
            subject.fill(&mut (0..entries).map(|n| (key(seed, n), value(seed, n))))
        }
        "put" => word(1).split(',').try_for_each(|number| {
            let number: u64 = number.parse()?;
            subject.put(&key(seed, number), &value(seed, number))
        }),
        "get" => word(1).split(',').try_for_each(|number| {
            let number: u64 = number.parse()?;
            match subject.get(&key(seed, number))? {
                Some(found) if found == value(seed, number) => Ok(()),
                Some(_) => Err(format!("entry {number} has another value").into()),
                None => Err(format!("entry {number} is not found").into()),
            }
        }),
        "miss" => {
            let count: u64 = word(1).parse()?;
            (0..count).try_for_each(|number| {
                match subject.get(&key(seed, ABSENT_FROM + number))? {
                    None => Ok(()),
                    Some(_) => Err("a key that was never put is found".into()),
                }
            })
        }
        "settle" => subject.settle(),
        "verify" => {
            let (entries, whole) = (word(1).parse::<u64>()?, subject.verify()?);
            if whole != entries {
                return Err(format!("{whole} entries are whole, {entries} were put").into());
            }
            Ok(())
        }
        "evict" => {
            let entries: u64 = word(1).parse()?;
            let mut oldest = (0..entries).map(|n| (key(seed, n), value(seed, n).len() as u64));
            subject.evict(&mut oldest, word(2).parse()?)
        }
        _ => Err(format!("there is no action `{action}`").into()),
    }
}

/// The engine.
struct Larder {
    store: Store,
}

impl Larder {
    fn open(path: &Path, prefetch_kib: Option<u64>) -> Outcome<Larder> {
        let options = match prefetch_kib {
            Some(kib) => Options::new().prefetch_bytes(kib << 10),
            None => Options::new(),
        };
        Ok(Larder { store: Store::open(path, options)? })
    }
}

impl Subject for Larder {
    fn put(&mut self, key: &KeyBytes, value: &[u8]) -> Outcome<()> {
        let section = Section::new(SectionKind::Object, value);
        let entry = Entry::new(Key::from_bytes(*key), RecordKind::Result, vec![section]);
        match self.store.put(&entry)? {
            Put::Stored => {}
            other => return Err(format!("a put was not stored: {other:?}").into()),
        }
        if self.store.maintenance_due() {
            self.store.maintain(Budget::inline())?;
        }
        Ok(())
    }

    fn fill(&mut self, entries: &mut dyn Iterator<Item = (KeyBytes, Vec<u8>)>) -> Outcome<()> {
        for (key, value) in entries {
            self.put(&key, &value)?;
        }
        self.store.maintain(Budget::full())?;
        Ok(())
    }

    fn get(&self, key: &KeyBytes) -> Outcome<Option<Vec<u8>>> {
        let Some(record) = self.store.get(&Key::from_bytes(*key))? else { return Ok(None) };
        Ok(Some(record.read(0)?))
    }

    fn settle(&mut self) -> Outcome<()> {
        self.store.maintain(Budget::full())?;
        Ok(self.store.checkpoint()?)
    }

    fn verify(&self) -> Outcome<u64> {
        let report = self.store.verify(|_, _| {})?;
        match report.damaged.first().or(report.suspects.first()) {
            None => Ok(report.records),
            Some(damage) => Err(format!("the store is damaged: {damage:?}").into()),
        }
    }

    fn evict(
        &mut self,
        _oldest_first: &mut dyn Iterator<Item = (KeyBytes, u64)>,
        bytes: u64,
    ) -> Outcome<()> {
        let used = self.store.stats()?.disk_bytes;
        // Eviction leaves 80 % of the bound.
        let bound = used.saturating_sub(bytes).max(4 << 20) * 10 / 8;
        let options = Options::new().max_size_bytes(bound).segment_bytes(1 << 20);
        let path = self.store.path().to_path_buf();
        self.store = Store::open(&path, options)?;
        self.store.maintain(Budget::full())?;
        let left = self.store.stats()?.disk_bytes;
        if used - left < bytes * 8 / 10 {
            return Err(format!("{} of {bytes} bytes were freed", used - left).into());
        }
        Ok(())
    }
}

/// One file per entry, in two levels of directories, made beside and renamed.
struct Files(PathBuf);

impl Files {
    fn path(&self, key: &KeyBytes) -> PathBuf {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(&hex[..1]).join(&hex[1..2]).join(&hex[2..])
    }

    /// Every entry with its length and time.
    fn entries(&self) -> Outcome<Vec<(SystemTime, u64, PathBuf)>> {
        let mut entries = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let facts = entry.metadata()?;
                match facts.is_dir() {
                    true => folders.push(entry.path()),
                    false => entries.push((facts.modified()?, facts.len(), entry.path())),
                }
            }
        }
        Ok(entries)
    }
}

impl Subject for Files {
    fn put(&mut self, key: &KeyBytes, value: &[u8]) -> Outcome<()> {
        let path = self.path(key);
        let folder = path.parent().ok_or("a path has a folder")?;
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&sealed(value))?;
        file.persist(path)?;
        Ok(())
    }

    fn get(&self, key: &KeyBytes) -> Outcome<Option<Vec<u8>>> {
        match fs::read(self.path(key)) {
            Ok(bytes) => Ok(Some(unsealed(bytes).ok_or("a file is damaged")?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn verify(&self) -> Outcome<u64> {
        let mut whole = 0;
        for (_, _, path) in self.entries()? {
            whole += u64::from(unsealed(fs::read(path)?).is_some());
        }
        Ok(whole)
    }

    /// As caches of this kind do it: every file is looked at, the oldest go.
    fn evict(
        &mut self,
        _oldest_first: &mut dyn Iterator<Item = (KeyBytes, u64)>,
        bytes: u64,
    ) -> Outcome<()> {
        let mut entries = self.entries()?;
        entries.sort();
        let mut freed = 0;
        for (_, len, path) in entries {
            if freed >= bytes {
                return Ok(());
            }
            fs::remove_file(path)?;
            freed += len;
        }
        if freed < bytes { Err("there is not so much to free".into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> String {
        let numbers: Vec<String> = (BUILD_FROM..BUILD_FROM + 5).map(|n| n.to_string()).collect();
        numbers.join(",")
    }

    fn all(subject: &str) {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store").to_string_lossy().into_owned();
        let run = |line: &str| {
            let (action, rest) = line.split_once(' ').unwrap();
            let rest = rest.split(' ').map(str::to_string);
            let words: Vec<String> =
                [subject, action, &store].map(str::to_string).into_iter().chain(rest).collect();
            work(&words)
        };
        run("fill 7 300").unwrap();
        run(&format!("put 7 {}", units())).unwrap();
        run("get 7 0,299,5").unwrap();
        run(&format!("get 7 {}", BUILD_FROM + 4)).unwrap();
        assert!(run(&format!("get 7 {}", BUILD_FROM + 5)).is_err());
        assert!(run("get 8 0").is_err());
        run("miss 7 10").unwrap();
        run("verify 7 305").unwrap();
        assert!(run("verify 7 306").is_err());
        run("settle 7").unwrap();
        run("evict 7 300 4000000").unwrap();
        assert!(run("get 7 0").is_err());
        run(&format!("get 7 {}", BUILD_FROM + 4)).unwrap();
    }

    #[test]
    fn files_give_back_what_was_put() {
        all("files");
    }

    #[test]
    fn the_engine_gives_back_what_was_put() {
        // Segments of the default size are larger than all this, so nothing can be evicted.
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new().max_size_bytes(64 << 20).segment_bytes(1 << 20);
        Store::open(&directory.path().join("store"), options).unwrap();
        let mut larder = Larder::open(&directory.path().join("store"), None).unwrap();
        let mut run = |line: &str| {
            let mut words = line.split(' ').map(str::to_string);
            let action = words.next().unwrap();
            perform(&mut larder, &action, &words.collect::<Vec<_>>())
        };
        run("fill 7 300").unwrap();
        run(&format!("put 7 {}", units())).unwrap();
        run("get 7 0,299,5").unwrap();
        run("miss 7 10").unwrap();
        run("verify 7 305").unwrap();
        assert!(run("verify 7 306").is_err());
        run("settle 7").unwrap();
        run("evict 7 300 4000000").unwrap();
        assert!(run("get 7 0").is_err());
        run(&format!("get 7 {}", BUILD_FROM + 4)).unwrap();
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let mut bytes = sealed(b"value");
        assert_eq!(unsealed(bytes.clone()).unwrap(), b"value");
        bytes[2] ^= 1;
        assert!(unsealed(bytes).is_none());
        assert!(unsealed(vec![0; 3]).is_none());
    }
}
