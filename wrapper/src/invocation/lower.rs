//! What the lower stores have of what the own store has not.
//!
//! 1. Only a miss in the own store comes here, and the tiers come after. A lower store is opened
//!    when it is first asked, once in a call: a hit in the own store opens none.
//! 2. A lower store is only read. Nothing in its directory changes: no counter, no recency bit, no
//!    job, no lock.
//! 3. What it has is checked as what the own store has: by the full key and the checksums, and a
//!    manifest by what the inputs are now. It is asked for nothing that is true of one machine
//!    only.
//! 4. Whatever fails (there is no store, it is newer, it is damaged) is logged, counted once for
//!    each store and call, and a miss.
//! 5. With `lower_promote` what a hit came from is put into the own store: the result, the variant
//!    of the manifest that led to it, and each small record that was read. Later calls find it
//!    there, also where the lower store is gone.

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::path::PathBuf;

use larder_engine::{Entry, ErrorKind, Key, Put, Record, RecordKind, Result, SectionKind, Store};

use super::records::{Lead, read_whole_manifest, section_of};
use super::{Session, damaged};
use crate::manifest::Manifest;
use crate::outcome::Counter;
use crate::store::open_lower;

/// One lower store of a call.
#[derive(Debug)]
pub(super) struct Layer {
    path: PathBuf,
    /// The store, and what it had counted as damaged then, once it was asked; `None` if it cannot
    /// be opened.
    opened: OnceCell<Option<(Store, u64)>>,
    /// Whether something went wrong with it.
    has_failed: Cell<bool>,
}

/// A record, and the store that it stands in.
pub(super) struct Found<'a> {
    pub(super) record: Record,
    pub(super) store: &'a Store,
    /// Which lower store that is; `None` for the own one.
    pub(super) layer: Option<&'a Layer>,
}

impl Layer {
    pub(super) fn new(path: PathBuf) -> Layer {
        Layer { path, opened: OnceCell::new(), has_failed: Cell::new(false) }
    }
}

