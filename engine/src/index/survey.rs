//! Surveying the tree: every page that the newest meta reaches, and what is wrong with it.

use super::Index;
use crate::error::Result;
use crate::format::index::{BranchPage, IndexEntry, LeafPage, Meta};
use crate::limits::PAGE_BYTES;

/// What a meta page holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetaPage {
    /// A valid meta.
    Valid(Meta),
    /// Nothing was ever written there.
    Void,
    /// Neither.
    Damaged,
}

/// A page that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPage {
    /// Its number.
    pub number: u32,
    /// Whether its own bytes are damaged; else it contradicts other pages.
    pub is_damaged: bool,
    /// What is wrong.
    pub what: String,
}

/// What a tree holds.
#[derive(Debug, Default)]
pub struct Survey {
    /// The entries of all leaves that can be read, in the order of the tree.
    pub entries: Vec<IndexEntry>,
    /// Pages that could be read, without the metas.
    pub pages: u64,
    /// The others.
    pub bad: Vec<BadPage>,
}

/// A page that is to be visited: its number, its level, and the entry that it must begin with.
type Ahead = (u32, u16, Option<IndexEntry>);

impl Index {
    /// Both meta pages.
    ///
    /// # Errors
    /// If the file cannot be read; a page that the disk cannot read is damaged.
    pub fn meta_pages(&self) -> Result<[MetaPage; 2]> {
        let mut found = [MetaPage::Damaged; 2];
        for (number, found) in (0..).zip(&mut found) {
            let mut page = [0; PAGE_BYTES];
            let offset = u64::from(number) * PAGE_BYTES as u64;
            match self.window.file().read_at(&mut page, offset) {
                Ok(_) => {}
                Err(error) if error.is_unreadable() => continue,
                Err(error) => return Err(error),
            }
            *found = match Meta::decode_page(&page, number, &self.uuid) {
                Some(meta) => MetaPage::Valid(meta),
                None if page.iter().all(|byte| *byte == 0) => MetaPage::Void,
                None => MetaPage::Damaged,
            };
        }
        Ok(found)
    }

    /// Reads the whole tree of a meta.
    ///
    /// # Errors
    /// If the file cannot be read; a page that the disk cannot read is a bad one.
    pub fn survey(&self, meta: &Meta) -> Result<Survey> {
        let mut survey = Survey::default();
        let file_pages = self.window.file().sizes()?.len_bytes / PAGE_BYTES as u64;
        let mut seen = vec![false; file_pages.min(u64::from(meta.pages)) as usize];
        let mut ahead: Vec<Ahead> = match meta.depth {
            0 => Vec::new(),
            depth => vec![(meta.root, depth, None)],
        };
        while let Some((number, level, first)) = ahead.pop() {
            match seen.get_mut(number as usize) {
                Some(seen) if !*seen && number >= 2 => *seen = true,
                _ => {
                    survey.note(
                        number,
                        false,
                        "what leads there is not to be believed, or the file ends before",
                    );
                    continue;
                }
            }
            let mut page = [0; PAGE_BYTES];
            let offset = u64::from(number) * PAGE_BYTES as u64;
            match self.window.file().read_at(&mut page, offset) {
                Ok(_) => survey.visit(&page, (number, level, first), meta, &mut ahead),
                Err(error) if error.is_unreadable() => {
                    survey.note(number, true, &error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(survey)
    }
}

impl Survey {
    fn note(&mut self, number: u32, is_damaged: bool, what: &str) {
        self.bad.push(BadPage { number, is_damaged, what: what.to_string() });
    }

    fn visit(&mut self, page: &[u8], place: Ahead, meta: &Meta, ahead: &mut Vec<Ahead>) {
        let (number, level, first) = place;
        if level > 1 {
            let Some(branch) = BranchPage::check(page, number, meta.transaction) else {
                return self.note(number, true, "a branch of the index is damaged");
            };
            let children: Vec<_> =
                (0..branch.count()).map_while(|index| branch.child(index)).collect();
            let begins = children.first().map(|child| child.first);
            if begins.is_none() || first.is_some_and(|first| begins != Some(first)) {
                self.note(number, false, "a branch does not begin as the one above it says");
            }
            if !children.is_sorted_by(|a, b| a.first < b.first) {
                self.note(number, false, "the children of a branch are not in order");
            }
            let below = children.iter().rev();
            ahead.extend(below.map(|child| (child.page, level - 1, Some(child.first))));
        } else {
            let Some(leaf) = LeafPage::check(page, number, meta.transaction) else {
                return self.note(number, true, "a leaf of the index is damaged");
            };
            let begins = leaf.entry(0);
            if begins.is_none() || first.is_some_and(|first| begins != Some(first)) {
                self.note(number, false, "a leaf does not begin as its branch says");
            }
            let last = self.entries.last().copied();
            let all = last.into_iter().chain(leaf.entries());
            if !all.is_sorted_by(|a, b| a < b) {
                self.note(number, false, "the entries of a leaf are not in order");
            }
            self.entries.extend(leaf.entries());
        }
        self.pages += 1;
    }
}
