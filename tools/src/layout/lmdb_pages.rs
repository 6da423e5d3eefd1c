//! Whether a database of LMDB can be left to LMDB, which trusts its file: there a page that is
//! damaged or missing ends the process.
//!
//! ```text
//! file   = page*                        pages 0 and 1 are metas; the newer one counts
//! page   = u64 number, u16 pad, u16 flags, u16 lower, u16 upper, u16 node-at*, ..., node*
//!        | u64 number, u16 pad, u16 4, u32 pages, bytes                  a long value
//! meta   = page head, u32 magic, u32 version, u64 address, u64 map bytes, db free, db main,
//!          u64 last page, u64 transaction
//! db     = u32 pad (of the first: bytes of a page), u16 flags, u16 depth, u64 branches,
//!          u64 leaves, u64 long pages, u64 entries, u64 root (all ones: empty)
//! node   = u16, u16, u16 flags, u16 key bytes, key, value
//!          below a branch the first three are a page, in a leaf the first two a length
//! ```
//!
//! A database passes if and only if: (1) it has two metas of version 1, and flags that change
//! nothing; (2) every page that its trees lead to lies within the file, says its own number, and
//! is a leaf at the depth that the tree has and a branch above, and nothing else; (3) a leaf has a
//! node and a branch two, which fill their page from `upper` to its end, none over another;
//! (4) keys ascend, in a page and from page to page; (5) every long value lies within the file;
//! (6) lists of free pages have numbers of transactions as keys, no later than the last, and
//! numbers of pages that descend; (7) no page is in two places, or beyond the last one.
//!
//! LMDB relies on each unseen: it moves nodes by the lengths that they have, ends the process where
//! lists of free pages are out of order, and writes to a page that is marked as not yet written
//! where it is mapped for reading.

use std::io;

use super::wrong::{Wrong, wrong};

const HEAD_BYTES: usize = 16;
const META_BYTES: usize = HEAD_BYTES + 24 + 2 * DB_BYTES + 16;
const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
const DB_BYTES: usize = 48;
const NODE_BYTES: usize = 8;
const NO_PAGE: u64 = u64::MAX;
/// LMDB's own bounds.
const PAGE_BYTES_MIN: u64 = 256;
const PAGE_BYTES_MAX: u64 = 32768;
const DEPTH_MAX: u16 = 32;
const KEY_BYTES_MAX: usize = 511;

/// The transaction of a database that is in use for years.
const TRANSACTION_MAX: u64 = 1 << 48;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const LONG: u16 = 4;
const IS_LONG: u16 = 1;
const IS_DATABASE: u16 = 2;
/// Flags of the tree of free pages: keys are numbers, and maybe the database is a file.
const HAS_NUMBERS: u16 = 8;
const IS_FILE: u16 = 0x4000;

/// Reads some bytes at a place of the file.
pub type Read<'a> = &'a mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>;

/// What a meta says of a tree.
#[derive(Clone, Copy)]
struct Db {
    flags: u16,
    depth: u16,
    root: u64,
}

/// Bytes whose order is that of the keys.
type Key = Vec<u8>;

/// A page of a tree, with what its keys are bound to.
struct Place {
    number: u64,
    depth: u16,
    /// The least one that there may be.
    low: Key,
    /// The least one that is in the next page.
    high: Option<Key>,
}

/// A node of a page.
struct Node<'a> {
    flags: u16,
    key: &'a [u8],
    /// In a leaf what it says of its value: the bytes of it, wherever they are.
    bytes: usize,
    /// In a leaf the value, or where it is.
    value: &'a [u8],
    /// In a branch the page below.
    page: u64,
}

/// What the nodes of a tree hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Lists of free pages.
    Free,
    /// Databases by name.
    Databases,
    /// Values.
    Values,
}

struct Pages<'a> {
    read: Read<'a>,
    page_bytes: u64,
    pages: u64,
    is_written: bool,
    /// The last page that the meta knows.
    last: u64,
    /// The last transaction.
    transaction: u64,
    /// A bit for each page that was met.
    met: Vec<u64>,
}

