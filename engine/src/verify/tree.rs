//! Verifying the index: its pages, and whether it has what the segments have.

use super::{Checker, Damage, DamageKind, Known, key_hash, kind_of, severity};
use crate::env::OpenMode;
use crate::error::Result;
use crate::format::index::{IndexEntry, Meta};
use crate::index::{self, Index, MetaPage, Survey};
use crate::limits::{INDEX_RETRIES_MAX, PAGE_BYTES};
use crate::location::Location;
use crate::options::ReadMode;

impl Checker<'_> {
    /// The index, opened afresh and for reading only; `None`, and a damage, if that fails.
    pub(super) fn open_index(&mut self) -> Result<Option<Index>> {
        let handle = self.handle;
        let path = &handle.path;
        let failed = match self.beginning(index::FILE_NAME, 1) {
            // A directory is opened, and not read.
            Err(error) if kind_of(&error).is_some_and(|kind| !kind.is_repairable()) => error,
            _ => {
                let index =
                    Index::open(&*handle.env, path, handle.uuid, OpenMode::Read, ReadMode::Pread);
                match index {
                    Ok(index) => return Ok(Some(index)),
                    Err(error) => error,
                }
            }
        };
        let kind = match kind_of(&failed) {
            _ if failed.is_not_found() => DamageKind::IndexLost,
            Some(kind) => kind,
            None => return Err(failed),
        };
        self.add_in_file(kind, index::FILE_NAME, None, &failed.to_string());
        Ok(None)
    }

    /// The index as a whole.
    pub(super) fn index(&mut self, index: &Index) -> Result<()> {
        for _ in 0..INDEX_RETRIES_MAX {
            let metas = self.metas(index)?;
            let Some(meta) = newest(&metas) else {
                let what = "no meta page of the index is valid";
                self.add_in_file(DamageKind::IndexLost, index::FILE_NAME, Some(0), what);
                return Ok(());
            };
            let survey = index.survey(&meta)?;
            if !survey.bad.is_empty() && newest(&index.meta_pages()?) != Some(meta) {
                // A merge has used pages of this tree for another.
                continue;
            }
            self.meta_damage(&metas);
            return self.tree(&meta, &survey);
        }
        self.findings.report.index_was_overtaken = true;
        Ok(())
    }

    /// The meta pages; one that looks damaged is read again, a merge may be writing it.
    fn metas(&mut self, index: &Index) -> Result<[MetaPage; 2]> {
        let mut metas = index.meta_pages()?;
        for _ in 0..INDEX_RETRIES_MAX {
            if !metas.contains(&MetaPage::Damaged) || !self.wait() {
                break;
            }
            metas = index.meta_pages()?;
        }
        Ok(metas)
    }

    fn meta_damage(&mut self, metas: &[MetaPage; 2]) {
        for (number, _) in metas.iter().enumerate().filter(|(_, meta)| **meta == MetaPage::Damaged)
        {
            let offset = (number * PAGE_BYTES) as u64;
            let what = "one of the two meta pages is damaged";
            self.add_in_file(DamageKind::IndexMeta, index::FILE_NAME, Some(offset), what);
        }
    }

    fn tree(&mut self, meta: &Meta, survey: &Survey) -> Result<()> {
        self.findings.report.index_pages = survey.pages;
        for bad in &survey.bad {
            let kind = match bad.is_damaged {
                true => DamageKind::IndexPage,
                false => DamageKind::IndexOrder,
            };
            let offset = u64::from(bad.number) * PAGE_BYTES as u64;
            self.add_in_file(kind, index::FILE_NAME, Some(offset), &bad.what);
        }
        self.entries(meta, &survey.entries)?;
        if !survey.bad.is_empty() {
            // What is missing now may stand in the pages that cannot be read.
            return Ok(());
        }
        if survey.entries.len() as u64 != meta.entries {
            let (has, says) = (survey.entries.len(), meta.entries);
            let what = format!("the tree has {has} entries and says that it has {says}");
            let offset = u64::from(meta.page_number()) * PAGE_BYTES as u64;
            self.add_in_file(DamageKind::IndexCount, index::FILE_NAME, Some(offset), &what);
        }
        if self.handle.superblock.read()?.is_sealed() {
            return Ok(());
        }
        self.gaps(meta, &survey.entries)
    }

    /// Every entry of the tree leads to a record, to a damage that is known, or to nothing because
    /// its segment was evicted.
    fn entries(&mut self, meta: &Meta, entries: &[IndexEntry]) -> Result<()> {
        let known = std::mem::take(&mut self.findings.known);
        let mut places: Vec<(u64, u64)> =
            known.iter().map(|record| (record.key_prefix, record.place)).collect();
        places.sort_unstable();
        for entry in entries {
            let location = entry.location();
            let is_known = places.binary_search(&(entry.key_prefix, entry.place)).is_ok();
            let is_merged = location.segment < meta.merged_below;
            if is_merged && (is_known || self.is_explained(location) || self.is_record(*entry)?) {
                continue;
            }
            if self.handle.superblock.read()?.oldest_live > location.segment {
                continue;
            }
            let what = match is_merged {
                true => "an entry of the tree leads to no record of its key",
                false => "an entry of the tree leads to a segment that is not merged",
            };
            self.add_entry(DamageKind::IndexEntry, entry, what);
        }
        self.findings.known = known;
        Ok(())
    }

    /// Whether what stands at a location is known to be damaged.
    fn is_explained(&self, location: Location) -> bool {
        self.lost.contains(&location.segment)
            || self.unwhole.contains(&(location.segment, location.offset()))
    }

    fn add_entry(&mut self, kind: DamageKind, entry: &IndexEntry, what: &str) {
        let location = entry.location();
        let damage = Damage {
            kind,
            file: index::FILE_NAME.to_string(),
            segment: Some(location.segment),
            offset: None,
            key: Some(format!("{:016x}", entry.key_prefix)),
            what: format!("{what} (segment {} at byte {})", location.segment, location.offset()),
            severity: severity(kind, false),
        };
        self.add(damage, |report| &mut report.damaged);
    }

    /// Whether an entry leads to a record of its prefix: one that was committed since its segment
    /// was read.
    fn is_record(&self, entry: IndexEntry) -> Result<bool> {
        Ok(self.head(entry)?.is_some_and(|(_, prefix, _)| prefix == entry.key_prefix))
    }

    /// The key's hash, its prefix, and the sequence number of the record that an entry leads to.
    fn head(&self, entry: IndexEntry) -> Result<Option<(u64, u64, u64)>> {
        let location = entry.location();
        let segment = self.handle.log.segment(location.segment);
        let record = segment.and_then(|segment| match segment {
            Some(segment) => segment.record_head(location).map(Some),
            None => Ok(None),
        });
        match record {
            Ok(record) => Ok(record.map(|record| {
                let key = record.head.key;
                (key_hash(&key), key.prefix(), record.frame.sequence)
            })),
            Err(error) if error.is_unreadable() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest record of each key in the merged segments is in the tree.
    fn gaps(&mut self, meta: &Meta, entries: &[IndexEntry]) -> Result<()> {
        let known = std::mem::take(&mut self.findings.known);
        let is_merged = |record: &&Known| record.location().segment < meta.merged_below;
        let mut merged = known.iter().filter(is_merged).peekable();
        while let Some(record) = merged.next() {
            let is_same_key = |next: &Known| {
                (next.key_prefix, next.key_hash) == (record.key_prefix, record.key_hash)
            };
            // They stand in the order of their sequence numbers.
            if merged.peek().is_some_and(|next| is_same_key(next)) {
                continue;
            }
            let entry = IndexEntry { key_prefix: record.key_prefix, place: record.place };
            if entries.binary_search(&entry).is_ok() || self.is_superseded(record, entries)? {
                continue;
            }
            if self.handle.superblock.read()?.oldest_live <= record.location().segment {
                let what = "the newest record of a key is not in the tree";
                self.add_entry(DamageKind::IndexGap, &entry, what);
            }
        }
        drop(merged);
        self.findings.known = known;
        Ok(())
    }

    /// Whether the tree has a newer record of the same key, that was committed since its segment
    /// was read, or what may have been one before it was damaged; or the record itself, under a
    /// location that says something else of it.
    fn is_superseded(&self, record: &Known, entries: &[IndexEntry]) -> Result<bool> {
        let start = entries.partition_point(|entry| entry.key_prefix < record.key_prefix);
        let same = entries[start..].iter().take_while(|e| e.key_prefix == record.key_prefix);
        for entry in same {
            let newer = self.head(*entry)?.is_some_and(|(hash, _, sequence)| {
                hash == record.key_hash && sequence >= record.sequence
            });
            if newer || self.is_explained(entry.location()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The valid meta of the higher transaction.
fn newest(metas: &[MetaPage; 2]) -> Option<Meta> {
    let valid = metas.iter().filter_map(|page| match page {
        MetaPage::Valid(meta) => Some(*meta),
        _ => None,
    });
    valid.max_by_key(|meta| meta.transaction)
}
