//! Bodies in and out: encoding entries for the log, and taking whole bodies from elsewhere.
//!
//! A body from elsewhere is checked in full (head, sections, decompression within limits) before it
//! touches the log.

use std::borrow::Cow;

use crate::append::Outgoing;
use crate::error::Result;
use crate::format::body::{self, Entry, Head, RecordKind};
use crate::format::portable::{self, Wanted};
use crate::handle::Handle;
use crate::key::Key;
use crate::options::RecordLayout;

/// Encodes an entry as the store's options say.
///
/// # Errors
/// `Limit` if the entry is outside the limits.
pub fn outgoing<'a>(handle: &Handle, entry: &Entry<'_>) -> Result<Outgoing<'a>> {
    let created_secs = entry.created_secs.unwrap_or_else(|| handle.env.now_secs());
    let options = &handle.options;
    let zstd_level = (options.layout != RecordLayout::Raw).then_some(options.zstd_level);
    let clone_bytes_min = match options.layout {
        RecordLayout::Cloneable => handle.clone_bytes_min(),
        _ => None,
    };
    if clone_bytes_min.is_some() {
        handle.make_clones();
    }
    let body = body::encode_from(entry, created_secs, clone_bytes_min, zstd_level)?;
    let cloneable = body::is_cloneable(&body);
    let kind = entry.kind as u8;
    Ok(Outgoing { key: entry.key, kind, cloneable, body: Cow::Owned(body), copied_from: 0 })
}

/// Checks a body that comes from another machine as the value of this key, which may be of these
/// kinds.
///
/// # Errors
/// `Corrupt` if it is anything else, see [`portable::check`]; `NewerFormat`.
pub fn incoming_of<'a>(
    handle: &Handle,
    key: &Key,
    kinds: &[RecordKind],
    body: &'a [u8],
) -> Result<Outgoing<'a>> {
    let now_secs = handle.env.now_secs();
    let head = portable::check(body, Wanted { key, kinds, now_secs })?;
    let (kind, body) = (head.kind, Cow::Borrowed(body));
    Ok(Outgoing { key: head.key, kind, cloneable: false, body, copied_from: 0 })
}

/// Checks a body that comes from elsewhere.
///
/// # Errors
/// `Corrupt` if anything about it is wrong, `NewerFormat`.
pub fn incoming(body: &[u8]) -> Result<Outgoing<'_>> {
    let head = Head::decode_whole(body)?;
    if head.kind >= 64 {
        return Err(crate::error::Error::corrupt("a body has an impossible kind"));
    }
    Ok(Outgoing {
        key: head.key,
        kind: head.kind,
        cloneable: head.cloneable,
        body: Cow::Borrowed(body),
        copied_from: 0,
    })
}
