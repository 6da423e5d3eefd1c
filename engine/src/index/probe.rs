//! Looking one key up through the map of the index, without copying pages.
//!
//! 1. A page is copied and checked the first time it is met in a transaction; after that only the
//!    few entries that a binary search asks for are read. A page that the disk damages later leads
//!    to a wrong place or to none, which the record there shows or which is a miss.
//! 2. No page of transaction `t` is used again before the merge that follows `t + 1` begins. So if
//!    the newest meta is that of `t` or `t + 1` when the search has ended, everything that it read
//!    was of `t`.
//! 3. Whatever is unusual (no map, a page beyond it or damaged, a key at the edge of a page) is
//!    left to the ordinary descent.

use std::sync::{PoisonError, RwLock};

use super::Index;
use super::read::lower_bound;
use crate::env::map::Map;
use crate::error::Result;
use crate::format::index::{
    BRANCH_ENTRIES_MAX, BranchPage, CHILD_BYTES, Child, ENTRY_BYTES, IndexEntry, LEAF_ENTRIES_MAX,
    LeafPage, Meta, PAGE_HEAD_BYTES, count_of,
};
use crate::limits::PAGE_BYTES;

/// The pages of one transaction that have been checked, one bit each.
#[derive(Debug, Default)]
pub struct Checked(RwLock<(u64, Vec<u64>)>);

impl Checked {
    fn has(&self, transaction: u64, page: u32) -> bool {
        let checked = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let word = checked.1.get(page as usize / 64).copied().unwrap_or(0);
        checked.0 == transaction && word & (1 << (page % 64)) != 0
    }

    fn add(&self, transaction: u64, page: u32) {
        let mut checked = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if checked.0 != transaction {
            *checked = (transaction, Vec::new());
        }
        let word = page as usize / 64;
        if checked.1.len() <= word {
            checked.1.resize(word + 1, 0);
        }
        checked.1[word] |= 1 << (page % 64);
    }
}

impl Index {
    /// The entries of a key prefix, `None` if the ordinary descent has to look for them.
    pub(super) fn probe(&self, meta: &Meta, key_prefix: u64) -> Result<Option<Vec<IndexEntry>>> {
        let Some(found) = self.search(meta, key_prefix) else { return Ok(None) };
        let newest = self.meta()?.map_or(u64::MAX, |newest| newest.transaction);
        Ok((newest <= meta.transaction.saturating_add(1)).then_some(found))
    }

    fn search(&self, meta: &Meta, key_prefix: u64) -> Option<Vec<IndexEntry>> {
        let map = self.window.mapped()?;
        let mut page = meta.root;
        for level in (2..=meta.depth).rev() {
            let count = self.count(&map, meta, page, level)?;
            let child = |index| {
                let at = Child::offset_in_branch(index);
                Child::decode(&read::<CHILD_BYTES>(&map, page, at)?)
            };
            let after =
                lower_bound(count, |i| child(i).is_some_and(|c| c.first.key_prefix <= key_prefix));
            let last = child(after.checked_sub(1)?)?;
            if last.first.key_prefix == key_prefix {
                // The child before may end with the same prefix.
                return None;
            }
            page = last.page;
        }
        let count = self.count(&map, meta, page, 1)?;
        let entry = |index| {
            let at = IndexEntry::offset_in_leaf(index);
            IndexEntry::decode(&read::<ENTRY_BYTES>(&map, page, at)?)
        };
        let start = lower_bound(count, |i| entry(i).is_some_and(|e| e.key_prefix < key_prefix));
        (start..count)
            .map(entry)
            .take_while(|entry| entry.is_none_or(|entry| entry.key_prefix == key_prefix))
            .collect()
    }

    /// The number of entries of a page that has been checked, now or before.
    fn count(&self, map: &Map, meta: &Meta, number: u32, level: u16) -> Option<usize> {
        if !self.checked.has(meta.transaction, number) {
            let page: [u8; PAGE_BYTES] = read(map, number, 0)?;
            match level {
                1 => LeafPage::check(&page, number, meta.transaction)?.count(),
                _ => BranchPage::check(&page, number, meta.transaction)?.count(),
            };
            self.checked.add(meta.transaction, number);
        }
        let head: [u8; PAGE_HEAD_BYTES] = read(map, number, 0)?;
        let max = if level == 1 { LEAF_ENTRIES_MAX } else { BRANCH_ENTRIES_MAX };
        count_of(&head).filter(|count| *count <= max)
    }
}

/// Bytes of a page in the map.
fn read<const N: usize>(map: &Map, page: u32, at: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let offset = u64::from(page) * PAGE_BYTES as u64 + at as u64;
    (map.copy_to(&mut bytes, offset).ok()? == N).then_some(bytes)
}
