//! One segment file: its slot table, its records, its footer.
//!
//! A record is read in this order: frame (does it stand here?), head (which key is it?), sections
//! (are the bytes right?). What fails any of these is `Corrupt`, which callers count as a miss.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::env::{File, FileSizes, LockGuard};
use crate::error::{Error, Result};
use crate::format::body::{self, Head};
use crate::format::frame::{FRAME_BYTES, Frame};
use crate::format::segment::{
    FOOTER_ENTRY_BYTES, FooterEntry, SLOT_BYTES, SLOTS_PER_PAGE, SegmentHeader, Slot,
    TRAILER_BYTES, decode_footer, encode_footer, footer_range, slots, slots_taken,
};
use crate::key::Key;
use crate::limits::{BLOCK_BYTES, PAGE_BYTES, RECORD_ALIGN};
use crate::location::{Location, class_bytes};
use crate::options::ReadMode;
use crate::window::{Ahead, Wanted, Window};

/// Records up to this length are read in one piece; of larger ones, this much.
pub(super) const READ_AHEAD_BYTES: u64 = 1 << 20;

const _: () = assert!(FRAME_BYTES as u64 == RECORD_ALIGN);

/// Records from this length on are read through a map: fewer pages are touched for the first time
/// than by copying them into fresh memory.
const MAPPED_RECORD_BYTES_MIN: u64 = 64 << 10;

/// A damaged slot is read this often before it is taken for one.
const SLOT_TRIES_MAX: usize = 4;

/// The least that is read of a record: its frame and most heads.
const HEAD_READ_BYTES_MIN: u64 = 512;

/// What is read of a record that may be cloned: its frame, and a head with a tail or two and mostly
/// the small sections behind it.
const CLONEABLE_READ_BYTES: u64 = FRAME_BYTES as u64 + 2 * BLOCK_BYTES;

/// What follows a head that did not fit into the first read.
const HEAD_READ_BYTES: u64 = 64 << 10;

/// A segment of the log.
#[derive(Debug)]
pub struct Segment {
    /// The header.
    pub header: SegmentHeader,
    pub(super) window: Window,
    /// The valid slots at the beginning of each table page that was looked at, by its offset.
    pub(super) checked: Mutex<BTreeMap<u64, Vec<Slot>>>,
}

/// A record whose frame and head are valid, with the bytes that came along.
#[derive(Debug)]
pub struct RecordHead {
    /// The frame.
    pub frame: Frame,
    /// The head of the body.
    pub head: Head,
    /// What was read: the frame or nothing, then the beginning of the body, at least its head.
    bytes: Vec<u8>,
    /// Where in `bytes` the body begins.
    body_at: usize,
}

impl RecordHead {
    /// The beginning of the body, at least its head.
    pub fn prefix(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }
}

/// A slot table as it was read.
#[derive(Debug, Default)]
pub struct Table {
    /// The valid slots, page by page in the order of their commits.
    pub slots: Vec<Slot>,
    /// The offset of the page of each damaged slot.
    pub damaged_pages: Vec<u64>,
}

impl Segment {
    /// A segment whose header has been read.
    pub fn new(
        header: SegmentHeader,
        file: Arc<dyn File>,
        read_mode: ReadMode,
        ahead: Arc<Ahead>,
    ) -> Self {
        let window = Window::with_ahead(file, read_mode, ahead);
        Segment { header, window, checked: Mutex::default() }
    }

    /// Id of the segment.
    pub fn id(&self) -> u32 {
        self.header.id
    }

    /// Lets `look` see bytes of a committed record in place, if they are mapped.
    pub fn with_mapped<R>(
        &self,
        bytes: usize,
        offset: u64,
        look: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        self.window.mapped()?.with(bytes, offset, look)
    }

    /// Reads up to `bytes` at `offset`; fewer if the segment ends there.
    ///
    /// # Errors
    /// If the disk does.
    pub fn read(&self, bytes: usize, offset: u64) -> Result<Vec<u8>> {
        self.window.read(bytes, offset)
    }

