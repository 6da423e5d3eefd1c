//! Merging: the only writer of the tree.
//!
//! 1. Entries of the batch are merged, in order, into the leaves they belong to; entries that the
//!    caller does not keep are left out of every leaf that is rewritten.
//! 2. Small trees are rewritten whole; of large ones only the leaves that the batch touches.
//! 3. New pages go to pages that neither of the last two trees reaches, into one run where there is
//!    one; then: sync, the other meta page, sync. A crash before the last sync leaves the old tree.

use super::Index;
use crate::env::LockGuard;
use crate::error::{Error, ErrorKind, Result};
use crate::format::index::{
    BRANCH_ENTRIES_MAX, Child, IndexEntry, LEAF_ENTRIES_MAX, LeafPage, Meta, encode_branch,
    encode_leaf,
};
use crate::limits::{INDEX_DEPTH_MAX, PAGE_BYTES};

/// Trees of up to this many leaves (about a million entries) are rewritten whole: one sequential
/// write of 16 MiB beats a thousand scattered ones, and it keeps leaves full.
const WHOLE_LEAVES_MAX: usize = 4096;

/// Pages written by one call.
const WRITE_PAGES: usize = 256;

/// Pages 0 and 1 are the metas.
const FIRST_PAGE: u32 = 2;

/// What is merged into the tree.
pub struct Merge<'a> {
    /// New entries, in ascending order.
    pub batch: &'a [IndexEntry],
    /// All segments below are in the tree after this merge.
    pub merged_below: u32,
    /// Whether an entry of the old tree stays.
    pub keep: &'a dyn Fn(IndexEntry) -> bool,
    /// Whether the old tree is left out altogether, because it is lost or to be emptied.
    pub replace: bool,
    /// A transaction number that is above every one ever written, for an index without a meta.
    pub first_transaction: u64,
}

/// What a merge did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergeReport {
    /// The new meta.
    pub meta: Meta,
    /// Pages written, without the meta.
    pub pages_written: u64,
}

/// Where new leaves come from: kept as they are, or rewritten from entries.
enum Piece {
    Kept(Child),
    Entries(Vec<IndexEntry>),
}

impl Index {
    /// Merges; the guard shows that the index lock is held.
    ///
    /// # Errors
    /// If the disk refuses; the old tree then stands as it was. `Corrupt` if the old tree cannot be
    /// read: it must then be rebuilt.
    pub fn merge(&self, _index_lock: &LockGuard<'_>, merge: &Merge<'_>) -> Result<MergeReport> {
        let old = self.meta()?;
        let used = self.used_pages(old.as_ref(), merge.replace)?;
        let leaves = match &old {
            Some(meta) if !merge.replace => {
                self.leaves(meta)?.ok_or_else(|| Error::corrupt("the index is damaged"))?.0
            }
            _ => Vec::new(),
        };
        let (pieces, replaced) = self.pieces(old.as_ref(), &leaves, merge)?;
        let kept = match merge.replace {
            true => 0,
            false => old.map_or(0, |meta| meta.entries).saturating_sub(replaced),
        };
        let transaction = old.map_or(merge.first_transaction, |meta| meta.transaction + 1);
        let mut writer = Writer::new(self, transaction, &pieces, &used);
        let level = writer.leaves(pieces)?;
        let (root, depth) = writer.branches(level)?;
        writer.flush()?;
        let meta = Meta {
            uuid: self.uuid,
            transaction,
            depth,
            root,
            pages: writer.allocator.pages,
            merged_below: merge.merged_below,
            entries: kept + writer.entries,
        };
        self.window.file().sync()?;
        self.window
            .file()
            .write_at(&meta.encode(), u64::from(meta.page_number()) * PAGE_BYTES as u64)?;
        self.window.file().sync()?;
        let file_bytes = u64::from(meta.pages.max(FIRST_PAGE)) * PAGE_BYTES as u64;
        if self.window.file().sizes()?.len_bytes > file_bytes {
            // A reader of an older tree finds the end of the file, and starts again.
            self.window.file().set_len(file_bytes)?;
        }
        Ok(MergeReport { meta, pages_written: writer.pages_written })
    }

