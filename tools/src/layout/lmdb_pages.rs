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
//! A database passes if and only if: (1) it has a meta of version 1; (2) every page that its trees
//! lead to lies within the file, says its own number, and is a leaf at the depth that the tree has
//! and a branch above; (3) every node lies within its page, behind the table of nodes; (4) every
//! long value lies within the file; (5) the lists of free pages are as long as they say; (6) no
//! page is in two places, or beyond the last one.

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

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const LONG: u16 = 4;
const IS_LONG: u16 = 1;
const IS_DATABASE: u16 = 2;

/// Reads some bytes at a place of the file.
pub type Read<'a> = &'a mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>;

/// What a meta says of a tree.
#[derive(Clone, Copy)]
struct Db {
    flags: u16,
    depth: u16,
    root: u64,
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
    let transaction = |meta: &[u8]| u64_at(meta, META_BYTES - 8);
    let newer = if transaction(&second) > transaction(&first) { second } else { first };
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
    let mut pages = Pages { read, page_bytes, pages, is_written, last, met };
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
        if db.root == NO_PAGE {
            return Ok(());
        }
        // The lists of free pages have numbers as keys; their flags are those of the file.
        if holds != Holds::Free && db.flags != 0 {
            return wrong(format!(
                "a database has flags {:#x}, which larder does not set",
                db.flags
            ));
        }
        if db.depth == 0 || db.depth > DEPTH_MAX {
            return wrong(format!("a tree has a depth of {}", db.depth));
        }
        let mut open = vec![(db.root, 1)];
        while let Some((number, depth)) = open.pop() {
            let page = self.page(number)?;
            let is_leaf = depth == db.depth;
            if u16_at(&page, 10) & 0x0f != if is_leaf { LEAF } else { BRANCH } {
                return wrong(format!("page {number} is none that belongs there"));
            }
            for at in nodes(&page, number)? {
                if is_leaf {
                    self.leaf(&page, number, at, holds)?;
                } else {
                    let low = u64::from(u32_at(&page, at));
                    open.push((low | u64::from(u16_at(&page, at + 4)) << 32, depth + 1));
                }
            }
        }
        Ok(())
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
    fn leaf(&mut self, page: &[u8], number: u64, at: usize, holds: Holds) -> Result<(), Wrong> {
        let damaged = || wrong(format!("a node of page {number} is damaged"));
        let (bytes, flags) = (u32_at(page, at) as usize, u16_at(page, at + 4));
        let value_at = at + NODE_BYTES + usize::from(u16_at(page, at + 6));
        let here = if flags & IS_LONG != 0 { 8 } else { bytes };
        let Some(value) = page.get(value_at..).and_then(|rest| rest.get(..here)) else {
            return damaged();
        };
        let is_database = flags & IS_DATABASE != 0;
        match (holds, flags) {
            (Holds::Databases, _) if is_database => match bytes {
                DB_BYTES if flags == IS_DATABASE => self.tree(db_at(value, 0), Holds::Values),
                _ => damaged(),
            },
            (_, 0) if holds == Holds::Free => self.free(value, number),
            (_, 0) => Ok(()),
            (_, IS_LONG) => self.long(u64_at(value, 0), bytes, holds),
            _ => damaged(),
        }
    }

    /// A value in pages of its own.
    fn long(&mut self, first: u64, bytes: usize, holds: Holds) -> Result<(), Wrong> {
        let count = (HEAD_BYTES as u64 + bytes as u64).div_ceil(self.page_bytes);
        if first < 2 || first.checked_add(count).is_none_or(|end| end > self.pages) {
            return wrong(format!("page {first} is missing: the file is cut short or damaged"));
        }
        (first..first + count).try_for_each(|page| self.meet(page))?;
        if self.is_written {
            let head = (self.read)(first * self.page_bytes, HEAD_BYTES);
            let head = head.map_err(|error| Wrong(format!("page {first}: {error}")))?;
            let said = (u64_at(&head, 0), u16_at(&head, 10), u64::from(u32_at(&head, 12)));
            if said != (first, LONG, count) {
                return wrong(format!("page {first} is none of a long value"));
            }
        }
        if holds != Holds::Free {
            return Ok(());
        }
        let value = (self.read)(first * self.page_bytes + HEAD_BYTES as u64, bytes);
        let value = value.map_err(|error| Wrong(format!("page {first}: {error}")))?;
        self.free(&value, first)
    }

    /// A list of free pages: how many, and each.
    fn free(&mut self, value: &[u8], number: u64) -> Result<(), Wrong> {
        let mut numbers = value.chunks_exact(8).map(|bytes| u64_at(bytes, 0));
        let count = numbers.next().unwrap_or(u64::MAX);
        if count != numbers.len() as u64 || !value.len().is_multiple_of(8) {
            return wrong(format!("a list of free pages in page {number} is damaged"));
        }
        numbers.try_for_each(|page| self.meet(page))
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

/// Where the nodes of a page stand.
fn nodes(page: &[u8], number: u64) -> Result<Vec<usize>, Wrong> {
    let (lower, upper) = (usize::from(u16_at(page, 12)), usize::from(u16_at(page, 14)));
    let is_right = HEAD_BYTES < lower && lower.is_multiple_of(2) && lower <= upper;
    if !is_right || upper > page.len() {
        return wrong(format!("page {number} is damaged"));
    }
    let mut nodes = Vec::with_capacity((lower - HEAD_BYTES) / 2);
    for slot in (HEAD_BYTES..lower).step_by(2) {
        let at = usize::from(u16_at(page, slot));
        let key_bytes = usize::from(u16_at(page, at + 6));
        let end = at + NODE_BYTES + key_bytes;
        if at < upper || at % 2 != 0 || key_bytes > KEY_BYTES_MAX || end > page.len() {
            return wrong(format!("a node of page {number} is damaged"));
        }
        nodes.push(at);
    }
    Ok(nodes)
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
