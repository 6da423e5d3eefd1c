//! Verifying: read everything and say what is damaged.
//!
//! Nothing is changed: a damaged record is a miss whenever it is looked up, and goes with its
//! segment.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::body::Head;
use crate::format::superblock::FILE_BYTES;
use crate::handle::Handle;
use crate::limits::PAGE_BYTES;
use crate::location::Location;
use crate::record::Record;

/// One thing that is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment, where the damage is in one.
    pub segment: Option<u32>,
    /// Offset in the segment in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.segment {
            Some(segment) => {
                write!(f, "segment {segment} at byte {}: {}", self.offset, self.what)
            }
            None => f.write_str(&self.what),
        }
    }
}

/// What was read, and what was damaged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    /// Valid records, superseded ones and tombstones included.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// What is wrong.
    pub damaged: Vec<Damage>,
}

/// Reads every committed record of every live segment, and the index; `progress` hears of each
/// segment (done, of how many).
///
/// # Errors
/// `Io` if the disk fails. Damage is no error.
pub fn verify(handle: &Arc<Handle>, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let block = handle.superblock.read()?;
    verify_superblock(handle, &mut report)?;
    let total = u64::from(block.next_segment - block.oldest_live);
    for id in block.oldest_live..block.next_segment {
        verify_segment(handle, id, &mut report)?;
        progress(u64::from(id - block.oldest_live) + 1, total);
    }
    verify_index(handle, &mut report)?;
    Ok(report)
}

fn verify_superblock(handle: &Handle, report: &mut VerifyReport) -> Result<()> {
    let path: PathBuf = handle.path.join(crate::superblock::FILE_NAME);
    let file = handle.env.open(&path, crate::env::OpenMode::Read)?;
    let mut bytes = [0; FILE_BYTES];
    file.read_at(&mut bytes, 0)?;
    for (number, copy) in bytes.chunks(PAGE_BYTES).enumerate() {
        if crate::format::superblock::Superblock::decode(copy).is_err() {
            let what = format!("copy {number} of the superblock is damaged");
            report.damaged.push(Damage { segment: None, offset: 0, what });
        }
    }
    Ok(())
}

fn verify_segment(handle: &Arc<Handle>, id: u32, report: &mut VerifyReport) -> Result<()> {
    let damage = |offset, what: &str| Damage { segment: Some(id), offset, what: what.to_string() };
    let segment = match handle.log.segment(id) {
        Ok(Some(segment)) => segment,
        // Evicted since the superblock was read, unless it is still said to live.
        Ok(None) => {
            if handle.superblock.read()?.oldest_live <= id {
                report.damaged.push(damage(0, "the segment is missing"));
            }
            return Ok(());
        }
        Err(error) if error.is_corrupt() => {
            report.damaged.push(damage(0, &error.to_string()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    report.segments += 1;
    let table = segment.table()?;
    if !table.damaged_pages.is_empty() {
        report.damaged.push(damage(PAGE_BYTES as u64, "slots of the table are damaged"));
    }
    let locations = table.slots.into_iter().map(|slot| slot.location);
    for location in locations {
        match verify_record(handle, &segment, location) {
            Ok(bytes) => {
                report.records += 1;
                report.bytes += bytes;
            }
            Err(error) if error.is_corrupt() => {
                report.damaged.push(damage(location.offset(), &error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn verify_record(
    handle: &Arc<Handle>,
    segment: &Arc<crate::log::Segment>,
    location: Location,
) -> Result<u64> {
    let record = segment.record_head(location)?;
    let bytes = record.frame.body_bytes;
    let body = Record::new(handle, segment.clone(), location, record).stored_body()?;
    if body.len() as u64 != bytes {
        return Err(Error::corrupt("a record is cut short"));
    }
    Head::decode_whole(&body)?;
    Ok(bytes)
}

fn verify_index(handle: &Handle, report: &mut VerifyReport) -> Result<()> {
    let index = handle.index()?;
    let what = match index.meta()? {
        None => "both metas of the index are damaged; the next merge rebuilds it",
        Some(meta) => {
            let mut entries = Vec::new();
            let walked = index.range(&meta, 0, u64::MAX, &mut entries)?;
            // A merge may have moved on under the walk; then the pages are newer, not damaged.
            if walked.is_ok() || index.meta()? != Some(meta) {
                return Ok(());
            }
            "a page of the index is damaged; the next merge rebuilds it"
        }
    };
    report.damaged.push(Damage { segment: None, offset: 0, what: what.to_string() });
    Ok(())
}