/// Checks all of a database whose file has so many bytes. Of long values the heads are read only
/// where the database is to be written: readers never look at them, and each is a seek.
///
/// # Errors
/// If it is damaged, cut short, none, or one of another kind than larder writes.
pub fn check(file_bytes: u64, is_written: bool, read: Read<'_>) -> Result<(), Wrong> {
    let first = meta(read, 0);
    let page_bytes = first.as_ref().map_or(4096, |meta| u64::from(u32_at(meta, 40)));
    if !page_bytes.is_power_of_two() || !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) {
        return wrong(format!("it has pages of {page_bytes} bytes, which LMDB has not"));
    }
    // LMDB itself takes a database whose one meta is damaged for none.
    let (Some(first), Some(second)) = (first, meta(read, page_bytes)) else {
        return wrong("it is no database of LMDB, or a damaged one: it has no two metas");
    };
    let transaction_of = |meta: &[u8]| u64_at(meta, META_BYTES - 8);
    let newer = if transaction_of(&second) > transaction_of(&first) { second } else { first };
    let transaction = transaction_of(&newer);
    if transaction > TRANSACTION_MAX {
        return wrong(format!("its last transaction is {transaction}, which nobody reaches"));
    }
    if u64::from(u32_at(&newer, 40)) != page_bytes {
        return wrong("its metas have pages of different lengths");
    }
    // The file may be shorter than its last page is far, if the last ones are free.
    let last = u64_at(&newer, META_BYTES - 16);
    if last >= (1 << 40) / page_bytes {
        return wrong(format!("its last page is {last}, beyond any that larder writes"));
    }
    let pages = file_bytes / page_bytes;
    let met = vec![0; (last / 64 + 1) as usize];
    let mut pages = Pages { read, page_bytes, pages, is_written, last, transaction, met };
    pages.tree(db_at(&newer, 40), Holds::Free)?;
    pages.tree(db_at(&newer, 40 + DB_BYTES), Holds::Databases)
}

