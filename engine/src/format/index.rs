//! Pages of the index: two metas, branches and leaves, each of 4 KiB with a checksum and the
//! transaction that wrote it.
//!
//! A page is valid for a reader at transaction `t` if and only if its checksum (of a meta: of its
//! first 72 bytes without the checksum) is right, its own number is the one that was asked for, and
//! its transaction is not newer than `t`. Entries are pairs (first eight bytes of the key, packed
//! location) in ascending order.
//!
//! Of the two metas the valid one with the higher transaction counts; transaction `t` is written to
//! page `t % 2`.

use crate::checksum::check32;
use crate::coding::{
    read_array, read_u8, read_u16, read_u32, read_u64, write_bytes, write_u16, write_u32, write_u64,
};
use crate::format::FORMAT_VERSION;
use crate::limits::{INDEX_DEPTH_MAX, PAGE_BYTES};
use crate::location::Location;

const CHECK: usize = 0;
const NUMBER: usize = CHECK + 4;
const TRANSACTION: usize = NUMBER + 4;
const KIND: usize = TRANSACTION + 8;
const RESERVED: usize = KIND + 1;
const COUNT: usize = RESERVED + 1;
const PADDING: usize = COUNT + 2;
const PAYLOAD: usize = PADDING + 4;

const _: () = assert!(PAYLOAD == 24);

const KIND_META: u8 = 1;
const KIND_LEAF: u8 = 2;
const KIND_BRANCH: u8 = 3;

const LEAF_ENTRY_BYTES: usize = 16;
const BRANCH_ENTRY_BYTES: usize = 20;

/// Entries that fit into a leaf.
pub const LEAF_ENTRIES_MAX: usize = (PAGE_BYTES - PAYLOAD) / LEAF_ENTRY_BYTES;
/// Children that fit into a branch.
pub const BRANCH_ENTRIES_MAX: usize = (PAGE_BYTES - PAYLOAD) / BRANCH_ENTRY_BYTES;

const _: () = assert!(LEAF_ENTRIES_MAX == 254 && BRANCH_ENTRIES_MAX == 203);

const META_MAGIC_VALUE: [u8; 8] = *b"LARDERIX";
const META_MAGIC: usize = PAYLOAD;
const META_FORMAT: usize = META_MAGIC + 8;
const META_DEPTH: usize = META_FORMAT + 2;
const META_ROOT: usize = META_DEPTH + 2;
const META_PAGES: usize = META_ROOT + 4;
const META_MERGED_BELOW: usize = META_PAGES + 4;
const META_ENTRIES: usize = META_MERGED_BELOW + 4;
const META_UUID: usize = META_ENTRIES + 8;
const META_END: usize = META_UUID + 16;

const _: () = assert!(META_END == 72);

/// What of a meta's page has to be read: it is zero behind its fields.
pub const META_READ_BYTES: usize = META_END;

/// An entry of the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IndexEntry {
    /// First eight bytes of the key, big-endian.
    pub key_prefix: u64,
    /// Packed location.
    pub place: u64,
}

impl IndexEntry {
    /// The location.
    pub fn location(self) -> Location {
        Location::unpack(self.place)
    }

    /// Where in a leaf the entry of this index stands.
    pub fn offset_in_leaf(index: usize) -> usize {
        PAYLOAD.saturating_add(index.saturating_mul(LEAF_ENTRY_BYTES))
    }

    /// The entry at the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<IndexEntry> {
        Some(IndexEntry { key_prefix: read_u64(bytes, 0)?, place: read_u64(bytes, 8)? })
    }
}

/// A child of a branch: the subtree of all entries from `first` on, up to the next child's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// Lower bound of the entries below.
    pub first: IndexEntry,
    /// Page number.
    pub page: u32,
}

impl Child {
    /// Where in a branch the child of this index stands.
    pub fn offset_in_branch(index: usize) -> usize {
        PAYLOAD.saturating_add(index.saturating_mul(BRANCH_ENTRY_BYTES))
    }

    /// The child at the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<Child> {
        Some(Child { first: IndexEntry::decode(bytes)?, page: read_u32(bytes, 16)? })
    }
}

/// The number of entries that the head of a page gives, whatever the page is.
pub fn count_of(head: &[u8]) -> Option<usize> {
    read_u16(head, COUNT).map(usize::from)
}

/// Bytes of the head of a page.
pub const PAGE_HEAD_BYTES: usize = PAYLOAD;

/// Bytes of an entry of a leaf.
pub const ENTRY_BYTES: usize = LEAF_ENTRY_BYTES;

/// Bytes of a child of a branch.
pub const CHILD_BYTES: usize = BRANCH_ENTRY_BYTES;

