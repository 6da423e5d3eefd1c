//! Bodies from another machine, as a fuzz target: whatever is sent is refused, or is stored and
//! reads back as its head promises.
//!
//! The bytes are tried as they are, with the right checksum of the head, and with those of the
//! sections, too, so that what stands behind each is reached.

use std::path::Path;
use std::sync::Arc;

use larder_engine::checksum::xxh3_128;
use larder_engine::format::body::{self, Head};
use larder_engine::{Key, Options, Put, RecordKind, RecordLayout, Store};

use crate::fuzz::seal_body;
use crate::model_env::{Alone, Flaw, ModelEnv, World};
use crate::sample::{Random, Value};

const KINDS: [RecordKind; 3] = [RecordKind::Result, RecordKind::Manifest, RecordKind::Blob];

/// What a section of a small body may decompress to, in bytes, before the target says that it has
/// waited too long.
const REAL_BYTES_MAX: u64 = 1 << 30;

fn key() -> Key {
    Key::of(b"incoming")
}

/// A body as another machine sends it, and sometimes one as it does not.
pub fn valid(random: &mut Random) -> Vec<u8> {
    let layout = match random.below(8) {
        0 => RecordLayout::Cloneable,
        1 => RecordLayout::Raw,
        _ => RecordLayout::Compressed,
    };
    let value = Value::random(random, 20_000);
    let mut entry = value.entry(key());
    entry.kind = *random.choose(&KINDS);
    let strict = random.below(4) > 0;
    for (number, section) in entry.sections.iter_mut().enumerate().filter(|_| strict) {
        section.mode &= 0o777;
        section.name = format!("name {number}").into_bytes().into();
    }
    body::encode(&entry, 7, layout, 1).expect("the entry is within the limits")
}

/// Takes bytes.
///
/// # Panics
/// If the engine does, or stores something else than what was sent.
pub fn run(bytes: &[u8]) {
    let mut head_sealed = bytes.to_vec();
    seal_body(&mut head_sealed);
    let mut all_sealed = bytes.to_vec();
    seal_sections(&mut all_sealed);
    seal_body(&mut all_sealed);
    for bytes in [bytes, &head_sealed, &all_sealed] {
        receive(bytes);
    }
}

/// Gives sections that stand in the body the right checksums.
fn seal_sections(body: &mut [u8]) {
    let count = body.get(50..52).map_or(0, |bytes| usize::from(bytes[0]));
    for entry in (0..count).map(|number| 96 + 48 * number) {
        let number = |at: usize| {
            let bytes = body.get(entry + at..entry + at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?) as usize)
        };
        let (Some(start), Some(bytes)) = (number(8), number(16)) else { return };
        let Some(stored) = body.get(start..start.saturating_add(bytes)) else { continue };
        // Those of a group's members are of what it decompresses to.
        if body[entry + 1] == 2 {
            continue;
        }
        let check = xxh3_128(stored);
        body[entry + 32..entry + 48].copy_from_slice(&check.to_le_bytes());
    }
}

fn receive(bytes: &[u8]) {
    let promised: u64 = Head::decode(bytes)
        .map_or(0, |head| head.sections.iter().map(|section| section.real_bytes).sum());
    if promised > REAL_BYTES_MAX && bytes.len() as u64 > promised / 50_000 {
        // It may hold what it promises.
        return;
    }
    let world = World::new(Alone, 1, 1, Flaw::None);
    let env = Arc::new(ModelEnv(world.process(u64::MAX / 2)));
    let options = Options::new().max_size_bytes(1 << 30).segment_bytes(64 << 10);
    let store = Store::open_with(env, Path::new("/store"), options).expect("the store opens");
    let put = store.put_body_of(&key(), &KINDS, bytes);
    let record = store.get(&key()).expect("a look-up succeeds");
    if put.is_err() {
        assert!(record.is_none(), "what was refused is there");
        return;
    }
    assert_eq!(put.expect("it was taken"), Put::Stored);
    let record = record.expect("what was stored is there");
    let head = Head::decode(bytes).expect("a body that was taken has a head");
    assert_eq!(record.head(), &head);
    assert!(record.key() == key() && record.kind().is_some_and(|kind| KINDS.contains(&kind)));
    for (number, section) in head.sections.iter().enumerate() {
        let real = record.read(number).expect("every section of what was taken can be read");
        assert_eq!(real.len() as u64, section.real_bytes);
        assert!(section.kind.is_some() && section.mode <= 0o777);
        assert!(!section.name.iter().any(|byte| b"/\0\n".contains(byte)));
    }
    assert_eq!(record.body().expect("it is whole"), bytes);
    assert_eq!(record.portable_body(1).expect("it is whole"), bytes);
    assert_eq!(store.verify(|_, _| {}).expect("the store can be read").damaged, []);
}
