//! A whole store with changed bytes, as a fuzz target: opened, read, written, merged, verified.
//!
//! The input is a list of changes of five bytes: which file, where (three bytes), and the new byte.
//! Nothing may panic, and no look-up may answer with bytes that were never put to its key. (An
//! older value may come back: whoever clears a slot on purpose leaves nothing to be seen.)

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};

use crate::model_env::{Alone, Flaw, ModelEnv, World};
use crate::sample::Random;

const KEYS: u64 = 6;

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// Times that each key is put: three times beforehand, once in between.
const ROUNDS: u64 = 4;

/// The bytes of a key's values: each begins with its key's number, and has its length in it.
fn value(number: u64, round: u64) -> &'static [u8] {
    static VALUES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let make = |at: u64| {
        let (number, round) = (at / ROUNDS, at % ROUNDS);
        let length = [10, 100, 9_000][(number % 3) as usize] + 1000 * round;
        let head = [number, length].map(u64::to_le_bytes).concat();
        let noise = (0..length).map(|at| (at.wrapping_mul(at ^ number) >> 3) as u8);
        head.into_iter().chain(noise).collect()
    };
    let values = VALUES.get_or_init(|| (0..KEYS * ROUNDS).map(make).collect());
    &values[(number * ROUNDS + round) as usize]
}

fn open(world: &World) -> larder_engine::Result<Store> {
    let env = Arc::new(ModelEnv(world.process(u64::MAX / 2)));
    let options = Options::new().max_size_bytes(1 << 30).segment_bytes(64 << 10);
    Store::open_with(env, Path::new("/store"), options)
}

fn put(store: &Store, number: u64, round: u64) -> larder_engine::Result<Put> {
    let section = Section::new(SectionKind::Object, value(number, round));
    store.put(&Entry::new(key(number), RecordKind::Result, vec![section]))
}

/// The files of a store with merged segments, sealed ones and an active one.
fn template() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let world = World::new(Alone, 1, 1, Flaw::None);
        let store = open(&world).expect("the store opens");
        for round in 0..ROUNDS - 1 {
            for number in 0..KEYS {
                let put = put(&store, number, round).expect("a put succeeds");
                assert_eq!(put, Put::Stored);
            }
            if round == 0 {
                store.checkpoint().expect("a checkpoint succeeds");
            }
        }
        drop(store);
        world.files()
    })
}

/// Some changes, at places that matter.
pub fn valid(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(4) {
        let place = *random.choose(&[0u32, 2048, 4096, 8192, 12_288, 20_480]);
        let place = place + random.below(200) as u32;
        bytes.push(random.number() as u8);
        bytes.extend_from_slice(&place.to_le_bytes()[..3]);
        bytes.push(random.number() as u8);
    }
    bytes
}

/// Takes changes.
///
/// # Panics
/// If the engine does, or answers with bytes that were never put.
pub fn run(changes: &[u8]) {
    let mut files = template().to_vec();
    for change in changes.chunks_exact(5).take(64) {
        let file = usize::from(change[0]) % files.len();
        let place = u32::from_le_bytes([change[1], change[2], change[3], 0]) as usize;
        let bytes = &mut files[file].1;
        // The last byte of the place says whether to change a byte or to cut the file.
        match place.checked_rem(bytes.len()) {
            Some(place) if change[3] == 0xff => bytes.truncate(place),
            Some(place) => bytes[place] = change[4],
            None => {}
        }
    }
    let world = World::new(Alone, 2, 1, Flaw::None);
    files.into_iter().for_each(|(path, bytes)| world.set_file(&path, bytes));
    let Ok(store) = open(&world) else { return };
    check(&store);
    let _ = store.stats();
    let _ = store.verify(|_, _| {});
    let _ = put(&store, 0, ROUNDS - 1);
    let _ = store.maintain(Budget::full());
    let _ = store.checkpoint();
    check(&store);
    drop(store);
    if let Ok(store) = open(&world) {
        check(&store);
        if let Ok(repaired) = store.repair(|_, _| {}) {
            assert!(repaired.after.damaged.is_empty(), "a repair leaves {:?}", repaired.after);
        }
        check(&store);
    }
}

/// What is found was put.
fn check(store: &Store) {
    let is_known =
        |number: u64, bytes: &[u8]| (0..ROUNDS).any(|round| bytes == value(number, round));
    for number in 0..KEYS {
        let Ok(Some(record)) = store.get(&key(number)) else { continue };
        if let Some(Ok(bytes)) = (!record.sections().is_empty()).then(|| record.read(0)) {
            assert!(is_known(number, &bytes), "key {number} has bytes that were never put");
        }
        let _ = record.body();
    }
    let Ok(snapshot) = store.snapshot() else { return };
    for record in snapshot.iter() {
        let number = (0..KEYS).find(|number| key(*number) == record.key());
        assert!(number.is_some(), "a key that was never put");
    }
}
