//! LMDB as a contestant of the disk model, see `larder_benches::seeks`.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithTls};
use larder_benches::seeks::worker::{KeyBytes, Outcome, Subject, perform, sealed, unsealed};

/// Room of the map: nothing is measured beyond.
const MAP_BYTES: usize = 64 << 30;
/// Entries of one transaction of a bulk load, and of an eviction.
const BATCH: usize = 10_000;

struct Lmdb {
    env: Env<WithTls>,
    database: Database<Bytes, Bytes>,
}

/// Does one action on a store, in this process.
pub fn run(words: &[String]) -> Outcome<()> {
    let [subject, action, store, rest @ ..] = words else { return Err("who calls?".into()) };
    let flags = match subject.as_str() {
        "lmdb" => EnvFlags::empty(),
        // What its manual advises for random reads of what does not fit into memory.
        "lmdb@no-readahead" => EnvFlags::NO_READ_AHEAD,
        _ => return Err(format!("there is no subject `{subject}`").into()),
    };
    perform(&mut Lmdb::open(Path::new(store), flags)?, action, rest)
}

impl Lmdb {
    fn open(path: &Path, flags: EnvFlags) -> Outcome<Lmdb> {
        std::fs::create_dir_all(path)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES);
        // SAFETY: nobody but LMDB writes the files. Without syncs a crash of the machine may damage
        // them; the disk is gone by then.
        #[allow(unsafe_code)]
        let env = unsafe {
            options.flags(flags | EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC);
            options.open(path)?
        };
        let transaction = env.read_txn()?;
        let found = env.open_database(&transaction, None)?;
        drop(transaction);
        let database = match found {
            Some(database) => database,
            None => {
                let mut transaction = env.write_txn()?;
                let made = env.create_database(&mut transaction, None)?;
                transaction.commit()?;
                made
            }
        };
        Ok(Lmdb { env, database })
    }
}

impl Subject for Lmdb {
    fn put(&mut self, key: &KeyBytes, value: &[u8]) -> Outcome<()> {
        let mut transaction = self.env.write_txn()?;
        self.database.put(&mut transaction, key, &sealed(value))?;
        Ok(transaction.commit()?)
    }

    fn fill(&mut self, entries: &mut dyn Iterator<Item = (KeyBytes, Vec<u8>)>) -> Outcome<()> {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let mut transaction = self.env.write_txn()?;
            for (key, value) in entries.by_ref().take(BATCH) {
                self.database.put(&mut transaction, &key, &sealed(&value))?;
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn get(&self, key: &KeyBytes) -> Outcome<Option<Vec<u8>>> {
        let transaction = self.env.read_txn()?;
        match self.database.get(&transaction, key)? {
            Some(found) => Ok(Some(unsealed(found.to_vec()).ok_or("a value is damaged")?)),
            None => Ok(None),
        }
    }

    fn verify(&self) -> Outcome<u64> {
        let transaction = self.env.read_txn()?;
        let mut whole = 0;
        for entry in self.database.iter(&transaction)? {
            whole += u64::from(unsealed(entry?.1.to_vec()).is_some());
        }
        Ok(whole)
    }

    fn evict(
        &mut self,
        oldest_first: &mut dyn Iterator<Item = (KeyBytes, u64)>,
        bytes: u64,
    ) -> Outcome<()> {
        let mut freed = 0;
        while freed < bytes {
            let mut transaction = self.env.write_txn()?;
            let mut deleted = 0;
            for (key, len) in (&mut *oldest_first).take(BATCH) {
                if freed >= bytes {
                    break;
                }
                deleted += usize::from(self.database.delete(&mut transaction, &key)?);
                freed += len;
            }
            transaction.commit()?;
            if deleted == 0 {
                return Err("there is not so much to free".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lmdb_gives_back_what_was_put() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store").to_string_lossy().into_owned();
        let run = |action: &str, rest: &str| {
            let rest = rest.split(' ').map(str::to_string);
            let words: Vec<String> =
                ["lmdb", action, &store].map(str::to_string).into_iter().chain(rest).collect();
            run(&words)
        };
        run("fill", "7 300").unwrap();
        run("put", "7 1000,1001,1002,1003,1004").unwrap();
        run("get", "7 0,299,5,1004").unwrap();
        run("miss", "7 10").unwrap();
        run("verify", "7 305").unwrap();
        assert!(run("verify", "7 306").is_err());
        run("evict", "7 300 4000000").unwrap();
        assert!(run("get", "7 0").is_err());
        let words = ["lmdb@no-readahead", "get", &store, "7", "299"].map(str::to_string);
        super::run(&words).unwrap();
    }
}
