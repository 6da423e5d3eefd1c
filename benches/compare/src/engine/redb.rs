//! redb: one put per transaction, `Durability::None`; a settled store has one durable commit.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};

use super::{Engine, KEY_BYTES, check, verified};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");

pub struct Redb(Database);

pub fn open(directory: &Path) -> Redb {
    let path = directory.join("redb");
    let is_new = !path.exists();
    let engine = Redb(Database::create(path).expect("redb opens"));
    if is_new {
        engine.commit(Durability::Immediate, |_| {});
    }
    engine
}

impl Redb {
    fn commit(&self, durability: Durability, work: impl FnOnce(&WriteTransaction)) {
        let mut transaction = self.0.begin_write().expect("redb writes");
        transaction.set_durability(durability).expect("redb takes the durability");
        drop(transaction.open_table(TABLE).expect("redb opens its table"));
        work(&transaction);
        transaction.commit().expect("redb commits");
    }
}

fn put_in(transaction: &WriteTransaction, key: &[u8], value: &[u8]) {
    let mut table = transaction.open_table(TABLE).expect("redb opens its table");
    let stored = [value, &check(value)].concat();
    table.insert(key, stored.as_slice()).expect("redb puts");
}

impl Engine for Redb {
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool {
        let mut transaction = self.0.begin_write().expect("redb writes");
        transaction.set_durability(Durability::None).expect("redb takes the durability");
        put_in(&transaction, key, value);
        transaction.commit().expect("redb commits");
        true
    }

    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
        let transaction = self.0.begin_read().expect("redb reads");
        let table = transaction.open_table(TABLE).expect("redb opens its table");
        table.get(key.as_slice()).expect("redb gets").map(|value| verified(value.value()))
    }

    fn fill(&mut self, entries: &mut dyn Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)>) {
        self.commit(Durability::Immediate, |transaction| {
            for (key, value) in entries {
                put_in(transaction, &key, &value);
            }
        });
    }

    fn settle(&mut self) {
        self.commit(Durability::Immediate, |_| {});
    }
}
