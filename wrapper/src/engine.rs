//! Stand-in for the parts of the engine that are still being written (deleted at the merge): a file
//! per key, no counters on disk.
#![allow(missing_docs)]
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

pub use larder_engine::{Entry, Head, Key, Options, RecordKind, Result, Section, SectionInfo, SectionKind};
use larder_engine::format::body;

pub struct SharedWords(Vec<AtomicU64>);
impl SharedWords {
    pub fn open(_path: &Path, words: usize, _mode: u32) -> Result<SharedWords> {
        Ok(SharedWords((0..words).map(|_| AtomicU64::new(0)).collect()))
    }
    pub fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}
pub fn boot_id() -> [u8; 16] {
    [1; 16]
}
pub fn clock_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}
pub fn coarse_clock_ns() -> u64 {
    clock_ns() - 4_000_000
}
pub fn file_system_magic(_path: &Path) -> Option<i64> {
    Some(0xEF53)
}

pub struct Store(PathBuf, Counters);
pub enum Put { Stored, Dropped(&'static str) }
pub struct Counters(std::sync::Mutex<[u64; 512]>, PathBuf);
impl Counters {
    pub fn add(&self, id: usize, n: u64) {
        self.set(id, self.get(id) + n);
    }
    pub fn get(&self, id: usize) -> u64 {
        fs::read_to_string(self.1.join(format!("c{id}"))).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
    }
    pub fn set(&self, id: usize, n: u64) {
        let _ = fs::write(self.1.join(format!("c{id}")), n.to_string());
    }
    pub fn zero(&self, id: usize) {
        self.set(id, 0);
    }
}
pub struct Record { head: Head, bytes: Vec<u8> }
impl Store {
    pub fn open(path: &Path, _options: Options) -> Result<Store> {
        fs::create_dir_all(path).map_err(|_| Key::from_hex("x").map(|_| ()).ok_or(())).unwrap_or(());
        Ok(Store(path.to_path_buf(), Counters(std::sync::Mutex::new([0; 512]), path.to_path_buf())))
    }
    pub fn get(&self, key: &Key) -> Result<Option<Record>> {
        let Ok(bytes) = fs::read(self.0.join(key.to_string())) else { return Ok(None) };
        Ok(Some(Record { head: Head::decode(&bytes)?, bytes }))
    }
    pub fn put_all(&self, entries: &[Entry<'_>]) -> Result<Put> {
        for entry in entries {
            let body = body::encode(entry, 1, Default::default(), 1)?;
            let _ = fs::write(self.0.join(entry.key.to_string()), body);
        }
        Ok(Put::Stored)
    }
    pub fn put(&self, entry: &Entry<'_>) -> Result<Put> {
        self.put_all(std::slice::from_ref(entry))
    }
    pub fn counters(&self) -> &Counters {
        &self.1
    }
    pub fn is_read_only(&self) -> bool {
        false
    }
}
impl Record {
    pub fn key(&self) -> Key {
        self.head.key
    }
    pub fn kind(&self) -> Option<RecordKind> {
        RecordKind::from_number(self.head.kind)
    }
    pub fn sections(&self) -> &[SectionInfo] {
        &self.head.sections
    }
    pub fn read(&self, section: usize) -> Result<Vec<u8>> {
        let section = &self.head.sections[section];
        let (start, length) = self.head.stored_range(section);
        let stored = &self.bytes[start as usize..(start + length) as usize];
        Ok(self.head.section_bytes(section, stored)?.into_owned())
    }
}
