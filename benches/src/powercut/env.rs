//! The environment of the processes here: the real one under another boot id, later, and without
//! syncs where a sync that is forgotten has to be found.

use std::path::Path;
use std::sync::Arc;

use larder_engine::Result;
use larder_engine::env::map::{Map, SharedWords};
use larder_engine::env::{Env, File, FileSizes, OpenMode, RealEnv, Sharing, Stamp};

/// An environment of [`powercut`](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct CutEnv {
    /// How often the power was cut: zero is this kernel. Each time is another boot id, and two
    /// minutes later.
    pub boot: u64,
    /// Whether syncs do nothing.
    pub forgets_syncs: bool,
}

/// A minute has to pass before another kernel may take a store over.
const SECS_PER_BOOT: u64 = 120;

impl CutEnv {
    /// As the engine wants it.
    pub fn shared(self) -> Arc<dyn Env> {
        Arc::new(self)
    }
}

impl Env for CutEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = RealEnv.open(path, mode)?;
        Ok(if self.forgets_syncs { Arc::new(Forgetful(file)) } else { file })
    }

    fn copies_on_write(&self, path: &Path) -> bool {
        RealEnv.copies_on_write(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        RealEnv.create_dir(path, mode)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        RealEnv.list(path)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        RealEnv.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        RealEnv.rename(from, to)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        RealEnv.set_mode(path, mode)
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        RealEnv.sizes(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        if self.forgets_syncs { Ok(()) } else { RealEnv.sync_dir(path) }
    }

    fn boot_id(&self) -> [u8; 16] {
        let mut id = RealEnv.boot_id();
        for (byte, boot) in id.iter_mut().zip(self.boot.to_le_bytes()) {
            *byte ^= boot;
        }
        id
    }

    fn now_secs(&self) -> u64 {
        RealEnv.now_secs() + self.boot * SECS_PER_BOOT
    }

    fn monotonic_ms(&self) -> u64 {
        RealEnv.monotonic_ms()
    }

    fn sleep_us(&self, microseconds: u64) {
        RealEnv.sleep_us(microseconds);
    }

    fn random(&self) -> u64 {
        RealEnv.random()
    }
}

/// A file whose syncs do nothing.
#[derive(Debug)]
struct Forgetful(Arc<dyn File>);

impl File for Forgetful {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sizes(&self) -> Result<FileSizes> {
        self.0.sizes()
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.0.set_len(len_bytes)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn preallocate(&self, offset: u64, bytes: u64) -> Result<()> {
        self.0.preallocate(offset, bytes)
    }

    fn stamp(&self) -> Option<Stamp> {
        self.0.stamp()
    }

    fn map(&self, bytes: usize) -> Result<Map> {
        self.0.map(bytes)
    }

    fn map_words(&self, words: usize) -> Result<SharedWords> {
        self.0.map_words(words)
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        self.0.try_lock(byte, sharing)
    }

    fn unlock(&self, byte: u64) {
        self.0.unlock(byte);
    }

    fn clone_from(&self, source: &dyn File, from: u64, bytes: u64, to: u64) -> Result<()> {
        (*self.0).clone_from(source, from, bytes, to)
    }

    fn descriptor(&self) -> Option<i32> {
        self.0.descriptor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_boot_has_its_own_id_and_comes_later() {
        let env = |boot| CutEnv { boot, forgets_syncs: false };
        assert_eq!(env(0).boot_id(), RealEnv.boot_id());
        assert!(env(1).boot_id() != env(0).boot_id() && env(2).boot_id() != env(1).boot_id());
        assert!(env(1).now_secs() >= RealEnv.now_secs() + 60);
    }
}
