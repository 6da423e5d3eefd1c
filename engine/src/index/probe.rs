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

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::Index;
use super::read::lower_bound;
use crate::env::map::Map;
use crate::format::index::{
    BRANCH_ENTRIES_MAX, BranchPage, CHILD_BYTES, Child, ENTRY_BYTES, IndexEntry, LEAF_ENTRIES_MAX,
    LeafPage, Meta, PAGE_HEAD_BYTES, count_of,
};
use crate::limits::PAGE_BYTES;

/// The pages of one transaction that have been checked, one bit each.
#[derive(Debug, Default)]
pub struct Checked(RwLock<(u64, Vec<u64>)>);

/// The pages of a transaction that are known to be right.
type Known<'a> = RwLockReadGuard<'a, (u64, Vec<u64>)>;

impl Checked {
    fn known(&self) -> Known<'_> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
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

/// Whether a page is among those that are known.
fn is_known(known: &Known<'_>, transaction: u64, page: u32) -> bool {
    let word = known.1.get(page as usize / 64).copied().unwrap_or(0);
    known.0 == transaction && word & (1 << (page % 64)) != 0
}

impl Index {
    /// The newest valid meta in the map.
    pub(super) fn mapped_meta(&self, map: &Map) -> Option<Meta> {
        self.newest(&[read(map, 0, 0)?, read(map, 1, 0)?])
    }

    /// The entries of a key prefix, `None` if the ordinary descent has to look for them.
    pub(super) fn probe(&self, meta: &Meta, key_prefix: u64) -> Option<Vec<IndexEntry>> {
        let map = self.window.mapped()?;
        for _ in 0..=meta.depth {
            let found = search(&map, meta, key_prefix, &self.checked.known());
            match found {
                Ok(found) => {
                    let newest = self.mapped_meta(&map)?.transaction;
                    return (newest <= meta.transaction.saturating_add(1)).then_some(found);
                }
                Err(page) => self.check(&map, meta, page?)?,
            }
        }
        None
    }

    /// Checks a page, so that a search may go through it; `None` if it is not valid.
    // A frame of its own, see decision 0008.
    #[inline(never)]
    fn check(&self, map: &Map, meta: &Meta, number: u32) -> Option<()> {
        let page: [u8; PAGE_BYTES] = read(map, number, 0)?;
        let leaf = LeafPage::check(&page, number, meta.transaction).map(|_| ());
        leaf.or_else(|| BranchPage::check(&page, number, meta.transaction).map(|_| ()))?;
        self.checked.add(meta.transaction, number);
        Some(())
    }
}

/// Searches through pages that are known. The error is the page that is to be checked first, or
/// none if the ordinary descent has to look.
fn search(
    map: &Map,
    meta: &Meta,
    key_prefix: u64,
    known: &Known<'_>,
) -> Result<Vec<IndexEntry>, Option<u32>> {
    let count_in = |page: u32, max: usize| {
        if !is_known(known, meta.transaction, page) {
            return Err(Some(page));
        }
        let head: [u8; PAGE_HEAD_BYTES] = read(map, page, 0).ok_or(None)?;
        count_of(&head).filter(|count| *count <= max).ok_or(None)
    };
    let mut page = meta.root;
    for _ in 1..meta.depth {
        let count = count_in(page, BRANCH_ENTRIES_MAX)?;
        let child = |index| {
            let at = Child::offset_in_branch(index);
            Child::decode(&read::<CHILD_BYTES>(map, page, at)?)
        };
        let after =
            lower_bound(count, |i| child(i).is_some_and(|c| c.first.key_prefix <= key_prefix));
        let last = after.checked_sub(1).and_then(child).ok_or(None)?;
        if last.first.key_prefix == key_prefix {
            // The child before may end with the same prefix.
            return Err(None);
        }
        page = last.page;
    }
    let count = count_in(page, LEAF_ENTRIES_MAX)?;
    let entry = |index| {
        let at = IndexEntry::offset_in_leaf(index);
        IndexEntry::decode(&read::<ENTRY_BYTES>(map, page, at)?)
    };
    let start = lower_bound(count, |i| entry(i).is_some_and(|e| e.key_prefix < key_prefix));
    (start..count)
        .map(entry)
        .take_while(|entry| entry.is_none_or(|entry| entry.key_prefix == key_prefix))
        .collect::<Option<Vec<_>>>()
        .ok_or(None)
}

/// Bytes of a page in the map.
#[inline]
fn read<const N: usize>(map: &Map, page: u32, at: usize) -> Option<[u8; N]> {
    map.read(u64::from(page) * PAGE_BYTES as u64 + at as u64)
}
