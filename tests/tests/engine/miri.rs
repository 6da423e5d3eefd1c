//! What Miri runs of the engine beside its unit tests: a store on the in-memory model, without a
//! system call, and the fuzz targets of the formats. `cargo xtask sanitize miri` starts it; without
//! Miri these are ordinary, quick tests.

use std::path::Path;
use std::sync::Arc;

use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};
use larder_tests::fuzz::{self, TARGETS};
use larder_tests::model_env::{Alone, Flaw, ModelEnv, World};
use larder_tests::sample::Random;

/// Rounds of each target; Miri is some hundred times slower than the machine.
const ROUNDS: u64 = if cfg!(miri) { 2 } else { 20 };

/// A section so small that it is stored raw: Miri runs no C code, and compression is C.
fn entry(number: u64) -> Entry<'static> {
    let bytes = number.to_le_bytes().to_vec();
    let section = Section::new(SectionKind::Object, bytes);
    Entry::new(Key::of(&number.to_le_bytes()), RecordKind::Result, vec![section])
}

#[test]
fn a_store_in_memory_works_from_put_to_eviction() {
    let world = World::new(Alone, 1, 1, Flaw::None);
    let open = || {
        let env = Arc::new(ModelEnv(world.process(u64::MAX / 2)));
        let options = Options::new().max_size_bytes(1 << 30).segment_bytes(64 << 10);
        Store::open_with(env, Path::new("/store"), options).expect("the store opens")
    };
    let store = open();
    for number in 0..4 {
        assert_eq!(store.put(&entry(number)).expect("a put succeeds"), Put::Stored);
        if number == 1 {
            store.checkpoint().expect("a checkpoint succeeds");
        }
    }
    assert_eq!(store.remove(&entry(3).key).expect("a removal succeeds"), Put::Stored);
    drop(store);
    let store = open();
    store.maintain(Budget::full()).expect("upkeep succeeds");
    for number in 0..3 {
        let record = store.get(&entry(number).key).expect("a look-up succeeds");
        let bytes = record.expect("it was stored").read(0).expect("it can be read");
        assert_eq!(bytes, number.to_le_bytes());
    }
    assert!(store.get(&entry(3).key).expect("a look-up succeeds").is_none());
    assert_eq!(store.snapshot().expect("a snapshot can be taken").iter().count(), 3);
    store.clear().expect("the store can be cleared");
    assert!(store.get(&entry(0).key).expect("a look-up succeeds").is_none());
}

#[test]
fn formats_take_any_bytes() {
    // These compress or decompress; `store` is the test above in long.
    // An archive is a file.
    let of_miri = ["body", "codec", "store", "sccache_result", "tar_listing"];
    let skipped: &[&str] = if cfg!(miri) { &of_miri } else { &[] };
    for target in TARGETS {
        if skipped.contains(&target.name) {
            eprintln!("formats_take_any_bytes: skipped {}, Miri runs no C code", target.name);
            continue;
        }
        let mut random = Random::new(3);
        for _ in 0..ROUNDS {
            let mut bytes = (target.valid)(&mut random);
            (target.run)(&bytes);
            fuzz::change(&mut random, &mut bytes);
            (target.run)(&bytes);
        }
    }
}
