//! A record that was found: its head has been checked, its sections are checked when they are read.

use std::borrow::Cow;
use std::sync::Arc;

use crate::checksum::Pieces128;
use crate::codec::Codec;
use crate::counters::EngineCounter;
use crate::error::{Error, Result};
use crate::format::body::{Head, RecordKind, SectionInfo};
use crate::format::frame::FRAME_BYTES;
use crate::format::portable;
use crate::handle::Handle;
use crate::key::Key;
use crate::limits::BLOCK_BYTES;
use crate::location::Location;
use crate::log::{RecordHead, Segment};
use crate::unpack::{Contents, UNPACKED_BYTES_MIN};

/// A section is checked in pieces of this length: what is read by calls then fits the processor's
/// cache.
const CHECK_PIECE_BYTES: usize = 256 << 10;

/// A stored record: its head has been checked, its sections are checked when they are read.
#[derive(Debug)]
pub struct Record {
    handle: Arc<Handle>,
    segment: Arc<Segment>,
    location: Location,
    record: RecordHead,
}

impl Record {
    pub(crate) fn new(
        handle: &Arc<Handle>,
        segment: Arc<Segment>,
        location: Location,
        record: RecordHead,
    ) -> Self {
        Record { handle: handle.clone(), segment, location, record }
    }

    /// The key.
    pub fn key(&self) -> Key {
        self.record.head.key
    }

    /// What the record is; `None` if this version does not know the kind.
    pub fn kind(&self) -> Option<RecordKind> {
        RecordKind::from_number(self.record.head.kind)
    }

    /// When it was made, in seconds since 1970.
    pub fn created_secs(&self) -> u64 {
        self.record.head.created_secs
    }

    /// The namespace, empty by default.
    pub fn namespace(&self) -> &str {
        &self.record.head.namespace
    }

    /// The sections.
    pub fn sections(&self) -> &[SectionInfo] {
        &self.record.head.sections
    }

    /// The decoded head.
    pub fn head(&self) -> &Head {
        &self.record.head
    }

    /// The sequence number of its commit: higher is newer.
    pub fn sequence(&self) -> u64 {
        self.record.frame.sequence
    }

    /// The sequence number under which it was first committed: lower than [`Record::sequence`] if
    /// this is a copy that upkeep has made of it, else the same.
    pub fn first_sequence(&self) -> u64 {
        self.record.frame.first_sequence()
    }

    /// Whether upkeep has copied it from a segment that was to go, byte for byte.
    pub fn is_copy(&self) -> bool {
        self.record.frame.copied_from != 0
    }

