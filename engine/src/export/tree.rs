//! The index of an export: full pages, in one piece.

use crate::format::index::{
    BRANCH_ENTRIES_MAX, Child, IndexEntry, LEAF_ENTRIES_MAX, Meta, encode_branch, encode_leaf,
};
use crate::limits::PAGE_BYTES;

const TRANSACTION: u64 = 1;

/// Pages 0 and 1 are the metas.
const FIRST_PAGE: u32 = 2;

/// The index with these entries, which are in ascending order.
pub fn assemble(uuid: [u8; 16], merged_below: u32, entries: &[IndexEntry]) -> Vec<u8> {
    let mut bytes = vec![0; FIRST_PAGE as usize * PAGE_BYTES];
    let mut pages = FIRST_PAGE;
    let mut level: Vec<Child> = Vec::new();
    for leaf in entries.chunks(LEAF_ENTRIES_MAX) {
        bytes.extend_from_slice(&encode_leaf(leaf, pages, TRANSACTION));
        level.push(Child { first: leaf[0], page: pages });
        pages += 1;
    }
    let mut depth = u16::from(!level.is_empty());
    while level.len() > 1 {
        let mut above = Vec::new();
        for children in level.chunks(BRANCH_ENTRIES_MAX) {
            bytes.extend_from_slice(&encode_branch(children, pages, TRANSACTION));
            above.push(Child { first: children[0].first, page: pages });
            pages += 1;
        }
        level = above;
        depth += 1;
    }
    let meta = Meta {
        uuid,
        transaction: TRANSACTION,
        depth,
        root: level.first().map_or(0, |root| root.page),
        pages,
        merged_below,
        entries: entries.len() as u64,
    };
    let at = meta.page_number() as usize * PAGE_BYTES;
    bytes[at..at + PAGE_BYTES].copy_from_slice(&meta.encode());
    bytes
}
