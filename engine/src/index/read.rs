//! Reading the tree: ranges of entries by descending from the root.

use super::Index;
use crate::error::Result;
use crate::format::index::{BranchPage, Child, IndexEntry, LeafPage, Meta};
use crate::limits::{INDEX_PREFETCH_BYTES, PAGE_BYTES};
use crate::window::Wanted;

/// A page is newer than the reader's meta, or damaged: the range is not to be had from this meta.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overtaken;

/// Entries from `low` to `high`, both included.
struct Range {
    low: IndexEntry,
    high: IndexEntry,
}

impl Index {
    /// Appends all entries whose key prefix lies between `low` and `high`, both included, in order.
    ///
    /// # Errors
    /// If the file cannot be read. The inner result is `Overtaken` if a page is not to be believed.
    pub fn range(
        &self,
        meta: &Meta,
        low: u64,
        high: u64,
        found: &mut Vec<IndexEntry>,
    ) -> Result<std::result::Result<(), Overtaken>> {
        if meta.depth == 0 {
            return Ok(Ok(()));
        }
        if low == high
            && let Some(entries) = self.probe(meta, low)
        {
            found.extend(entries);
            return Ok(Ok(()));
        }
        let range = Range {
            low: IndexEntry { key_prefix: low, place: 0 },
            high: IndexEntry { key_prefix: high, place: u64::MAX },
        };
        // Pages that are still to be visited with their levels, the next one last. One buffer
        // serves for all of them: in a fresh process each page of memory costs more than a read.
        let mut ahead = vec![(meta.root, meta.depth)];
        let mut page = [0; PAGE_BYTES];
        while let Some((number, level)) = ahead.pop() {
            self.read_page(number, &mut page)?;
            if level == 1 {
                let Some(leaf) = LeafPage::check(&page, number, meta.transaction) else {
                    return Ok(Err(Overtaken));
                };
                collect(leaf, &range, found);
                continue;
            }
            let Some(branch) = BranchPage::check(&page, number, meta.transaction) else {
                return Ok(Err(Overtaken));
            };
            let children = range.children(branch).rev().filter_map(|index| branch.child(index));
            ahead.extend(children.map(|child| (child.page, level - 1)));
        }
        Ok(Ok(()))
    }

    /// The leaves of a tree as children in order, and the pages of its branches; `None` if a branch
    /// is damaged.
    pub(super) fn leaves(&self, meta: &Meta) -> Result<Option<(Vec<Child>, Vec<u32>)>> {
        let first = IndexEntry { key_prefix: 0, place: 0 };
        let mut branches = Vec::new();
        let mut level = match meta.depth {
            0 => Vec::new(),
            _ => vec![Child { first, page: meta.root }],
        };
        for _ in 1..meta.depth {
            let mut below = Vec::new();
            for child in level {
                let page = self.page(child.page)?;
                let Some(branch) = BranchPage::check(&page, child.page, meta.transaction) else {
                    return Ok(None);
                };
                branches.push(child.page);
                below.extend((0..branch.count()).map_while(|index| branch.child(index)));
            }
            level = below;
        }
        Ok(Some((level, branches)))
    }

    pub(super) fn page(&self, number: u32) -> Result<[u8; PAGE_BYTES]> {
        let mut page = [0; PAGE_BYTES];
        self.read_page(number, &mut page)?;
        Ok(page)
    }

    fn read_page(&self, number: u32, page: &mut [u8; PAGE_BYTES]) -> Result<()> {
        // What is left of another page is refused by its number, and zeros by their checksum.
        let offset = u64::from(number) * PAGE_BYTES as u64;
        match self.window.read_at_wanting(page, offset, Wanted::Around(INDEX_PREFETCH_BYTES)) {
            Err(error) if error.is_unreadable() => page.fill(0),
            other => drop(other?),
        }
        Ok(())
    }
}

impl Range {
    /// The children of a branch that may hold entries of the range. The child before the first one
    /// that begins above `low` may still hold `low`.
    fn children(&self, branch: BranchPage<'_>) -> std::ops::Range<usize> {
        let after = |limit: IndexEntry| {
            lower_bound(branch.count(), |i| {
                branch.child(i).is_some_and(|child| child.first <= limit)
            })
        };
        after(self.low).saturating_sub(1)..after(self.high)
    }
}

fn collect(leaf: LeafPage<'_>, range: &Range, found: &mut Vec<IndexEntry>) {
    let start = lower_bound(leaf.count(), |i| leaf.entry(i).is_some_and(|entry| entry < range.low));
    found.extend(
        (start..leaf.count())
            .map_while(|index| leaf.entry(index))
            .take_while(|entry| *entry <= range.high),
    );
}

/// The first index below `count` for which `before` is false, which it stays from there on.
pub(super) fn lower_bound(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
