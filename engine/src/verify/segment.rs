//! Verifying one segment: its header, its slots, its footer, and the records that these name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Checker, Context, DamageKind, Known, Problem, key_hash, kind_of};
use crate::env::File;
use crate::error::Result;
use crate::format::body::{self, Head};
use crate::format::frame::{FRAME_BYTES, Frame};
use crate::format::segment::{
    FooterEntry, HEADER_BYTES, HEADER_COPY, SLOT_BYTES, SLOTS_PER_PAGE, SegmentHeader, Slot,
    TRAILER_BYTES, decode_footer, footer_range, slots_taken,
};
use crate::handle::Handle;
use crate::limits::PAGE_BYTES;
use crate::location::{Location, class_bytes};
use crate::log::Segment;
use crate::options::ReadMode;

/// A record is read in one piece if it is not longer than this; of longer ones the frame comes
/// first.
const READ_BYTES: u64 = 1 << 20;

/// What names a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Its slot, and where that stands.
    pub slot: Option<(Slot, u64)>,
    /// Its entry in the footer.
    pub entry: Option<FooterEntry>,
}

impl Place {
    /// The prefix and the location that it says.
    fn says(&self) -> Option<(u64, Location)> {
        let slot = self.slot.map(|(slot, _)| (slot.key_prefix, slot.location));
        slot.or(self.entry.map(|entry| (entry.key_prefix, entry.location)))
    }
}

/// A segment's file as it stands now.
#[derive(Debug, Default)]
pub struct Examined {
    /// The segment, opened for this; `None` if it is missing or its header is lost.
    pub segment: Option<Segment>,
    /// Whether the file is there.
    pub is_there: bool,
    /// Whether the segment has a valid footer.
    pub is_sealed: bool,
    /// What is wrong, without the records.
    pub problems: Vec<Problem>,
    /// What slots and footer name, by the offset of the record.
    pub places: BTreeMap<u64, Place>,
    /// The pages of the table that have damage.
    pub damaged_pages: BTreeSet<u64>,
    /// The pages of the table whose slots are all taken.
    full_pages: BTreeSet<u64>,
}

/// Reads everything of a segment but its records.
///
/// # Errors
/// `Io` if a call fails for a reason that is not the place.
pub fn examine(handle: &Handle, id: u32) -> Result<Examined> {
    let mut found = Examined::default();
    let file = match handle.log.file(id) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(found),
        Err(error) => {
            let Some(kind) = kind_of(&error) else { return Err(error) };
            found.is_there = true;
            found.problems.push(Problem::new(kind, 0, error.to_string()));
            return Ok(found);
        }
    };
    found.is_there = true;
    let mut headers = [None; 2];
    for (header, offset) in headers.iter_mut().zip([0, HEADER_COPY as u64]) {
        let mut bytes = [0; HEADER_BYTES];
        let is_readable = found.read(&*file, &mut bytes, offset)?;
        if found.problems.iter().any(|problem| !problem.kind.is_repairable()) {
            return Ok(found);
        }
        *header = is_readable.and_then(|_| SegmentHeader::decode_of(&bytes, id, &handle.uuid));
    }
    let bad = headers.iter().position(|header| header.is_none());
    let Some(header) = headers.into_iter().flatten().next() else {
        let what = "no copy of the segment's header is valid";
        found.problems.push(Problem::new(DamageKind::SegmentHeader, 0, what));
        return Ok(found);
    };
    if let Some(bad) = bad {
        let what = "one of the two copies of the segment's header is damaged";
        let offset = (bad * HEADER_COPY) as u64;
        found.problems.push(Problem::new(DamageKind::SegmentHeaderCopy, offset, what));
    }
    // Before the table: once there is a footer, no slot is added any more.
    found.footer(&*file, &header)?;
    for page in 1..=u64::from(header.table_pages) {
        found.table_page(&*file, &header, page * PAGE_BYTES as u64)?;
    }
    found.cut_table(handle, &*file, &header)?;
    found.segment = Some(Segment::new(header, file, ReadMode::Pread, Arc::default()));
    Ok(found)
}

impl Examined {
    /// Reads a piece of the file; `None`, and a problem, if the disk cannot.
    fn read(&mut self, file: &dyn File, bytes: &mut [u8], offset: u64) -> Result<Option<usize>> {
        match file.read_at(bytes, offset) {
            Ok(count) => Ok(Some(count)),
            Err(error) => {
                let Some(kind) = kind_of(&error) else { return Err(error) };
                self.problems.push(Problem::new(kind, offset, error.to_string()));
                Ok(None)
            }
        }
    }

