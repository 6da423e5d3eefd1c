//! Reading the small records, manifests and aliases: damage is logged and is a miss. And the trace
//! of look-ups.

use std::path::Path;

use larder_engine::{KEY_BYTES, Key, RecordKind, SectionKind};

use super::Session;
use crate::manifest::Manifest;
use crate::outcome::Counter;
use crate::trace;

/// The manifest under a key, with its names, to be added to.
pub(super) fn read_whole_manifest(session: &Session<'_>, key: &Key) -> Manifest {
    let manifest = read_manifest(session, key);
    manifest.map(|manifest| manifest.with_names(read_names(session, key))).unwrap_or_default()
}

/// The names that a manifest speaks of; none where they are damaged.
pub(super) fn read_names(session: &Session<'_>, key: &Key) -> Vec<u8> {
    read_section(session, key, RecordKind::Manifest, SectionKind::Data).unwrap_or_default()
}

/// What stands in an alias: the key of the result, and what the compiler took for it.
pub(super) fn alias_bytes(result: &Key, cost_us: u32) -> Vec<u8> {
    [&result.as_bytes()[..], &cost_us.to_le_bytes()].concat()
}

/// The inverse of [`alias_bytes`].
pub(super) fn read_alias(bytes: &[u8]) -> Option<(Key, u32)> {
    let (key, cost) = bytes.split_at_checked(KEY_BYTES)?;
    let key = Key::from_bytes(key.try_into().ok()?);
    Some((key, u32::from_le_bytes(cost.try_into().ok()?)))
}

/// The manifest under a key, without its names.
pub(super) fn read_manifest(session: &Session<'_>, key: &Key) -> Option<Manifest> {
    let bytes = read_section(session, key, RecordKind::Manifest, SectionKind::Manifest)?;
    Manifest::decode(&bytes)
}

/// The section of a record that has to be of this kind; damage is logged and counts as absence.
pub(super) fn read_section(
    session: &Session<'_>,
    key: &Key,
    kind: RecordKind,
    section: SectionKind,
) -> Option<Vec<u8>> {
    let read = || -> larder_engine::Result<Option<Vec<u8>>> {
        let Some(record) = session.store.get(key)? else { return Ok(None) };
        let at = record.sections().iter().position(|info| info.kind == Some(section));
        match at {
            Some(at) if record.kind() == Some(kind) => record.read(at).map(Some),
            _ => Ok(None),
        }
    };
    read().unwrap_or_else(|error| {
        session.log(format_args!("cannot read a record: {error}"));
        session.count(Counter::StoreCorrupt);
        None
    })
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
