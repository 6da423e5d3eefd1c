//! The few forms of bytes in the small records of this room: numbers of four bytes, little-endian,
//! and texts with their lengths before them. Whatever is read is bounded by what is there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::digest::Digest;

pub(super) fn put_number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend((number as u32).to_le_bytes());
}

pub(super) fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    put_number(bytes, text.len());
    bytes.extend(text);
}

pub(super) fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

pub(super) fn take_number(rest: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize)
}

pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(rest)?;
    take(rest, length)
}

pub(super) fn take_path(rest: &mut &[u8]) -> Option<PathBuf> {
    Some(OsStr::from_bytes(take_text(rest)?).into())
}

pub(super) fn take_digest(rest: &mut &[u8]) -> Option<Digest> {
    take(rest, 32)?.try_into().ok()
}