/// A decoded meta page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The store's uuid; detects an index of another store.
    pub uuid: [u8; 16],
    /// Transaction.
    pub transaction: u64,
    /// Levels of the tree: 0 is an empty tree, 1 a single leaf.
    pub depth: u16,
    /// Page number of the root, 0 for an empty tree.
    pub root: u32,
    /// Pages of the file that belong to this or an earlier transaction.
    pub pages: u32,
    /// All segments below are in the tree.
    pub merged_below: u32,
    /// Entries in the tree.
    pub entries: u64,
}

impl Meta {
    /// The meta page.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        write_bytes(&mut page, META_MAGIC, &META_MAGIC_VALUE);
        write_u16(&mut page, META_FORMAT, FORMAT_VERSION);
        write_u16(&mut page, META_DEPTH, self.depth);
        write_u32(&mut page, META_ROOT, self.root);
        write_u32(&mut page, META_PAGES, self.pages);
        write_u32(&mut page, META_MERGED_BELOW, self.merged_below);
        write_u64(&mut page, META_ENTRIES, self.entries);
        write_bytes(&mut page, META_UUID, &self.uuid);
        let number = self.page_number();
        finish(&mut page, KIND_META, number, self.transaction, 0, META_END);
        page
    }

    /// The page that this transaction's meta is written to.
    pub fn page_number(&self) -> u32 {
        (self.transaction % 2) as u32
    }

    /// The newest valid meta among the first two pages of the file.
    pub fn decode(pages: &[u8], uuid: &[u8; 16]) -> Option<Meta> {
        let metas = pages.chunks(PAGE_BYTES).take(2).enumerate();
        metas
            .filter_map(|(number, page)| Self::decode_page(page, number as u32, uuid))
            .max_by_key(|meta| meta.transaction)
    }

    /// The meta on page `number`, `None` if it is not valid.
    pub fn decode_page(page: &[u8], number: u32, uuid: &[u8; 16]) -> Option<Meta> {
        check(page, KIND_META, number, u64::MAX)?;
        let meta = Meta {
            uuid: read_array(page, META_UUID)?,
            transaction: read_u64(page, TRANSACTION)?,
            depth: read_u16(page, META_DEPTH)?,
            root: read_u32(page, META_ROOT)?,
            pages: read_u32(page, META_PAGES)?,
            merged_below: read_u32(page, META_MERGED_BELOW)?,
            entries: read_u64(page, META_ENTRIES)?,
        };
        let sane = read_array(page, META_MAGIC)? == META_MAGIC_VALUE
            && read_u16(page, META_FORMAT)? == FORMAT_VERSION
            && meta.uuid == *uuid
            && usize::from(meta.depth) <= INDEX_DEPTH_MAX
            && (meta.depth == 0 || (meta.root >= 2 && meta.root < meta.pages));
        sane.then_some(meta)
    }
}

/// A leaf with at most [`LEAF_ENTRIES_MAX`] entries.
pub fn encode_leaf(entries: &[IndexEntry], number: u32, transaction: u64) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    let mut at = PAYLOAD;
    for entry in entries.iter().take(LEAF_ENTRIES_MAX) {
        write_u64(&mut page, at, entry.key_prefix);
        write_u64(&mut page, at.saturating_add(8), entry.place);
        at = at.saturating_add(LEAF_ENTRY_BYTES);
    }
    finish(&mut page, KIND_LEAF, number, transaction, entries.len() as u16, PAGE_BYTES);
    page
}

/// A branch with at most [`BRANCH_ENTRIES_MAX`] children.
pub fn encode_branch(children: &[Child], number: u32, transaction: u64) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    let mut at = PAYLOAD;
    for child in children.iter().take(BRANCH_ENTRIES_MAX) {
        write_u64(&mut page, at, child.first.key_prefix);
        write_u64(&mut page, at.saturating_add(8), child.first.place);
        write_u32(&mut page, at.saturating_add(16), child.page);
        at = at.saturating_add(BRANCH_ENTRY_BYTES);
    }
    finish(&mut page, KIND_BRANCH, number, transaction, children.len() as u16, PAGE_BYTES);
    page
}

/// A leaf page that a reader at `transaction` may believe.
#[derive(Clone, Copy, Debug)]
pub struct LeafPage<'a>(&'a [u8]);

impl<'a> LeafPage<'a> {
    /// Checks a page; `None` if it is no leaf, damaged, or newer than `transaction`.
    pub fn check(page: &'a [u8], number: u32, transaction: u64) -> Option<Self> {
        let count = check(page, KIND_LEAF, number, transaction)?;
        let bytes = count.checked_mul(LEAF_ENTRY_BYTES)?;
        Some(LeafPage(page.get(PAYLOAD..)?.get(..bytes)?))
    }