fn meta(read: Read<'_>, at: u64) -> Option<Vec<u8>> {
    let bytes = read(at, META_BYTES).ok()?;
    let is_meta = bytes.len() == META_BYTES
        && u32_at(&bytes, HEAD_BYTES) == MAGIC
        && u32_at(&bytes, HEAD_BYTES + 4) == VERSION
        && u16_at(&bytes, 10) == 8;
    is_meta.then_some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn db_at(bytes: &[u8], at: usize) -> Db {
    let (flags, depth) = (u16_at(bytes, at + 4), u16_at(bytes, at + 6));
    Db { flags, depth, root: u64_at(bytes, at + 40) }
}

impl Pages<'_> {
    /// Checks a tree and those whose names are in it.
    fn tree(&mut self, db: Db, holds: Holds) -> Result<(), Wrong> {
        // The flags of the lists of free pages are those of the file.
        let is_right = match holds {
            Holds::Free => db.flags & !IS_FILE == HAS_NUMBERS,
            Holds::Databases | Holds::Values => db.flags == 0,
        };
        if !is_right {
            let flags = db.flags;
            return wrong(format!("a database has flags {flags:#x}, which larder does not set"));
        }
        if db.root == NO_PAGE {
            return Ok(());
        }
        if db.depth == 0 || db.depth > DEPTH_MAX {
            return wrong(format!("a tree has a depth of {}", db.depth));
        }
        let mut open = vec![Place { number: db.root, depth: 1, low: Key::new(), high: None }];
        while let Some(place) = open.pop() {
            let page = self.page(place.number)?;
            let kind = if place.depth == db.depth { LEAF } else { BRANCH };
            let nodes = nodes(&page, place.number, kind)?;
            // For a moment LMDB itself lets a branch of the free pages lead to one page.
            if kind == BRANCH && nodes.len() < 2 && holds != Holds::Free {
                return wrong(format!("page {} leads to one page only", place.number));
            }
            let keys = self.keys(&place, &nodes, kind, holds)?;
            for (at, node) in nodes.iter().enumerate() {
                if kind == LEAF {
                    self.leaf(place.number, node, holds)?;
                    continue;
                }
                let high = keys.get(at + 1).or(place.high.as_ref()).cloned();
                let (number, depth) = (node.page, place.depth + 1);
                open.push(Place { number, depth, low: keys[at].clone(), high });
            }
        }
        Ok(())
    }

    /// The keys of a page, which ascend and are within their bounds.
    fn keys(
        &self,
        place: &Place,
        nodes: &[Node<'_>],
        kind: u16,
        holds: Holds,
    ) -> Result<Vec<Key>, Wrong> {
        let damaged = || wrong(format!("a key of page {} is damaged", place.number));
        let mut keys = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            // The first one of a branch counts as less than all others.
            if kind == BRANCH && at == 0 {
                keys.push(place.low.clone());
                continue;
            }
            let key = match (holds, <[u8; 8]>::try_from(node.key)) {
                (Holds::Free, Ok(bytes)) => {
                    let transaction = u64::from_le_bytes(bytes);
                    if transaction > self.transaction {
                        return damaged();
                    }
                    transaction.to_be_bytes().to_vec()
                }
                (Holds::Free, Err(_)) => return damaged(),
                _ => node.key.to_vec(),
            };
            let is_behind = keys.last().map_or(key >= place.low, |last| key > *last);
            if !is_behind || place.high.as_ref().is_some_and(|high| key >= *high) {
                return damaged();
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// A page, which says its number.
    fn page(&mut self, number: u64) -> Result<Vec<u8>, Wrong> {
        if number < 2 || number >= self.pages {
            return wrong(format!("page {number} is missing: the file is cut short or damaged"));
        }
        self.meet(number)?;
        let bytes = (self.read)(number * self.page_bytes, self.page_bytes as usize);
        let bytes = bytes.map_err(|error| Wrong(format!("page {number}: {error}")))?;
        match bytes.len() as u64 == self.page_bytes && u64_at(&bytes, 0) == number {
            true => Ok(bytes),
            false => wrong(format!("page {number} is damaged")),
        }
    }

    /// A node of a leaf, and what it leads to.
    fn leaf(&mut self, number: u64, node: &Node<'_>, holds: Holds) -> Result<(), Wrong> {
        match (holds, node.flags) {
            (Holds::Databases, IS_DATABASE) if node.bytes == DB_BYTES => {
                self.tree(db_at(node.value, 0), Holds::Values)
            }
            (Holds::Free, 0) => self.free(node.value, number),
            (_, 0) => Ok(()),
            (_, IS_LONG) => self.long(u64_at(node.value, 0), node.bytes, holds),
            _ => wrong(format!("a node of page {number} is damaged")),
        }
    }

    /// A value in pages of its own.
    fn long(&mut self, first: u64, bytes: usize, holds: Holds) -> Result<(), Wrong> {
        let mut count = (HEAD_BYTES as u64 + bytes as u64).div_ceil(self.page_bytes);
        if self.is_written {
            let head = (self.read)(first.saturating_mul(self.page_bytes), HEAD_BYTES);
            let head = head.map_err(|error| Wrong(format!("page {first}: {error}")))?;
            let (said, flags, pages) = (u64_at(&head, 0), u16_at(&head, 10), u32_at(&head, 12));
            // A value that got shorter keeps its pages.
            if said != first || flags != LONG || u64::from(pages) < count {
                return wrong(format!("page {first} is none of a long value"));
            }
            count = u64::from(pages);
        }
        if first.checked_add(count).is_none_or(|end| end > self.pages) {
            return wrong(format!("page {first} is missing: the file is cut short or damaged"));
        }
        (first..first + count).try_for_each(|page| self.meet(page))?;
        if holds != Holds::Free {
            return Ok(());
        }
        let value = (self.read)(first * self.page_bytes + HEAD_BYTES as u64, bytes);
        let value = value.map_err(|error| Wrong(format!("page {first}: {error}")))?;
        self.free(&value, first)
    }

    /// A list of free pages: how many, each, and maybe room behind them.
    fn free(&mut self, value: &[u8], number: u64) -> Result<(), Wrong> {
        let damaged = || wrong(format!("a list of free pages in page {number} is damaged"));
        let numbers: Vec<u64> = value.chunks_exact(8).map(|bytes| u64_at(bytes, 0)).collect();
        let Some((count, rest)) = numbers.split_first() else { return damaged() };
        let Some(free) = usize::try_from(*count).ok().and_then(|count| rest.get(..count)) else {
            return damaged();
        };
        if !value.len().is_multiple_of(8) || !free.is_sorted_by(|one, next| one > next) {
            return damaged();
        }
        free.iter().try_for_each(|page| self.meet(*page))
    }

    /// Notes a page, which stands in one place only.
    fn meet(&mut self, number: u64) -> Result<(), Wrong> {
        if number < 2 || number > self.last {
            return wrong(format!("there is no page {number}"));
        }
        let (word, bit) = (&mut self.met[(number / 64) as usize], 1 << (number % 64));
        if *word & bit != 0 {
            return wrong(format!("page {number} is in two places"));
        }
        *word |= bit;
        Ok(())
    }
}

/// The nodes of a page of a kind, in the order of their keys.
fn nodes(page: &[u8], number: u64, kind: u16) -> Result<Vec<Node<'_>>, Wrong> {
    if u16_at(page, 10) != kind {
        return wrong(format!("page {number} is none that belongs there"));
    }
    let (lower, upper) = (usize::from(u16_at(page, 12)), usize::from(u16_at(page, 14)));
    let is_right = HEAD_BYTES < lower && lower.is_multiple_of(2) && lower <= upper;
    if !is_right || upper > page.len() {
        return wrong(format!("page {number} is damaged"));
    }
    // LMDB gives a page two nodes at least.
    let bytes_max = (((page.len() - HEAD_BYTES) / 2) & !1) - 2;
    let (mut nodes, mut places) = (Vec::new(), Vec::new());
    for slot in (HEAD_BYTES..lower).step_by(2) {
        let at = usize::from(u16_at(page, slot));
        match node(page, at, kind) {
            Some((node, bytes)) if bytes <= bytes_max => {
                nodes.push(node);
                places.push((at, bytes));
            }
            _ => return wrong(format!("a node of page {number} is damaged")),
        }
    }
    places.sort_unstable();
    let end = places.iter().try_fold(upper, |end, (at, bytes)| (*at == end).then_some(end + bytes));
    match end == Some(page.len()) {
        true => Ok(nodes),
        false => wrong(format!("the nodes of page {number} do not fill it")),
    }
}

/// The node at a place of a page, and how many bytes it takes.
fn node(page: &[u8], at: usize, kind: u16) -> Option<(Node<'_>, usize)> {
    let (bytes, flags) = (u32_at(page, at), u16_at(page, at + 4));
    let key_bytes = usize::from(u16_at(page, at + 6));
    let rest = page.get(at + NODE_BYTES..)?;
    let (key, rest) = rest.split_at_checked(key_bytes)?;
    let here = match (kind, flags) {
        (BRANCH, _) => 0,
        (_, IS_LONG) => 8,
        _ => bytes as usize,
    };
    let page = u64::from(bytes) | u64::from(flags) << 32;
    let node = Node { flags, key, bytes: bytes as usize, value: rest.get(..here)?, page };
    let is_right = at.is_multiple_of(2) && key_bytes <= KEY_BYTES_MAX;
    is_right.then_some((node, (NODE_BYTES + key_bytes + here).next_multiple_of(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<(), Wrong> {
        let mut read = |at: u64, count: usize| {
            let found = bytes.get(at as usize..).and_then(|rest| rest.get(..count));
            found.map(<[u8]>::to_vec).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        check(bytes.len() as u64, true, &mut read)
    }

    #[test]
    fn what_is_no_database_is_told() {
        for bytes in [vec![], vec![0; 8192], vec![0xff; 8192]] {
            assert!(of(&bytes).is_err());
        }
    }
}
