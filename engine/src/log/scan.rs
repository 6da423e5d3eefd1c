//! The records of a segment whose slot table or footer cannot be believed, and a table for them.
//!
//! 1. After a power cut a slot is still what commits a record, if all of that is whole. A frame
//!    without one may be that of a put whose process was killed; who put its key later could not
//!    know of it, so that the newer record may stand in an earlier segment, and go with that.
//! 2. Where a page of slots is damaged, a record is found by its frame, which may stand at every
//!    multiple of 64 bytes and says where it stands. The salt of the segment keeps what an artifact
//!    holds from posing as one.
//! 3. Nothing is believed that was not checked in full, frame, head and sections.
//! 4. A mended table has a slot for each record that was found. Of more than its page can hold some
//!    were never committed: among those without a slot the latest are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use super::segment::{READ_AHEAD_BYTES, Segment, Table};
use crate::error::{Error, Result};
use crate::format::body::{Head, RecordKind};
use crate::format::frame::{FRAME_BYTES, Frame};
use crate::format::segment::{FooterEntry, SLOT_BYTES, SLOTS_PER_PAGE, Slot, slots};
use crate::limits::{PAGE_BYTES, RECORD_ALIGN, SEGMENT_BYTES_MAX};
use crate::location::Location;

impl Segment {
    /// The records that a slot names and that are whole, in the order of a footer: what look-ups
    /// find in a suspect segment.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn committed(&self) -> Result<Vec<FooterEntry>> {
        let mut found = Vec::new();
        for slot in self.readable_table()?.slots {
            match self.check_record(slot.location.offset()) {
                Ok((frame, head)) if head.key.prefix() == slot.key_prefix => {
                    let record_bytes = FRAME_BYTES as u64 + frame.body_bytes;
                    found.push(self.entry(&frame, &head, record_bytes));
                }
                Ok(_) => {}
                Err(error) if error.is_unreadable() => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The whole records that a slot names, or may have named where its page is damaged.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn salvage(&self) -> Result<Vec<FooterEntry>> {
        let table = self.readable_table()?;
        let listed: BTreeSet<u64> = table.slots.iter().map(|slot| slot.location.offset()).collect();
        let mut found = self.scan()?;
        found.retain(|entry| {
            listed.contains(&entry.location.offset())
                || self.record_head(entry.location).is_ok_and(|record| {
                    let page = self.header.table_page_offset(&record.head.key);
                    table.damaged_pages.contains(&page)
                })
        });
        Ok(found)
    }

    /// The slot table, of which a page that cannot be read in full is a damaged one, as it is for
    /// look-ups.
    fn readable_table(&self) -> Result<Table> {
        let mut table = Table::default();
        for number in 1..=u64::from(self.header.table_pages) {
            let offset = number * PAGE_BYTES as u64;
            let page = match self.read(PAGE_BYTES, offset) {
                Err(error) if error.is_unreadable() => Vec::new(),
                page => page?,
            };
            if page.len() < PAGE_BYTES {
                table.damaged_pages.push(offset);
                continue;
            }
            for slot in slots(&page, self.header.salt, self.id()) {
                match slot {
                    Some(slot) => table.slots.push(slot),
                    None => table.damaged_pages.push(offset),
                }
            }
        }
        Ok(table)
    }

    /// Every record that stands in the segment and is whole, with or without a slot, in the order
    /// of a footer.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn scan(&self) -> Result<Vec<FooterEntry>> {
        let mut pages: BTreeMap<u64, Vec<FooterEntry>> = BTreeMap::new();
        self.each_frame(|frame| match self.check_record(frame.offset) {
            Ok((frame, head)) => {
                let record_bytes = FRAME_BYTES as u64 + frame.body_bytes;
                let page = pages.entry(self.header.table_page_offset(&head.key)).or_default();
                page.push(self.entry(&frame, &head, record_bytes));
                Ok(record_bytes)
            }
            Err(error) if error.is_unreadable() => Ok(RECORD_ALIGN),
            Err(error) => Err(error),
        })?;
        if pages.values().any(|page| page.len() > SLOTS_PER_PAGE) {
            let slots = match self.table() {
                Err(error) if error.is_unreadable() => Vec::new(),
                table => table?.slots,
            };
            let listed: BTreeSet<u64> = slots.iter().map(|slot| slot.location.offset()).collect();
            for page in pages.values_mut() {
                page.sort_unstable_by_key(|e| (!listed.contains(&e.location.offset()), e.sequence));
                page.truncate(SLOTS_PER_PAGE);
            }
        }
        let mut found: Vec<FooterEntry> = pages.into_values().flatten().collect();
        found.sort_unstable();
        Ok(found)
    }

    fn entry(&self, frame: &Frame, head: &Head, record_bytes: u64) -> FooterEntry {
        FooterEntry {
            key_prefix: head.key.prefix(),
            sequence: frame.sequence,
            location: Location::new(self.id(), frame.offset, record_bytes, head.kind),
        }
    }

    /// The frame and the head of the record at `offset`, whose sections have all been checked.
    ///
    /// # Errors
    /// `Corrupt` if no whole record stands there, `Io` if the disk fails.
    pub fn check_record(&self, offset: u64) -> Result<(Frame, Head)> {
        let damaged = |what| Error::corrupt(what).at_offset(offset);
        let frame = self.record_head(Location::new(self.id(), offset, 0, 0))?.frame;
        let body_at = offset + FRAME_BYTES as u64;
        let end = body_at.saturating_add(frame.body_bytes);
        if end > self.sizes()?.len_bytes {
            return Err(damaged("a record is cut short"));
        }
        self.window.ensure_mapped(end);
        let bytes = frame.body_bytes as usize;
        let head = match self.with_mapped(bytes, body_at, Head::decode_whole) {
            Some(head) => head,
            None => Head::decode_whole(&self.read(bytes, body_at)?),
        };
        let head = head.map_err(|error| error.at_offset(offset))?;
        // Numbers of six bits are all that a location can hold.
        if head.kind >= 64 {
            Err(damaged("a record has an impossible kind"))
        } else {
            Ok((frame, head))
        }
    }

    /// Shows every valid frame that can be read to `visit`, which answers how many bytes to go on.
    fn each_frame(&self, mut visit: impl FnMut(Frame) -> Result<u64>) -> Result<()> {
        let end = self.sizes()?.len_bytes.min(SEGMENT_BYTES_MAX);
        let (mut chunk, mut chunk_at) = (Vec::new(), 0);
        let mut offset = self.header.data_start();
        while offset < end {
            if offset + FRAME_BYTES as u64 > chunk_at + chunk.len() as u64 {
                chunk_at = offset;
                chunk = self.readable(offset)?;
            }
            let place = (offset - chunk_at) as usize;
            let Some(bytes) = chunk.get(place..place + FRAME_BYTES) else {
                // The end of the file, or a page that cannot be read.
                offset = (offset + 1).next_multiple_of(PAGE_BYTES as u64);
                continue;
            };
            offset += match Frame::decode(bytes, self.header.salt, self.id(), offset) {
                Some(frame) => visit(frame)?.next_multiple_of(RECORD_ALIGN),
                None => RECORD_ALIGN,
            };
        }
        Ok(())
    }

    /// What can be read in one piece at `offset`: much, or no more than to the end of the page, or
    /// nothing.
    fn readable(&self, offset: u64) -> Result<Vec<u8>> {
        let to_page_end = (offset + 1).next_multiple_of(PAGE_BYTES as u64) - offset;
        for bytes in [READ_AHEAD_BYTES, to_page_end] {
            match self.read(bytes as usize, offset) {
                Err(error) if error.is_unreadable() => {}
                other => return other,
            }
        }
        Ok(Vec::new())
    }

    /// The records whose slot may be one of the damaged ones: those that no valid slot names, and
    /// whose key belongs to a page with damage.
    pub(super) fn unlisted(&self, table: &Table) -> Result<Vec<FooterEntry>> {
        let listed: BTreeSet<u64> = table.slots.iter().map(|slot| slot.location.offset()).collect();
        let mut found = Vec::new();
        self.each_frame(|frame| {
            let place = Location::new(self.id(), frame.offset, 0, 0);
            if !listed.contains(&frame.offset)
                && let Ok(record) = self.record_head(place)
                && RecordKind::from_number(record.head.kind).is_some()
                && table.damaged_pages.contains(&self.header.table_page_offset(&record.head.key))
            {
                let record_bytes = FRAME_BYTES as u64 + frame.body_bytes;
                found.push(self.entry(&frame, &record.head, record_bytes));
            }
            Ok(RECORD_ALIGN)
        })?;
        Ok(found)
    }

    /// Writes the header and the slot table of a closed segment anew where they differ from what
    /// they would be if these records alone had been committed. Only for a segment that is in the
    /// tree: whoever looks a key up in the table meanwhile may find it half written.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn mend(&self, entries: &[FooterEntry]) -> Result<()> {
        let mut entries = entries.to_vec();
        entries.sort_unstable_by_key(|entry| entry.sequence);
        let mut pages: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for entry in entries {
            let Ok(record) = self.record_head(entry.location) else { continue };
            let page = pages.entry(self.header.table_page_offset(&record.head.key)).or_default();
            let slot = Slot { key_prefix: entry.key_prefix, location: entry.location };
            page.extend_from_slice(&slot.encode(self.header.salt));
        }
        let mut wanted = self.header.encode_page().to_vec();
        wanted.resize(self.header.data_start() as usize, 0);
        for (offset, slots) in pages {
            let bytes = slots.len().min(SLOTS_PER_PAGE * SLOT_BYTES);
            let offset = offset as usize;
            wanted[offset..offset + bytes].copy_from_slice(&slots[..bytes]);
        }
        let present = match self.read(wanted.len(), 0) {
            // A disk may well take what it cannot give back, to another place.
            Err(error) if error.is_unreadable() => Vec::new(),
            present => present?,
        };
        for (number, page) in wanted.chunks(PAGE_BYTES).enumerate() {
            let offset = number * PAGE_BYTES;
            if present.get(offset..offset + PAGE_BYTES) != Some(page) {
                self.write_at(page, offset as u64)?;
            }
        }
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}
