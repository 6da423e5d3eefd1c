//! LMDB: one put per transaction, `MDB_NOSYNC | MDB_NOMETASYNC`, no `MDB_WRITEMAP`.

use std::io::Write;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithTls};

use super::{CHECK_BYTES, Engine, KEY_BYTES, check, verified};

pub struct Lmdb {
    env: Env<WithTls>,
    database: Database<Bytes, Bytes>,
}

pub fn open(directory: &Path, max_bytes: u64, read_only: bool) -> Lmdb {
    let mut options = EnvOpenOptions::new();
    options.map_size(max_bytes.next_multiple_of(1 << 20) as usize);
    // SAFETY: nobody but LMDB writes the files; without syncs a crash of the machine may damage
    // them, and the directory is gone by then.
    #[allow(unsafe_code)]
    let env = unsafe {
        let flags = EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC;
        options.flags(if read_only { EnvFlags::READ_ONLY } else { flags });
        options.open(directory).expect("LMDB opens")
    };
    let transaction = env.read_txn().expect("LMDB reads");
    let found = env.open_database(&transaction, None).expect("LMDB opens its database");
    drop(transaction);
    let database = found.unwrap_or_else(|| {
        let mut transaction = env.write_txn().expect("LMDB writes");
        let made = env.create_database(&mut transaction, None).expect("LMDB makes its database");
        transaction.commit().expect("LMDB commits");
        made
    });
    Lmdb { env, database }
}

impl Lmdb {
    fn put_in(&self, transaction: &mut heed::RwTxn<'_>, key: &[u8], value: &[u8]) {
        self.database
            .put_reserved(transaction, key, value.len() + CHECK_BYTES, |space| {
                space.write_all(value)?;
                space.write_all(&check(value))
            })
            .expect("LMDB puts");
    }
}

impl Engine for Lmdb {
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool {
        let mut transaction = self.env.write_txn().expect("LMDB writes");
        self.put_in(&mut transaction, key, value);
        transaction.commit().expect("LMDB commits");
        true
    }

    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
        let transaction = self.env.read_txn().expect("LMDB reads");
        self.database.get(&transaction, key).expect("LMDB gets").map(verified)
    }

    fn fill(&mut self, entries: &mut dyn Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)>) {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let mut transaction = self.env.write_txn().expect("LMDB writes");
            for (key, value) in entries.by_ref().take(10_000) {
                self.put_in(&mut transaction, &key, &value);
            }
            transaction.commit().expect("LMDB commits");
        }
    }
}
