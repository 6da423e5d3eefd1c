//! Reading the small records, manifests and aliases: damage is logged and is a miss. And the trace
//! of look-ups.

use std::path::Path;

use larder_engine::{KEY_BYTES, Key, Record, RecordKind, SectionKind};

use super::Session;
use crate::manifest::Manifest;
use crate::outcome::Counter;
use crate::trace;

/// What a manifest or an alias leads to: the key of a result, and what the compiler took for it, in
/// microseconds.
pub(super) type Lead = (Key, u32);

/// The manifest of the own store under a key, with its names, to be added to.
pub(super) fn read_whole_manifest(session: &Session<'_>, key: &Key) -> Manifest {
    let manifest = read_manifest(session, key);
    manifest.map(|manifest| manifest.with_names(own_names(session, key))).unwrap_or_default()
}

/// The names that a manifest under this key speaks of, whichever store it stands in; none where
/// they are damaged.
pub(super) fn read_names(session: &Session<'_>, key: &Key, manifest: &Manifest) -> Vec<u8> {
    let own = own_names(session, key);
    match manifest.has_names(&own) {
        true => own,
        false => session.names_below(key, manifest).unwrap_or_default(),
    }
}

fn own_names(session: &Session<'_>, key: &Key) -> Vec<u8> {
    read_section(session, key, RecordKind::Manifest, SectionKind::Data).unwrap_or_default()
}

/// What stands in an alias.
pub(super) fn alias_bytes(result: &Key, cost_us: u32) -> Vec<u8> {
    [&result.as_bytes()[..], &cost_us.to_le_bytes()].concat()
}

/// The inverse of [`alias_bytes`].
pub(super) fn read_alias(bytes: &[u8]) -> Option<Lead> {
    let (key, cost) = bytes.split_at_checked(KEY_BYTES)?;
    let key = Key::from_bytes(key.try_into().ok()?);
    Some((key, u32::from_le_bytes(cost.try_into().ok()?)))
}

/// The manifest of the own store under a key, without its names.
pub(super) fn read_manifest(session: &Session<'_>, key: &Key) -> Option<Manifest> {
    let bytes = read_section(session, key, RecordKind::Manifest, SectionKind::Manifest)?;
    Manifest::decode(&bytes)
}

/// As [`read_section`], of the own store or else of a lower one: for what is true everywhere.
pub(super) fn read_known(
    session: &Session<'_>,
    key: &Key,
    kind: RecordKind,
    section: SectionKind,
) -> Option<Vec<u8>> {
    let own = read_section(session, key, kind, section);
    own.or_else(|| session.section_below(key, kind, section))
}

/// The section of a record of the own store that has to be of this kind; damage is logged and
/// counts as absence.
pub(super) fn read_section(
    session: &Session<'_>,
    key: &Key,
    kind: RecordKind,
    section: SectionKind,
) -> Option<Vec<u8>> {
    let read = || -> larder_engine::Result<Option<Vec<u8>>> {
        match session.store.get(key)? {
            Some(record) if record.kind() == Some(kind) => section_of(&record, section),
            _ => Ok(None),
        }
    };
    read().unwrap_or_else(|error| {
        session.log(format_args!("cannot read a record: {error}"));
        session.count(Counter::StoreCorrupt);
        None
    })
}

/// The section of this kind, `None` if the record has none.
pub(super) fn section_of(
    record: &Record,
    kind: SectionKind,
) -> larder_engine::Result<Option<Vec<u8>>> {
    let at = record.sections().iter().position(|info| info.kind == Some(kind));
    at.map(|at| record.read(at)).transpose()
}

/// Notes a look-up in the trace, if there is one.
pub(super) fn trace_lookup(
    session: &Session<'_>,
    unit: &Path,
    key: &Key,
    bytes: impl FnOnce() -> u64,
) {
    let config = session.call.config;
    if let Some(path) = &config.trace.value {
        let build = config.job.value.as_deref().unwrap_or_default();
        trace::append(path, build, unit, key, bytes());
    }
}