    /// The pages that one of the last two trees reaches, ascending.
    fn used_pages(&self, old: Option<&Meta>, replace: bool) -> Result<Vec<u32>> {
        let Some(old) = old else { return Ok(Vec::new()) };
        let mut used = Vec::new();
        // The other meta page is that of the transaction before, unless it is damaged or new.
        let mut other_page = self.page((old.transaction.wrapping_sub(1) % 2) as u32)?.to_vec();
        if old.transaction % 2 == 0 {
            other_page.splice(0..0, vec![0; PAGE_BYTES]);
        }
        let other = Meta::decode(&other_page, &self.uuid);
        for meta in other.iter().chain([old]) {
            let reached = self.leaves(meta)?;
            match reached {
                Some((leaves, branches)) => {
                    used.extend(leaves.iter().map(|leaf| leaf.page).chain(branches));
                }
                // A tree that nobody can read needs no protection, if it is to be replaced anyway
                // or is the older one.
                None if replace || meta != old => {}
                None => return Err(Error::corrupt("the index is damaged")),
            }
        }
        used.sort_unstable();
        used.dedup();
        Ok(used)
    }

    /// Splits the work: leaves to keep, and runs of entries to write. Also counts the entries that
    /// the rewritten leaves had.
    fn pieces(
        &self,
        old: Option<&Meta>,
        leaves: &[Child],
        merge: &Merge<'_>,
    ) -> Result<(Vec<Piece>, u64)> {
        let mut replaced = 0;
        let whole = leaves.len() <= WHOLE_LEAVES_MAX;
        let mut pieces = Vec::new();
        let mut run = Vec::new();
        let mut batch = merge.batch;
        for (index, leaf) in leaves.iter().enumerate() {
            let next = leaves.get(index + 1).map(|leaf| leaf.first);
            let mine = next.map_or(batch.len(), |next| batch.partition_point(|e| *e < next));
            let (own, rest) = batch.split_at(mine);
            batch = rest;
            if own.is_empty() && !whole {
                if !run.is_empty() {
                    pieces.push(Piece::Entries(std::mem::take(&mut run)));
                }
                pieces.push(Piece::Kept(*leaf));
                continue;
            }
            let page = self.page(leaf.page)?;
            let transaction = old.map_or(0, |meta| meta.transaction);
            let entries = LeafPage::check(&page, leaf.page, transaction)
                .ok_or_else(|| Error::corrupt("a leaf of the index is damaged"))?;
            replaced += entries.count() as u64;
            merge_sorted(entries.entries().filter(|entry| (merge.keep)(*entry)), own, &mut run);
        }
        // Without a leaf to belong to, the batch is the tree.
        run.extend_from_slice(batch);
        if !run.is_empty() {
            pieces.push(Piece::Entries(run));
        }
        Ok((pieces, replaced))
    }
}

fn merge_sorted(
    old: impl Iterator<Item = IndexEntry>,
    new: &[IndexEntry],
    merged: &mut Vec<IndexEntry>,
) {
    let mut new = new.iter().copied().peekable();
    for entry in old {
        while let Some(first) = new.next_if(|first| *first < entry) {
            merged.push(first);
        }
        new.next_if_eq(&entry);
        merged.push(entry);
    }
    merged.extend(new);
}

/// Hands out free pages in ascending order.
struct Allocator {
    free: std::vec::IntoIter<u32>,
    next_new: u32,
    /// One more than the highest page that is in use.
    pages: u32,
}

impl Allocator {
    /// An allocator for about `wanted` pages, given the pages in use.
    ///
    /// One run in the middle of the file is best, then the end of the file while it stays within
    /// three times the tree, then whatever is free.
    fn new(used: &[u32], wanted: u32) -> Self {
        let end = used.last().map_or(FIRST_PAGE, |page| page + 1);
        let mut runs = Vec::new();
        let mut previous = FIRST_PAGE;
        for page in used {
            if *page > previous {
                runs.push(previous..*page);
            }
            previous = page + 1;
        }
        let best = runs.iter().filter(|run| run.end - run.start >= wanted).min_by_key(|r| r.len());
        let free: Vec<u32> = match best {
            Some(run) => run.clone().collect(),
            None if end.saturating_add(wanted) <= wanted.saturating_mul(3) + 16 => Vec::new(),
            None => runs.into_iter().flatten().collect(),
        };
        Allocator { free: free.into_iter(), next_new: end, pages: end }
    }

    fn take(&mut self) -> Result<u32> {
        if let Some(page) = self.free.next() {
            return Ok(page);
        }
        let page = self.next_new;
        self.next_new = page
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::Limit, "the index has too many pages"))?;
        self.pages = self.next_new;
        Ok(page)
    }
}