    fn table_page(&mut self, file: &dyn File, header: &SegmentHeader, offset: u64) -> Result<()> {
        let mut page = [0; PAGE_BYTES];
        if self.read(file, &mut page, offset)?.is_none() {
            self.damaged_pages.insert(offset);
            return Ok(());
        }
        let taken = slots_taken(&page);
        if taken == SLOTS_PER_PAGE {
            self.full_pages.insert(offset);
        }
        let mut free = Vec::new();
        for (index, bytes) in page.chunks_exact(SLOT_BYTES).take(taken).enumerate() {
            let at = offset + (index * SLOT_BYTES) as u64;
            match Slot::decode(bytes, header.salt, header.id) {
                Some(slot) => self.slot(slot, at),
                None if bytes.iter().all(|byte| *byte == 0) => free.push(at),
                None => {
                    let what = "a slot is neither free nor valid";
                    self.problems.push(Problem::new(DamageKind::Slot, at, what));
                    self.damaged_pages.insert(offset);
                }
            }
        }
        if let Some(first) = free.first() {
            let what = format!("{} free slots stand in front of one that is taken", free.len());
            self.problems.push(Problem::new(DamageKind::SlotGap, *first, what));
            self.damaged_pages.insert(offset);
        }
        Ok(())
    }

    /// A table that the end of the file cuts short has lost slots, unless nothing was ever
    /// committed to the segment: bodies are written behind the table before their slots are.
    fn cut_table(
        &mut self,
        handle: &Handle,
        file: &dyn File,
        header: &SegmentHeader,
    ) -> Result<()> {
        let len_bytes = file.sizes()?.len_bytes;
        let block = handle.superblock.read()?;
        let was_used = self.places.values().any(|place| place.slot.is_some())
            || block.used_below == header.id + 1;
        if len_bytes >= header.data_start() || !was_used {
            return Ok(());
        }
        let what = "the table of slots is cut short";
        self.problems.push(Problem::new(DamageKind::Slot, len_bytes, what));
        let first = (len_bytes / PAGE_BYTES as u64).max(1) * PAGE_BYTES as u64;
        let pages = (first..header.data_start()).step_by(PAGE_BYTES);
        self.damaged_pages.extend(pages);
        Ok(())
    }

    fn slot(&mut self, slot: Slot, at: u64) {
        let place = self.places.entry(slot.location.offset()).or_default();
        match place.slot {
            None => place.slot = Some((slot, at)),
            Some(_) => {
                let what = "two slots name one record";
                let problem = Problem::new(DamageKind::SlotWrong, at, what);
                self.problems.push(problem.of_prefix(slot.key_prefix));
            }
        }
    }

    fn footer(&mut self, file: &dyn File, header: &SegmentHeader) -> Result<()> {
        let len_bytes = file.sizes()?.len_bytes;
        let Some(at) = len_bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(()) };
        let mut trailer = [0; TRAILER_BYTES];
        if self.read(file, &mut trailer, at)?.is_none() {
            return Ok(());
        }
        let range = footer_range(&trailer, header.id, len_bytes, header.salt);
        let Some((entries_at, bytes)) = range else { return Ok(()) };
        let mut packed = vec![0; bytes as usize];
        if self.read(file, &mut packed, entries_at)?.is_none() {
            return Ok(());
        }
        let Some(entries) = decode_footer(&packed, &trailer, header.id, header.salt) else {
            let what = "the entries of the footer have a wrong checksum";
            self.problems.push(Problem::new(DamageKind::Footer, entries_at, what));
            return Ok(());
        };
        self.is_sealed = true;
        if !entries.is_sorted() {
            let what = "the entries of the footer are not in order";
            self.problems.push(Problem::new(DamageKind::FooterEntry, entries_at, what));
        }
        for entry in entries {
            self.places.entry(entry.location.offset()).or_default().entry = Some(entry);
        }
        Ok(())
    }
}

/// A record that is not whole.
#[derive(Debug)]
pub struct Unwhole {
    /// What is wrong.
    pub problem: Problem,
    /// Its head, if that is whole.
    pub head: Option<Head>,
    /// Its frame, if that is whole.
    pub frame: Option<Frame>,
}