    /// Number of entries.
    pub fn count(&self) -> usize {
        self.0.len() / LEAF_ENTRY_BYTES
    }

    /// An entry.
    pub fn entry(&self, index: usize) -> Option<IndexEntry> {
        let at = index.checked_mul(LEAF_ENTRY_BYTES)?;
        IndexEntry::decode(self.0.get(at..)?)
    }

    /// The entries in ascending order.
    pub fn entries(self) -> impl Iterator<Item = IndexEntry> + 'a {
        (0..self.count()).map_while(move |index| self.entry(index))
    }
}

/// A branch page that a reader at `transaction` may believe.
#[derive(Clone, Copy, Debug)]
pub struct BranchPage<'a>(&'a [u8]);

impl<'a> BranchPage<'a> {
    /// Checks a page; `None` if it is no branch, damaged, or newer than `transaction`.
    pub fn check(page: &'a [u8], number: u32, transaction: u64) -> Option<Self> {
        let count = check(page, KIND_BRANCH, number, transaction)?;
        let bytes = count.checked_mul(BRANCH_ENTRY_BYTES)?;
        Some(BranchPage(page.get(PAYLOAD..)?.get(..bytes)?))
    }

    /// Number of children.
    pub fn count(&self) -> usize {
        self.0.len() / BRANCH_ENTRY_BYTES
    }

    /// A child.
    pub fn child(&self, index: usize) -> Option<Child> {
        let at = index.checked_mul(BRANCH_ENTRY_BYTES)?;
        Child::decode(self.0.get(at..)?)
    }
}

/// Fills in the head of a page; the checksum covers the page up to `end`.
fn finish(
    page: &mut [u8; PAGE_BYTES],
    kind: u8,
    number: u32,
    transaction: u64,
    count: u16,
    end: usize,
) {
    write_u32(page, NUMBER, number);
    write_u64(page, TRANSACTION, transaction);
    write_bytes(page, KIND, &[kind, 0]);
    write_u16(page, COUNT, count);
    let check = page.get(NUMBER..end).map_or(0, check32);
    write_u32(page, CHECK, check);
}

/// The count of a page, if it is valid.
fn check(page: &[u8], kind: u8, number: u32, transaction: u64) -> Option<usize> {
    let end = if kind == KIND_META { META_END } else { PAGE_BYTES };
    let valid = page.len() >= end
        && read_u8(page, KIND)? == kind
        && read_u32(page, NUMBER)? == number
        && read_u64(page, TRANSACTION)? <= transaction
        && read_u32(page, CHECK)? == check32(page.get(NUMBER..end)?);
    valid.then_some(usize::from(read_u16(page, COUNT)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u64) -> Vec<IndexEntry> {
        (0..count).map(|i| IndexEntry { key_prefix: i * 3, place: i }).collect()
    }

    #[test]
    fn full_pages_round_trip() {
        let leaf = encode_leaf(&entries(254), 7, 5);
        let page = LeafPage::check(&leaf, 7, 5).unwrap();
        assert_eq!(page.entries().collect::<Vec<_>>(), entries(254));
        let children: Vec<_> =
            entries(203).into_iter().map(|first| Child { first, page: 9 }).collect();
        let branch = encode_branch(&children, 8, 5);
        let page = BranchPage::check(&branch, 8, 5).unwrap();
        assert_eq!(page.count(), 203);
        assert_eq!(page.child(202), Some(children[202]));
        assert_eq!(page.child(203), None);
    }

    #[test]
    fn newer_foreign_and_damaged_pages_are_refused() {
        let leaf = encode_leaf(&entries(3), 7, 5);
        assert!(LeafPage::check(&leaf, 7, 4).is_none());
        assert!(LeafPage::check(&leaf, 8, 5).is_none());
        assert!(BranchPage::check(&leaf, 7, 5).is_none());
        for at in [0, 4, 8, 20, 30, 4095] {
            let mut torn = leaf;
            torn[at] ^= 1;
            assert!(LeafPage::check(&torn, 7, 5).is_none(), "byte {at}");
        }
    }

    #[test]
    fn the_newer_meta_counts_and_a_torn_one_does_not() {
        let meta = |transaction| Meta {
            uuid: [1; 16],
            transaction,
            depth: 1,
            root: 2,
            pages: 3,
            merged_below: 4,
            entries: 5,
        };
        let mut pages = [meta(8).encode(), meta(9).encode()].concat();
        assert_eq!(Meta::decode(&pages, &[1; 16]), Some(meta(9)));
        assert_eq!(Meta::decode(&pages, &[2; 16]), None);
        pages[PAGE_BYTES + 50] ^= 1;
        assert_eq!(Meta::decode(&pages, &[1; 16]), Some(meta(8)));
    }
}