/// Builds pages bottom-up and writes them in runs.
struct Writer<'a> {
    index: &'a Index,
    transaction: u64,
    allocator: Allocator,
    /// Entries written, without those of kept leaves.
    entries: u64,
    pages_written: u64,
    buffered: Vec<u8>,
    buffered_at: u32,
}

impl<'a> Writer<'a> {
    fn new(index: &'a Index, transaction: u64, pieces: &[Piece], used: &[u32]) -> Self {
        let leaves: usize = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Kept(_) => 0,
                Piece::Entries(entries) => entries.len().div_ceil(LEAF_ENTRIES_MAX),
            })
            .sum();
        let children = leaves + pieces.len();
        let branches = children.div_ceil(BRANCH_ENTRIES_MAX - 1) + INDEX_DEPTH_MAX;
        Writer {
            index,
            transaction,
            allocator: Allocator::new(used, (leaves + branches) as u32),
            entries: 0,
            pages_written: 0,
            buffered: Vec::new(),
            buffered_at: 0,
        }
    }

    /// Writes the leaves of all pieces and returns the whole lowest level.
    fn leaves(&mut self, pieces: Vec<Piece>) -> Result<Vec<Child>> {
        let mut level = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Kept(leaf) => level.push(leaf),
                Piece::Entries(entries) => {
                    self.entries += entries.len() as u64;
                    // Equal shares, so that a run of 255 entries is not a full leaf and a lone one.
                    let count = entries.len().div_ceil(LEAF_ENTRIES_MAX);
                    for share in entries.chunks(entries.len().div_ceil(count)) {
                        let page = self.allocator.take()?;
                        self.write(page, encode_leaf(share, page, self.transaction))?;
                        level.push(Child { first: share[0], page });
                    }
                }
            }
        }
        Ok(level)
    }

    /// Writes branches over a level until there is one root; returns it and the depth of the tree.
    fn branches(&mut self, mut level: Vec<Child>) -> Result<(u32, u16)> {
        if level.is_empty() {
            return Ok((0, 0));
        }
        let mut depth = 1;
        while level.len() > 1 {
            let mut above = Vec::new();
            for children in level.chunks(BRANCH_ENTRIES_MAX) {
                let page = self.allocator.take()?;
                self.write(page, encode_branch(children, page, self.transaction))?;
                above.push(Child { first: children[0].first, page });
            }
            level = above;
            depth += 1;
        }
        assert!(usize::from(depth) <= INDEX_DEPTH_MAX, "28 bits of segments need no deeper tree");
        Ok((level[0].page, depth))
    }

    fn write(&mut self, number: u32, page: [u8; PAGE_BYTES]) -> Result<()> {
        let buffered_pages = self.buffered.len() / PAGE_BYTES;
        if number != self.buffered_at + buffered_pages as u32 || buffered_pages >= WRITE_PAGES {
            self.flush()?;
            self.buffered_at = number;
        }
        self.buffered.extend_from_slice(&page);
        self.pages_written += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let offset = u64::from(self.buffered_at) * PAGE_BYTES as u64;
        let (file, end) = (self.index.window.file(), offset + self.buffered.len() as u64);
        if file.sizes()?.len_bytes < end {
            // A write that makes a file longer has XFS reserve blocks behind it.
            file.set_len(end)?;
        }
        file.write_at(&self.buffered, offset)?;
        self.buffered.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Overtaken;
    use super::*;
    use crate::env::{Env, LockByte, LockTable, OpenMode, RealEnv};
    use crate::options::ReadMode;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    struct Bench {
        _dir: tempfile::TempDir,
        index: Index,
        locks: LockTable,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mode = OpenMode::Create(0o600);
            let index = Index::open(&RealEnv, dir.path(), [7; 16], mode, ReadMode::Pread).unwrap();
            let lock = RealEnv.open(&dir.path().join("lock"), mode).unwrap();
            Bench { _dir: dir, index, locks: LockTable::new(Arc::new(RealEnv), lock) }
        }

        fn merge(&self, batch: &[IndexEntry], keep: &dyn Fn(IndexEntry) -> bool) -> MergeReport {
            let merge =
                Merge { batch, merged_below: 1, keep, replace: false, first_transaction: 1 };
            let guard = self.locks.lock(LockByte::Index, 10).unwrap();
            self.index.merge(&guard, &merge).unwrap()
        }

        fn all(&self) -> Vec<IndexEntry> {
            let mut found = Vec::new();
            let meta = self.index.meta().unwrap().unwrap();
            self.index.range(&meta, 0, u64::MAX, &mut found).unwrap().unwrap();
            found
        }
    }

    fn entries(seed: u64, count: u64) -> BTreeSet<IndexEntry> {
        let random = |i: u64| crate::checksum::xxh3_64(&i.to_le_bytes(), seed);
        (0..count)
            .map(|i| IndexEntry { key_prefix: random(i) % 1_000_000, place: random(i + count) })
            .collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no locks of open file descriptions")]
    fn merges_agree_with_a_set() {
        let bench = Bench::new();
        let mut model = BTreeSet::new();
        for round in 0..12 {
            let batch = entries(round, 1 << round);
            bench.merge(&batch.iter().copied().collect::<Vec<_>>(), &|_| true);
            model.extend(batch);
            assert!(bench.all().into_iter().eq(model.iter().copied()), "round {round}");
        }
        for probe in model.iter().step_by(97) {
            let meta = bench.index.meta().unwrap().unwrap();
            let mut found = Vec::new();
            let key = probe.key_prefix;
            bench.index.range(&meta, key, key, &mut found).unwrap().unwrap();
            let expected = model.iter().filter(|entry| entry.key_prefix == key);
            assert!(found.iter().eq(expected));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no locks of open file descriptions")]
    fn equal_prefixes_may_span_leaves() {
        let bench = Bench::new();
        let batch: Vec<_> = (0..1000).map(|place| IndexEntry { key_prefix: 5, place }).collect();
        bench.merge(&batch, &|_| true);
        let meta = bench.index.meta().unwrap().unwrap();
        let mut found = Vec::new();
        bench.index.range(&meta, 5, 5, &mut found).unwrap().unwrap();
        assert_eq!(found, batch);
        found.clear();
        bench.index.range(&meta, 4, 4, &mut found).unwrap().unwrap();
        assert!(found.is_empty());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no locks of open file descriptions")]
    fn the_file_stays_within_three_trees() {
        let bench = Bench::new();
        let mut model = BTreeSet::new();
        for round in 0..40 {
            let batch = entries(100 + round, 1000);
            let report = bench.merge(&batch.iter().copied().collect::<Vec<_>>(), &|_| true);
            model.extend(batch);
            let live = model.len() as u64 * 28;
            let file = u64::from(report.meta.pages) * PAGE_BYTES as u64;
            assert!(report.pages_written * PAGE_BYTES as u64 <= live + 40_960, "round {round}");
            assert!(file <= 3 * live + 40 * 4096, "round {round}: {file} against {live}");
        }
        assert_eq!(bench.all().len(), model.len());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no locks of open file descriptions")]
    fn dropped_entries_leave_and_an_empty_tree_is_fine() {
        let bench = Bench::new();
        let batch: Vec<_> = entries(1, 5000).into_iter().collect();
        bench.merge(&batch, &|_| true);
        bench.merge(&[], &|entry| entry.key_prefix % 2 == 0);
        assert!(bench.all().iter().all(|entry| entry.key_prefix % 2 == 0));
        let report = bench.merge(&[], &|_| false);
        assert_eq!((report.meta.depth, report.meta.entries), (0, 0));
        assert!(bench.all().is_empty());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no locks of open file descriptions")]
    fn a_reader_of_the_transaction_before_still_sees_its_tree() {
        let bench = Bench::new();
        let first: Vec<_> = entries(1, 3000).into_iter().collect();
        bench.merge(&first, &|_| true);
        let before = bench.index.meta().unwrap().unwrap();
        bench.merge(&entries(2, 3000).into_iter().collect::<Vec<_>>(), &|_| true);
        let mut found = Vec::new();
        bench.index.range(&before, 0, u64::MAX, &mut found).unwrap().unwrap();
        assert_eq!(found, first);
        // Later its pages are used again, and the reader is told.
        let overtaken = (3..60).any(|seed| {
            bench.merge(&entries(seed, 300).into_iter().collect::<Vec<_>>(), &|_| true);
            found.clear();
            let outcome = bench.index.range(&before, 0, u64::MAX, &mut found).unwrap();
            assert!(outcome.is_err() || found == first);
            outcome == Err(Overtaken)
        });
        assert!(overtaken);
    }
}