/// Reads the record at `offset` in full, about `expected_bytes` long.
///
/// # Errors
/// `Io` if a call fails for a reason that is not the place.
pub fn read_whole(
    segment: &Segment,
    offset: u64,
    expected_bytes: u64,
    buffer: &mut Vec<u8>,
) -> Result<std::result::Result<(Frame, Head), Box<Unwhole>>> {
    let mut unwhole = Box::new(Unwhole {
        problem: Problem::new(DamageKind::Frame, offset, "no valid frame stands there"),
        head: None,
        frame: None,
    });
    match fill(segment, offset, expected_bytes, buffer, &mut unwhole) {
        Ok(true) => {}
        Ok(false) => return Ok(Err(unwhole)),
        Err(error) => {
            let Some(kind) = kind_of(&error) else { return Err(error) };
            unwhole.problem = Problem::new(kind, offset, error.to_string());
            return Ok(Err(unwhole));
        }
    }
    let body = &buffer[FRAME_BYTES..];
    let frame = unwhole.frame.expect("a record that was filled in has a frame");
    let bytes = body.len().min(frame.body_bytes as usize);
    let is_own = body::stored_check(body) == Some(frame.head_check);
    let head = match Head::decode(&body[..bytes]) {
        Ok(head) if is_own && head.kind < 64 && head.body_bytes == frame.body_bytes => head,
        Ok(_) => {
            let what = "a frame and its body do not belong together";
            unwhole.problem = Problem::new(DamageKind::Head, offset, what);
            return Ok(Err(unwhole));
        }
        Err(error) => {
            unwhole.problem = Problem::new(DamageKind::Head, offset, error.to_string());
            return Ok(Err(unwhole));
        }
    };
    let checked = match bytes as u64 == frame.body_bytes {
        true => head.check_sections(&body[..bytes]).map_err(|error| error.to_string()),
        false => Err("the record is cut short by the end of the file".to_string()),
    };
    match checked {
        Ok(()) => Ok(Ok((frame, head))),
        Err(what) => {
            unwhole.problem = Problem::new(DamageKind::Section, offset, what).of_key(&head.key);
            unwhole.head = Some(head);
            Ok(Err(unwhole))
        }
    }
}

/// Fills the buffer with a record, as far as the file goes; `false` if no valid frame stands there.
fn fill(
    segment: &Segment,
    offset: u64,
    expected_bytes: u64,
    buffer: &mut Vec<u8>,
    unwhole: &mut Unwhole,
) -> Result<bool> {
    let first = expected_bytes.clamp(FRAME_BYTES as u64, READ_BYTES) as usize;
    buffer.resize(first.max(buffer.len()), 0);
    let mut count = segment.file().read_at(&mut buffer[..first], offset)?;
    let bytes = &buffer[..count];
    unwhole.frame = Frame::decode(bytes, segment.header.salt, segment.id(), offset);
    let Some(frame) = unwhole.frame else {
        buffer.truncate(count);
        return Ok(false);
    };
    let left = segment.sizes()?.len_bytes.saturating_sub(offset);
    let wanted = frame.body_bytes.saturating_add(FRAME_BYTES as u64).min(left) as usize;
    buffer.resize(wanted.max(count), 0);
    if wanted > count {
        count += segment.file().read_at(&mut buffer[count..], offset + count as u64)?;
    }
    buffer.truncate(count);
    Ok(true)
}