    pub(crate) fn location(&self) -> Location {
        self.location
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Offset of the body in its segment in bytes.
    pub(crate) fn body_offset(&self) -> u64 {
        self.location.offset() + FRAME_BYTES as u64
    }

    /// Whether its body stands on a block boundary of the segment.
    pub(crate) fn is_on_blocks(&self) -> bool {
        self.body_offset().is_multiple_of(BLOCK_BYTES)
    }

    /// Checks a raw section where it stands.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, `Io` if the disk fails.
    pub(crate) fn check(&self, section: usize) -> Result<()> {
        let info = &self.record.head.sections[section];
        let at = self.body_offset() + info.offset;
        let mut pieces = Pieces128::default();
        let end = at + info.stored_bytes;
        for offset in (at..end).step_by(CHECK_PIECE_BYTES) {
            let bytes = (end - offset).min(CHECK_PIECE_BYTES as u64) as usize;
            let seen = self.segment.with_mapped(bytes, offset, |piece| pieces.update(piece));
            if seen.is_none() {
                pieces.update(&self.segment.read(bytes, offset)?);
            }
        }
        pieces.update(&info.tail);
        if pieces.finish() == info.check {
            return Ok(());
        }
        let error = Error::corrupt("the checksum of a section is wrong").at_offset(at);
        Err(self.damaged(error))
    }

    /// The real bytes of a section, checked and decompressed.
    ///
    /// # Errors
    /// `Corrupt` if they are damaged: the caller takes the record as a miss. `Io` if the disk
    /// fails.
    ///
    /// # Panics
    /// If there is no section of that number.
    pub fn read(&self, section: usize) -> Result<Vec<u8>> {
        let head = &self.record.head;
        let info = &head.sections[section];
        let (offset, bytes) = head.stored_range(info);
        let end = (offset + bytes) as usize;
        let decode = |stored: Cow<'_, [u8]>| head.section_bytes(info, stored).map(Cow::into_owned);
        let in_place = |stored: &[u8]| decode(stored.into());
        let at = self.body_offset() + offset;
        let real = match self.record.prefix().get(offset as usize..end) {
            Some(stored) => in_place(stored),
            None => match self.segment.with_mapped(bytes as usize, at, in_place) {
                Some(real) => real,
                None => decode(self.read_body(offset, bytes)?.into()),
            },
        };
        real.map_err(|error| self.damaged(error.at_offset(self.body_offset() + offset)))
    }

    /// The contents of a section, read and checked; those of a large one are decompressed when they
    /// are written.
    ///
    /// # Errors
    /// See [`Record::read`].
    ///
    /// # Panics
    /// If there is no section of that number.
    pub fn contents(&self, section: usize) -> Result<Contents> {
        let info = &self.record.head.sections[section];
        let range = (self.body_offset() + info.offset, info.stored_bytes as usize);
        let (segment, real_bytes, check) = (&self.segment, info.real_bytes, info.check);
        let contents = match info.codec {
            _ if real_bytes < UNPACKED_BYTES_MIN || !info.tail.is_empty() => None,
            Codec::Zstd => {
                let start = info.offset as usize;
                let in_memory = self.record.prefix().get(start..start.saturating_add(range.1));
                let of_bytes = |packed| Contents::packed(packed, real_bytes, check);
                let found = match in_memory {
                    Some(packed) => Some(of_bytes(packed.to_vec())),
                    None => Contents::packed_in(segment, range, real_bytes, check),
                };
                Some(match found {
                    Some(contents) => contents,
                    None => of_bytes(segment.read(range.1, range.0)?),
                })
            }
            Codec::Raw => Contents::raw_in(segment, range, check),
            Codec::Grouped => None,
        };
        match contents {
            Some(contents) => contents.map_err(|error| self.damaged(error.at_offset(range.0))),
            None => self.read(section).map(Contents::real),
        }
    }

    /// Counts damage on its way to the caller.
    fn damaged(&self, error: Error) -> Error {
        if error.is_corrupt() {
            self.handle.count(EngineCounter::Damaged);
        }
        error
    }

    /// The whole body as it is stored, with every section checked.
    ///
    /// # Errors
    /// See [`Record::read`].
    pub fn body(&self) -> Result<Vec<u8>> {
        let body = self.stored_body()?;
        if body.len() as u64 != self.record.head.body_bytes {
            let error = Error::corrupt("a record is cut short").at_offset(self.body_offset());
            return Err(self.damaged(error));
        }
        Head::decode_whole(&body).map_err(|error| self.damaged(error))?;
        Ok(body)
    }

    /// The body as it may leave the machine, with every section checked: as it is stored, or if
    /// that has sections on block boundaries, encoded anew with everything compressed. (Where this
    /// version does not know all that is in it, it is left as it is.)
    ///
    /// # Errors
    /// See [`Record::read`].
    pub fn portable_body(&self, zstd_level: i32) -> Result<Vec<u8>> {
        portable::portable(self.body()?, zstd_level).map_err(|error| self.damaged(error))
    }

    /// The body as it is stored, unchecked and perhaps cut short.
    pub(crate) fn stored_body(&self) -> Result<Vec<u8>> {
        self.read_body(0, self.record.head.body_bytes)
    }

    fn read_body(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.segment.read(bytes as usize, self.body_offset() + offset)
    }
}
