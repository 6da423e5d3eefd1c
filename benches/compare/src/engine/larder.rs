//! larder: one section per record; upkeep happens inline, in the put that finds it due.

use std::path::Path;

use larder_engine::{
    Budget, Entry, Key, Options, Put, RecordKind, RecordLayout, Section, SectionKind, Store,
};

use super::{Engine, KEY_BYTES};

pub struct Larder(Store);

/// The defaults.
pub fn compressed(max_bytes: u64) -> Options {
    Options::new().max_size_bytes(max_bytes)
}

/// Values stored as they are, as the others do.
pub fn raw(max_bytes: u64) -> Options {
    compressed(max_bytes).layout(RecordLayout::Raw)
}

pub fn open(directory: &Path, options: Options) -> Larder {
    Larder(Store::open(directory, options).expect("the store opens"))
}

impl Engine for Larder {
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool {
        let section = Section::new(SectionKind::Object, value);
        let entry = Entry::new(Key::from_bytes(*key), RecordKind::Result, vec![section]);
        let put = self.0.put(&entry).expect("the disk works");
        if self.0.maintenance_due() {
            // Another process may be at it, or hold a lock: it will be due again.
            let _ = self.0.maintain(Budget::due());
        }
        put == Put::Stored
    }

    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
        let record = self.0.get(&Key::from_bytes(*key)).expect("the disk works")?;
        Some(record.read(0).expect("the value is whole"))
    }

    fn settle(&mut self) {
        self.0.checkpoint().expect("the disk works");
    }
}