impl Session<'_> {
    /// The lower stores that can be opened, in their order.
    fn layers(&self) -> impl Iterator<Item = (&Layer, &Store)> {
        self.lower.iter().filter_map(|layer| {
            let open = || match open_lower(self.call.config, &layer.path) {
                Ok(store) => {
                    let damaged_before = damaged(&store);
                    Some((store, damaged_before))
                }
                Err(error) => {
                    self.fail(layer, &error);
                    None
                }
            };
            let (store, _) = layer.opened.get_or_init(open).as_ref()?;
            Some((layer, store))
        })
    }

    fn fail(&self, layer: &Layer, why: &dyn Display) {
        layer.has_failed.set(true);
        self.log(format_args!("lower store {}: {why}", layer.path.display()));
    }

    /// What was read of a lower store; nothing where that has failed.
    fn unless_failed<T>(&self, layer: &Layer, read: Result<Option<T>>) -> Option<T> {
        read.unwrap_or_else(|error| {
            self.fail(layer, &error);
            None
        })
    }

    /// Notes that the result of a lower store cannot be used.
    pub(super) fn note_damage_below(&self, layer: &Layer) {
        self.fail(layer, &"a result is damaged or lacks an output");
    }

    /// Counts the lower stores with which something went wrong.
    pub(super) fn count_lower_failures(&self) {
        for layer in &self.lower {
            if let Some(Some((store, damaged_before))) = layer.opened.get() {
                let more = damaged(store).saturating_sub(*damaged_before);
                if more > 0 {
                    let why = format_args!("{more} look-ups missed, because it is damaged there");
                    self.fail(layer, &why);
                }
            }
            if layer.has_failed.get() {
                self.count(Counter::LowerFailures);
            }
        }
    }

    /// The records of this kind that the lower stores have under a key.
    fn all_below<'a>(&'a self, kind: RecordKind, key: &Key) -> impl Iterator<Item = Found<'a>> {
        self.layers().filter_map(move |(layer, store)| {
            let record = self.unless_failed(layer, store.get(key))?;
            let is_it = record.kind() == Some(kind);
            is_it.then_some(Found { record, store, layer: Some(layer) })
        })
    }

    /// A section of a record of a lower store; damage counts as absence.
    fn section(&self, found: &Found<'_>, section: SectionKind) -> Option<Vec<u8>> {
        self.unless_failed(found.layer?, section_of(&found.record, section))
    }

    /// The result that the first lower store has which has it.
    pub(super) fn result_below(&self, key: &Key) -> Option<Found<'_>> {
        self.all_below(RecordKind::Result, key).next()
    }

    /// Whether a result stands in the own store or in a lower one.
    pub(super) fn has_result(&self, key: &Key) -> Result<bool> {
        Ok(self.store.contains(key)? || self.result_below(key).is_some())
    }

    /// A section of a small record that the own store has not.
    pub(super) fn section_below(
        &self,
        key: &Key,
        kind: RecordKind,
        section: SectionKind,
    ) -> Option<Vec<u8>> {
        self.all_below(kind, key).find_map(|found| {
            let bytes = self.section(&found, section)?;
            self.promote(&found, kind);
            Some(bytes)
        })
    }

    /// The names that a manifest of a lower store speaks of.
    pub(super) fn names_below(&self, key: &Key, manifest: &Manifest) -> Option<Vec<u8>> {
        let mut manifests = self.all_below(RecordKind::Manifest, key);
        manifests.find_map(|found| {
            self.section(&found, SectionKind::Data).filter(|names| manifest.has_names(names))
        })
    }

    /// The manifest of a lower store in which `fits` finds something, else the first one.
    pub(super) fn manifest_below(
        &self,
        key: &Key,
        fits: impl Fn(&Manifest) -> Option<Lead>,
    ) -> Option<(Manifest, Option<Lead>)> {
        let mut first = None;
        for found in self.all_below(RecordKind::Manifest, key) {
            let bytes = self.section(&found, SectionKind::Manifest);
            let Some(manifest) = bytes.and_then(|bytes| Manifest::decode(&bytes)) else { continue };
            let lead = fits(&manifest);
            if let Some((result, _)) = &lead {
                self.promote_variant(&found, &manifest, result);
                return Some((manifest, lead));
            }
            first.get_or_insert((manifest, None));
        }
        first
    }

    fn promotes(&self) -> bool {
        let config = self.call.config;
        let is_read_only = config.is_read_only() || self.store.is_read_only();
        config.lower_promote.value && !is_read_only && !self.is_dry
    }

    /// Puts a result of a lower store that was a hit into the own store.
    pub(super) fn promote_result(&self, found: &Found<'_>) {
        if self.promote(found, RecordKind::Result) {
            self.count(Counter::LowerPromotions);
        }
    }

    /// Puts a record of a lower store into the own store, if that is wanted. Whether it is there.
    fn promote(&self, found: &Found<'_>, kind: RecordKind) -> bool {
        let Some(layer) = found.layer.filter(|_| self.promotes()) else { return false };
        let body = found.record.portable_body(self.call.config.zstd_level());
        let Some(body) = self.unless_failed(layer, body.map(Some)) else { return false };
        let put = self.store.put_body_of(&found.record.key(), &[kind], &body);
        match put {
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => {
                self.fail(layer, &error);
                false
            }
            put => self.is_promoted(put),
        }
    }

    /// Adds one variant of a lower store's manifest to that of the own store.
    fn promote_variant(&self, found: &Found<'_>, manifest: &Manifest, result: &Key) {
        if !self.promotes() {
            return;
        }
        let names = self.section(found, SectionKind::Data).unwrap_or_default();
        let key = found.record.key();
        let mut own = read_whole_manifest(self, &key);
        if own.adopt(&manifest.clone().with_names(names), result) {
            let mut entry = Entry::new(key, RecordKind::Manifest, own.sections());
            entry.namespace = self.call.config.namespace.value.clone().into();
            self.is_promoted(self.store.put(&entry));
        }
    }

    fn is_promoted(&self, put: Result<Put>) -> bool {
        match put {
            Ok(Put::Stored) => return true,
            Ok(Put::Dropped(why)) => {
                self.count(Counter::StoreDropped);
                self.log(format_args!("not put into the own store: {why}"));
            }
            Err(error) => {
                self.count(Counter::StoreUnavailable);
                self.log(format_args!("not put into the own store: {error}"));
            }
        }
        false
    }
}
