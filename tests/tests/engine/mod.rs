//! The storage engine, tested from outside: through its API, its files and its `env` seam.

mod api;
mod costs;
mod crash;
mod damage;
mod decoders;
mod eviction;
mod export;
mod faults;
mod follow;
mod format;
mod hostile;
mod incoming;
mod interrupts;
mod kills;
mod miri;
mod model;
mod older;
mod processes;
mod protocol;
mod recovery;
mod repair;
mod trim;
mod upkeep;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use larder_engine::env::Env;
use larder_engine::{Key, Options, Put, Store};
use larder_tests::sample::Value;

/// What a store should hold.
type Reference = BTreeMap<Key, Value>;

/// Small segments, so that rolling, sealing and merging happen all the time.
const SEGMENT_BYTES: u64 = 64 << 10;

/// Options of a store that never has to evict.
fn roomy() -> Options {
    Options::new().max_size_bytes(1 << 30).segment_bytes(SEGMENT_BYTES)
}

fn open(env: &Arc<dyn Env>, path: &Path) -> Store {
    larder_tests::open_store(env, path, &roomy())
}

fn put(store: &Store, key: Key, value: &Value) {
    assert_eq!(store.put(&value.entry(key)).expect("a put succeeds"), Put::Stored);
}

/// The value of a key, read in full.
fn value_of(store: &Store, key: &Key) -> Option<Value> {
    let record = store.get(key).expect("a look-up succeeds")?;
    assert_eq!(record.key(), *key);
    Some(Value::read(&record).expect("every section can be read"))
}

/// Every key has its value, and a snapshot shows exactly them, in order.
fn assert_holds(store: &Store, reference: &Reference) {
    for (key, value) in reference {
        assert_eq!(value_of(store, key).as_ref(), Some(value), "the value of {key}");
    }
    let snapshot = store.snapshot().expect("a snapshot can be taken");
    let seen: Vec<(Key, Value)> = snapshot
        .iter()
        .map(|record| (record.key(), Value::read(&record).expect("every section can be read")))
        .collect();
    assert!(seen.iter().map(|(key, _)| key).eq(reference.keys()), "the keys of a snapshot");
    assert!(seen.iter().map(|(_, value)| value).eq(reference.values()), "its values");
}
