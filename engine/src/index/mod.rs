//! The index: a copy-on-write B+tree in one file, read without locks and written by one merge at a
//! time.
//!
//! 1. A committed page is never changed while it belongs to one of the last two transactions, so a
//!    reader that starts at the newest meta sees one consistent tree.
//! 2. A reader that is overtaken by two merges meets a page newer than its meta, and starts again.
//! 3. The tree is a hint: every entry leads to a record that says which key it is.
//! 4. Pages that no one of the last two trees reaches are free; that is found by walking the
//!    branches, so there is no free list that a killed writer could leave wrong.

mod merge;
mod probe;
mod read;
mod survey;

use std::path::Path;
use std::sync::Arc;

pub use merge::{Merge, MergeReport};
use probe::Checked;
pub use survey::{MetaPage, Survey};

use crate::env::{Env, OpenMode};
use crate::error::Result;
use crate::format::index::{META_READ_BYTES, Meta};
use crate::limits::PAGE_BYTES;
use crate::options::ReadMode;
use crate::window::{Ahead, Window};

/// Name of the file in the store's directory.
pub const FILE_NAME: &str = "index";

/// The index of a store.
#[derive(Debug)]
pub struct Index {
    window: Window,
    checked: Checked,
    uuid: [u8; 16],
}

impl Index {
    /// Opens the file.
    ///
    /// # Errors
    /// If it is missing or refused.
    pub fn open(
        env: &dyn Env,
        store: &Path,
        uuid: [u8; 16],
        mode: OpenMode,
        read_mode: ReadMode,
    ) -> Result<Self> {
        Self::open_ahead(env, store, uuid, mode, read_mode, &Arc::default())
    }

    /// The same with prefetching as the rest of the store has it.
    ///
    /// # Errors
    /// If it is missing or refused.
    pub fn open_ahead(
        env: &dyn Env,
        store: &Path,
        uuid: [u8; 16],
        mode: OpenMode,
        read_mode: ReadMode,
        ahead: &Arc<Ahead>,
    ) -> Result<Self> {
        let file = env.open(&store.join(FILE_NAME), mode)?;
        let window = Window::with_ahead(file, read_mode, ahead.clone());
        Ok(Index { window, checked: Checked::default(), uuid })
    }

    /// Makes the index of a new store, with an empty tree.
    ///
    /// # Errors
    /// If a write fails.
    pub fn create(
        env: &dyn Env,
        store: &Path,
        uuid: [u8; 16],
        mode: OpenMode,
        merged_below: u32,
    ) -> Result<()> {
        let file = env.open(&store.join(FILE_NAME), mode)?;
        let meta =
            Meta { uuid, transaction: 1, depth: 0, root: 0, pages: 2, merged_below, entries: 0 };
        file.set_len(0)?;
        file.write_at(&meta.encode(), u64::from(meta.page_number()) * PAGE_BYTES as u64)
    }

    /// The newest valid meta, `None` if the index is new or lost.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn meta(&self) -> Result<Option<Meta>> {
        if let Some(map) = self.window.mapped()
            && let Some(meta) = self.mapped_meta(&map)
        {
            return Ok(Some(meta));
        }
        let mut pages = [[0; META_READ_BYTES]; 2];
        for (page, offset) in pages.iter_mut().zip([0, PAGE_BYTES as u64]) {
            match self.window.read_at(page, offset) {
                // What cannot be read is as good as damaged; the other page may do.
                Err(error) if error.is_unreadable() => *page = [0; META_READ_BYTES],
                other => drop(other?),
            }
        }
        Ok(self.newest(&pages))
    }

    /// The newest valid one of two metas.
    fn newest(&self, pages: &[[u8; META_READ_BYTES]; 2]) -> Option<Meta> {
        let metas = (0..).zip(pages);
        metas
            .filter_map(|(number, page)| Meta::decode_page(page, number, &self.uuid))
            .max_by_key(|meta| meta.transaction)
    }

    /// Bytes of the disk blocks that the file occupies.
    ///
    /// # Errors
    /// If the file cannot be asked.
    pub fn disk_bytes(&self) -> Result<u64> {
        Ok(self.window.file().sizes()?.disk_bytes)
    }
}