    /// Writes at `offset`.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.window.file().write_at(bytes, offset)
    }

    /// Reserves disk blocks.
    ///
    /// # Errors
    /// If there is no room.
    pub fn preallocate(&self, offset: u64, bytes: u64) -> Result<()> {
        self.window.file().preallocate(offset, bytes)
    }

    /// Extends the file to `len_bytes`.
    ///
    /// # Errors
    /// If that is refused.
    pub fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.window.file().set_len(len_bytes)
    }

    /// Waits until the segment is on the disk.
    ///
    /// # Errors
    /// If the disk reports a failure.
    pub fn sync(&self) -> Result<()> {
        self.window.file().sync()
    }

    /// Length and disk usage.
    ///
    /// # Errors
    /// If the file cannot be asked.
    pub fn sizes(&self) -> Result<FileSizes> {
        self.window.file().sizes()
    }

    /// The file itself, to clone ranges out of it.
    pub fn file(&self) -> &dyn File {
        &**self.window.file()
    }

    /// Collects the slots of the key's table page that have the key's prefix, oldest first. Answers
    /// whether every taken slot of the page is valid: if not, one of them may be a newer commit of
    /// this key, and no older record may be believed.
    ///
    /// # Errors
    /// If the page cannot be read.
    pub fn find_slots(&self, key: &Key, found: &mut Vec<Location>) -> Result<bool> {
        let page_offset = self.header.table_page_offset(key);
        let mut pages = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = pages.entry(page_offset).or_default();
        let mut beyond = Vec::new();
        let all_valid = self.is_up_to_date(page_offset, checked)?
            || self.read_slots(page_offset, checked, &mut beyond)?;
        let prefix = key.prefix();
        let of_key = checked.iter().chain(&beyond).filter(|slot| slot.key_prefix == prefix);
        found.extend(of_key.map(|slot| slot.location));
        Ok(all_valid)
    }

    /// Reads the slots of a page behind those that are checked: valid ones up to the first damaged
    /// one join them, valid ones behind it go `beyond`. Answers whether there is none damaged,
    /// after a few tries: one that is just being written looks so for as long as sixteen bytes
    /// take.
    fn read_slots(
        &self,
        page_offset: u64,
        checked: &mut Vec<Slot>,
        beyond: &mut Vec<Slot>,
    ) -> Result<bool> {
        for _ in 1..SLOT_TRIES_MAX {
            if self.try_slots(page_offset, checked, beyond)? {
                return Ok(true);
            }
            std::thread::yield_now();
        }
        self.try_slots(page_offset, checked, beyond)
    }

    fn try_slots(
        &self,
        page_offset: u64,
        checked: &mut Vec<Slot>,
        beyond: &mut Vec<Slot>,
    ) -> Result<bool> {
        beyond.clear();
        let begin = checked.len() * SLOT_BYTES;
        let mut page = [0; PAGE_BYTES];
        let count = self.read_table(&mut page[begin..], page_offset + begin as u64)?;
        check_whole(begin + count)?;
        let mut all_valid = true;
        for slot in slots(&page[begin..], self.header.salt, self.id()) {
            match slot {
                Some(slot) if all_valid => checked.push(slot),
                Some(slot) => beyond.push(slot),
                None => all_valid = false,
            }
        }
        Ok(all_valid)
    }

    /// Reads a part of the table; from a disk, all of it: keys are spread over all of the table, so
    /// the next one asks for another page.
    fn read_table(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let wanted = Wanted::Range(PAGE_BYTES as u64, self.table_bytes());
        self.window.read_at_wanting(buffer, offset, wanted)
    }

    fn table_bytes(&self) -> u64 {
        u64::from(self.header.table_pages) * PAGE_BYTES as u64
    }

    /// The whole slot table.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn table(&self) -> Result<Table> {
        let mut bytes = self.window.read(self.table_bytes() as usize, PAGE_BYTES as u64)?;
        let whole_pages = bytes.len() / PAGE_BYTES;
        bytes.resize(self.table_bytes() as usize, 0);
        let mut table = Table::default();
        for (number, page) in bytes.chunks_exact(PAGE_BYTES).enumerate() {
            if number >= whole_pages {
                table.damaged_pages.push((number as u64 + 1) * PAGE_BYTES as u64);
            }
            for slot in slots(page, self.header.salt, self.id()) {
                match slot {
                    Some(slot) => table.slots.push(slot),
                    None => table.damaged_pages.push((number as u64 + 1) * PAGE_BYTES as u64),
                }
            }
        }
        Ok(table)
    }

    /// Adds slots, all of them or none; `false` if a page of the table has no room for its share,
    /// or cannot be read.
    ///
    /// # Errors
    /// If the disk does; some slots may then be there.
    pub fn add_slots(&self, _lock: &LockGuard<'_>, records: &[(Key, Location)]) -> Result<bool> {
        let mut places: Vec<(u64, usize)> = Vec::with_capacity(records.len());
        for (key, _) in records {
            let page_offset = self.header.table_page_offset(key);
            let last = places.iter().rev().find(|(page, _)| *page == page_offset);
            let index = match last {
                Some((_, index)) => index + 1,
                None => match self.slots_taken(page_offset) {
                    Err(error) if error.is_unreadable() => return Ok(false),
                    taken => taken?,
                },
            };
            if index >= SLOTS_PER_PAGE {
                return Ok(false);
            }
            places.push((page_offset, index));
        }
        let offsets = places.iter().map(|(page, index)| page + (index * SLOT_BYTES) as u64);
        for (number, ((key, location), offset)) in records.iter().zip(offsets.clone()).enumerate() {
            let slot = Slot { key_prefix: key.prefix(), location: *location };
            if let Err(error) = self.window.file().write_at(&slot.encode(self.header.salt), offset)
            {
                // A torn slot would hide its whole page from look-ups, and what was dropped must
                // not be there in part; so all are taken back, the last first, if that goes.
                let written: Vec<u64> = offsets.take(number + 1).collect();
                for offset in written.into_iter().rev() {
                    let _ = self.window.file().write_at(&[0; SLOT_BYTES], offset);
                }
                return Err(error);
            }
        }
        let mut pages = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, location), (page_offset, index)) in records.iter().zip(places) {
            let checked = pages.entry(page_offset).or_default();
            if checked.len() == index {
                checked.push(Slot { key_prefix: key.prefix(), location: *location });
            }
        }
        Ok(true)
    }

    /// The number of slots of a page that are taken.
    fn slots_taken(&self, page_offset: u64) -> Result<usize> {
        let mut pages = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = pages.entry(page_offset).or_default();
        if self.is_up_to_date(page_offset, checked)? {
            return Ok(checked.len());
        }
        let begin = checked.len() * SLOT_BYTES;
        let mut page = [0; PAGE_BYTES];
        let count = self.read_table(&mut page[begin..], page_offset + begin as u64)?;
        check_whole(begin + count)?;
        Ok(checked.len() + slots_taken(&page[begin..]))
    }

    /// Whether a page has the slots that are checked and no more. Slots are only added, but for
    /// those that a failing commit takes back, the last first; if that befell a checked one, all
    /// are forgotten.
    fn is_up_to_date(&self, page_offset: u64, checked: &mut Vec<Slot>) -> Result<bool> {
        let Some(last) = checked.len().checked_sub(1) else { return Ok(false) };
        let begin = last * SLOT_BYTES;
        let mut around = [0; 2 * SLOT_BYTES];
        let wanted = (PAGE_BYTES - begin).min(around.len());
        self.window.read_at(&mut around[..wanted], page_offset + begin as u64)?;
        if slots_taken(&around[..SLOT_BYTES]) == 0 {
            checked.clear();
            return Ok(false);
        }
        Ok(slots_taken(&around) == 1)
    }

    /// Reads the frame and the head of the record at `location`, and what a single read of its
    /// estimated length brings.
    ///
    /// # Errors
    /// `Corrupt` if no valid record stands there.
    pub fn record(&self, location: Location) -> Result<RecordHead> {
        let bytes = class_bytes(location.class);
        let wanted = Wanted::Record { bytes, first: self.header.data_start() };
        // What the disk has yet to bring comes in fewer pieces by a call. A size class is at most
        // an eighth too long, so this is the end of the record; its beginning may have come with
        // the one before.
        let end = location.offset() + bytes / 8 * 7;
        if bytes >= MAPPED_RECORD_BYTES_MIN
            && !self.window.prefers_calls(end, location.offset(), wanted)
        {
            self.window.ensure_mapped(location.offset() + HEAD_READ_BYTES_MIN);
        }
        // Through a map the sections are better read from where they stand.
        let ahead = if self.window.mapped().is_some() { 0 } else { bytes };
        self.record_with(location, ahead.clamp(HEAD_READ_BYTES_MIN, READ_AHEAD_BYTES), wanted)
    }

    /// The same with as little reading as the head needs.
    ///
    /// # Errors
    /// See [`Segment::record`].
    pub fn record_head(&self, location: Location) -> Result<RecordHead> {
        self.record_with(location, HEAD_READ_BYTES_MIN, Wanted::Just)
    }

    /// The same of a record whose large sections may be cloned, for which nobody reads them. By a
    /// call: a map would read around the head, btrfs up to 4 MiB.
    ///
    /// # Errors
    /// See [`Segment::record`].
    pub fn record_in_blocks(&self, location: Location) -> Result<RecordHead> {
        self.record_with(location, CLONEABLE_READ_BYTES, Wanted::Just)
    }

    fn record_with(&self, location: Location, bytes: u64, wanted: Wanted) -> Result<RecordHead> {
        let offset = location.offset();
        if let Some(map) = self.window.mapped()
            && let Some(bytes) = map.read::<{ HEAD_READ_BYTES_MIN as usize }>(offset)
            && let (frame, Ok(head)) = self.head_in(&bytes, offset)?
        {
            return Ok(RecordHead { frame, head, bytes: Vec::new(), body_at: 0 });
        }
        let mut bytes = self.window.read_wanting(bytes as usize, offset, wanted)?;
        let (frame, head) = self.head_in(&bytes, offset)?;
        let mut body_at = FRAME_BYTES;
        let head = match head {
            Ok(head) => head,
            Err(head_bytes) => {
                let more = head_bytes.next_multiple_of(HEAD_READ_BYTES).min(frame.body_bytes);
                bytes = self.window.read(more as usize, offset + FRAME_BYTES as u64)?;
                body_at = 0;
                Head::decode(&bytes).map_err(|error| error.at_offset(offset))?
            }
        };
        bytes.truncate(body_at + frame.body_bytes as usize);
        Ok(RecordHead { frame, head, bytes, body_at })
    }

    /// The frame at the beginning of `bytes`, which were read at `offset`, and the head behind it;
    /// in place of that its length if it does not end within `bytes`.
    fn head_in(
        &self,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(Frame, std::result::Result<Head, u64>)> {
        let damaged = |what| Error::corrupt(what).at_offset(offset);
        let frame = Frame::decode(bytes, self.header.salt, self.id(), offset)
            .ok_or_else(|| damaged("no record stands at a location"))?;
        let body = &bytes[FRAME_BYTES..];
        let (head_bytes, body_bytes) =
            body::lengths(body).ok_or_else(|| damaged("a record has no body"))?;
        if body_bytes != frame.body_bytes {
            return Err(damaged("a frame and its body disagree about the length"));
        }
        if body::stored_check(body) != Some(frame.head_check) {
            return Err(damaged("a frame and its body do not belong together"));
        }
        if head_bytes > body.len() as u64 {
            return Ok((frame, Err(head_bytes)));
        }
        let head = Head::decode(body).map_err(|error| error.at_offset(offset))?;
        Ok((frame, Ok(head)))
    }

    /// The sequence number of the record at `location`, `None` if no valid frame stands there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn sequence(&self, location: Location) -> Result<Option<u64>> {
        let offset = location.offset();
        let bytes = self.window.read(FRAME_BYTES, offset)?;
        let frame = Frame::decode(&bytes, self.header.salt, self.id(), offset);
        Ok(frame.map(|frame| frame.sequence))
    }

    fn footer_range(&self, len_bytes: u64) -> Result<Option<(u64, u64, Vec<u8>)>> {
        let Some(trailer_at) = len_bytes.checked_sub(TRAILER_BYTES as u64) else {
            return Ok(None);
        };
        let mut trailer = vec![0; TRAILER_BYTES];
        let count = self.window.file().read_at(&mut trailer, trailer_at)?;
        let range = footer_range(&trailer[..count], self.id(), len_bytes, self.header.salt);
        Ok(range.map(|(entries_at, bytes)| (entries_at, bytes, trailer)))
    }

    /// The number of records that its footer has, or its slots name, and how many bytes of disk the
    /// footer that it has yet to get will take.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn listed(&self) -> Result<(u64, u64)> {
        let len_bytes = self.sizes()?.len_bytes;
        if let Some((_, bytes, _)) = self.footer_range(len_bytes)? {
            return Ok((bytes / FOOTER_ENTRY_BYTES as u64, 0));
        }
        let count = self.table()?.slots.len() as u64;
        let footer_bytes = count * FOOTER_ENTRY_BYTES as u64 + TRAILER_BYTES as u64;
        let end = len_bytes.next_multiple_of(RECORD_ALIGN) + footer_bytes;
        let blocks = |bytes: u64| bytes.next_multiple_of(BLOCK_BYTES);
        Ok((count, blocks(end) - blocks(len_bytes)))
    }

    /// Whether the segment has a footer.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_sealed(&self) -> Result<bool> {
        Ok(self.footer_range(self.sizes()?.len_bytes)?.is_some())
    }

    /// The entries of the footer, or where there is none or it is damaged, those of the slot table
    /// with the sequence numbers of their frames.
    ///
    /// # Errors
    /// If the disk does.
    pub fn entries(&self) -> Result<Vec<FooterEntry>> {
        match self.footer()? {
            Some(entries) => Ok(entries),
            None => self.table_entries(),
        }
    }

    /// The entries of the footer, `None` if there is none or it is damaged.
    fn footer(&self) -> Result<Option<Vec<FooterEntry>>> {
        let range = self.footer_range(self.sizes()?.len_bytes)?;
        let Some((entries_at, bytes, trailer)) = range else { return Ok(None) };
        let packed = self.window.read(bytes as usize, entries_at)?;
        Ok(decode_footer(&packed, &trailer, self.id(), self.header.salt))
    }

    /// The entries of the slot table. A record with a damaged frame stays an entry, as the oldest:
    /// it then hides older records of its key, as its slot does now.
    ///
    /// # Errors
    /// If the disk does.
    pub fn table_entries(&self) -> Result<Vec<FooterEntry>> {
        let table = self.table()?;
        let mut entries = Vec::with_capacity(table.slots.len());
        for slot in &table.slots {
            let sequence = self.sequence(slot.location)?.unwrap_or(0);
            entries.push(FooterEntry {
                key_prefix: slot.key_prefix,
                sequence,
                location: slot.location,
            });
        }
        if !table.damaged_pages.is_empty() {
            entries.extend(self.unlisted(&table)?);
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// Writes the footer of a closed segment and gives back what was reserved beyond it. A segment
    /// that has a footer is left as it is.
    ///
    /// # Errors
    /// If the disk refuses; the segment is then as usable as before.
    pub fn seal(&self) -> Result<()> {
        match self.is_sealed()? {
            true => Ok(()),
            false => self.write_footer(&self.table_entries()?),
        }
    }

    /// Gives a closed segment a footer with these entries, unless it has that already. A footer
    /// that it had before stays, behind which nobody looks.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn seal_as(&self, entries: &[FooterEntry]) -> Result<()> {
        match self.footer()? {
            Some(present) if present == entries => Ok(()),
            _ => self.write_footer(entries),
        }
    }

    fn write_footer(&self, entries: &[FooterEntry]) -> Result<()> {
        let len_bytes = self.sizes()?.len_bytes.max(self.header.data_start());
        let entries_at = len_bytes.next_multiple_of(RECORD_ALIGN);
        let footer = encode_footer(entries, self.id(), entries_at, self.header.salt);
        // First its length: a write that makes a file longer has XFS reserve blocks behind it.
        self.window.file().set_len(entries_at + footer.len() as u64)?;
        self.write_at(&footer, entries_at)
    }
}
/// A page of a table that ends early is damaged: what it had may be of any key.
fn check_whole(page_bytes: usize) -> Result<()> {
    if page_bytes < PAGE_BYTES { Err(Error::corrupt("a slot table is cut short")) } else { Ok(()) }
}
