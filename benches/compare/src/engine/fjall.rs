//! fjall: values in blob files as it advises for large ones, no compression, no fsync; its
//! background threads run.

use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

use super::{Engine, KEY_BYTES, check, verified};

pub struct Fjall {
    // Dropped after the keyspace.
    keyspace: Keyspace,
    _database: Database,
}

pub fn open(directory: &Path) -> Fjall {
    let database = Database::builder(directory)
        .journal_compression(CompressionType::None)
        .open()
        .expect("fjall opens");
    let options = || {
        let separation = KvSeparationOptions::default().compression(CompressionType::None);
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(CompressionPolicy::disabled())
            .with_kv_separation(Some(separation))
    };
    let keyspace = database.keyspace("values", options).expect("fjall opens its keyspace");
    Fjall { keyspace, _database: database }
}

impl Engine for Fjall {
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool {
        let stored = [value, &check(value)].concat();
        self.keyspace.insert(key.as_slice(), stored).expect("fjall puts");
        true
    }

    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
        self.keyspace.get(key).expect("fjall gets").map(|stored| verified(&stored))
    }

    fn settle(&mut self) {
        self.keyspace.rotate_memtable_and_wait().expect("fjall flushes");
    }
}