impl Checker<'_> {
    /// One segment; `progress` hears how far the reading is.
    pub(super) fn segment(
        &mut self,
        context: &Context,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let id = context.segment;
        let mut found = examine(self.handle, id)?;
        while (!found.is_there || !found.problems.is_empty()) && self.wait() {
            // It is being written or mended, or was evicted.
            if self.handle.superblock.read()?.oldest_live > id {
                return Ok(());
            }
            let problems = std::mem::take(&mut found.problems);
            found = examine(self.handle, id)?;
            if found.problems == problems {
                break;
            }
        }
        if !found.is_there {
            self.lost.insert(id);
            let block = self.handle.superblock.read()?;
            let is_none = block.is_sealed() && !self.handle.log.ids()?.contains(&id);
            if block.oldest_live <= id && !is_none {
                let what = "the file of a live segment is missing";
                self.add_in_segment(context, Problem::new(DamageKind::SegmentMissing, 0, what));
            }
            return Ok(());
        }
        self.findings.report.segments += 1;
        let Some(segment) = found.segment.take() else {
            self.lost.insert(id);
            found.problems.into_iter().for_each(|problem| self.add_in_segment(context, problem));
            return Ok(());
        };
        self.findings.report.segment_bytes += segment.sizes()?.len_bytes;
        let is_known = found.problems.iter().any(|problem| problem.kind == DamageKind::Footer);
        if context.is_merged && !found.is_sealed && !is_known {
            let at = segment.sizes()?.len_bytes;
            let what = "the segment is merged and has no valid footer";
            self.add_in_segment(context, Problem::new(DamageKind::Footer, at, what));
        }
        // The tree and the footer have what the table has, once there are both.
        let context = &Context { is_merged: context.is_merged && found.is_sealed, ..*context };
        let problems = std::mem::take(&mut found.problems);
        problems.into_iter().for_each(|problem| self.add_in_segment(context, problem));
        self.used_below(context, &found)?;
        let mut buffer = Vec::new();
        for (offset, place) in &found.places {
            self.record(context, &segment, &found, (*offset, place), &mut buffer)?;
            progress(*offset);
        }
        Ok(())
    }

    /// A segment with slots must be one that look-ups ask.
    fn used_below(&mut self, context: &Context, found: &Examined) -> Result<()> {
        let has_slots = found.places.values().any(|place| place.slot.is_some());
        // The superblock says so before the first slot is written.
        let block = self.handle.superblock.read()?;
        if has_slots && !context.is_merged && block.used_below <= context.segment {
            let what = "the superblock does not know that the segment has records";
            self.add_in_segment(context, Problem::new(DamageKind::SuperblockUsed, 0, what));
        }
        Ok(())
    }

    /// One record, and what names it.
    fn record(
        &mut self,
        context: &Context,
        segment: &Segment,
        found: &Examined,
        (offset, place): (u64, &Place),
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let Some((key_prefix, location)) = place.says() else { return Ok(()) };
        let expected = class_bytes(location.class);
        let mut read = read_whole(segment, offset, expected, buffer)?;
        if read.is_err() && !context.is_merged && self.wait() {
            read = read_whole(segment, offset, expected, buffer)?;
        }
        let (frame, head) = match read {
            Ok(whole) => whole,
            Err(unwhole) => {
                self.unwhole.insert((segment.id(), offset));
                let mut problem = unwhole.problem;
                problem.key.get_or_insert_with(|| format!("{key_prefix:016x}"));
                self.add_in_segment(context, problem);
                return Ok(());
            }
        };
        self.findings.report.records += 1;
        self.findings.report.bytes += frame.body_bytes;
        let page = segment.header.table_page_offset(&head.key);
        if let Some((slot, at)) = place.slot {
            let what = match () {
                _ if slot.key_prefix != head.key.prefix() => "the slot has another key's prefix",
                _ if at / PAGE_BYTES as u64 * PAGE_BYTES as u64 != page => {
                    "the slot stands on another page than the key's"
                }
                _ => disagreement(slot.location, &frame, &head).unwrap_or_default(),
            };
            if !what.is_empty() {
                let problem = Problem::new(DamageKind::SlotWrong, at, what);
                self.add_in_segment(context, problem.of_key(&head.key));
            }
        }
        if let Some(problem) = footer_problem(found, place, page, &frame, &head) {
            self.add_in_segment(context, problem.of_key(&head.key));
        }
        let record_bytes = frame.body_bytes.saturating_add(FRAME_BYTES as u64);
        self.findings.known.push(Known {
            key_prefix: head.key.prefix(),
            key_hash: key_hash(&head.key),
            sequence: frame.sequence,
            place: Location::new(segment.id(), offset, record_bytes, head.kind).pack(),
        });
        Ok(())
    }
}

/// What a location says and its record does not.
fn disagreement(location: Location, frame: &Frame, head: &Head) -> Option<&'static str> {
    let record_bytes = frame.body_bytes.saturating_add(FRAME_BYTES as u64);
    if location.kind != head.kind {
        return Some("it says another kind than the record");
    }
    (class_bytes(location.class) < record_bytes).then_some("it says that the record is shorter")
}

/// Where the footer and the table disagree about a whole record.
fn footer_problem(
    found: &Examined,
    place: &Place,
    page: u64,
    frame: &Frame,
    head: &Head,
) -> Option<Problem> {
    if !found.is_sealed {
        return None;
    }
    let wrong = |what| Some(Problem::new(DamageKind::FooterEntry, frame.offset, what));
    let is_damaged = found.damaged_pages.contains(&page);
    let Some(entry) = place.entry else {
        let what = "the footer lacks a record that a slot names";
        return if is_damaged { None } else { wrong(what) };
    };
    if entry.key_prefix != head.key.prefix() || entry.sequence != frame.sequence {
        return wrong("the footer has another key or sequence number for the record");
    }
    if let Some(what) = disagreement(entry.location, frame, head) {
        return wrong(what);
    }
    let may_lack = is_damaged || found.full_pages.contains(&page);
    (place.slot.is_none() && !may_lack).then(|| {
        let what = "the footer has a record that no slot names";
        Problem::new(DamageKind::SlotLost, frame.offset, what)
    })
}
