//! Opening a tier: its client, behind what holds for the clients of all kinds.

use std::fs;
use std::path::PathBuf;

use larder_engine::Key;

use super::address::Address;
use super::file::FileTier;
use super::http::HttpTier;
use super::memcached::MemcachedTier;
use super::redis::RedisTier;
use super::s3::S3Tier;
use super::settings::Secret;
use super::{Object, Objects, Tier, TierError, TierErrorKind, TierSettings, Usage};

/// A file with a credential is no longer than this.
const SECRET_BYTES_MAX: u64 = 64 << 10;

impl TierSettings {
    /// The client of this tier. Nothing is connected to, but the files that attributes name are
    /// read.
    ///
    /// # Errors
    /// If such a file cannot be read or makes no sense (`Denied`).
    pub fn open(&self) -> Result<Box<dyn Tier>, TierError> {
        match &self.address {
            Address::File { directory } => {
                Ok(Box::new(self.guarded(FileTier::new(directory, self))))
            }
            Address::Redis { .. } | Address::RedisCluster { .. } | Address::RedisUnix { .. } => {
                Ok(Box::new(self.guarded(RedisTier::new(self)?)))
            }
            Address::Memcached { .. } => Ok(Box::new(self.guarded(MemcachedTier::new(self)?))),
            Address::Http { .. } => Ok(Box::new(self.guarded(HttpTier::new(self)?))),
            Address::S3 { .. } => Ok(Box::new(self.guarded(S3Tier::new(self)?))),
        }
    }

    pub(super) fn guarded<T>(&self, inner: T) -> Guarded<T> {
        Guarded {
            name: self.display(),
            is_read_only: self.is_read_only,
            bytes_max: self.bytes_max,
            inner,
        }
    }
}

/// A client that is never asked to do what its settings forbid.
pub(super) struct Guarded<T> {
    name: String,
    is_read_only: bool,
    bytes_max: u64,
    inner: T,
}

impl<T> Guarded<T> {
    fn may_write(&self) -> Result<(), TierError> {
        if self.is_read_only {
            let text = format!("{}: is read-only by its settings", self.name);
            return Err(TierError::new(TierErrorKind::Denied, text));
        }
        Ok(())
    }

    fn may_put(&self, value: &[u8]) -> Result<(), TierError> {
        self.may_write()?;
        if value.len() as u64 > self.bytes_max {
            return Err(too_large(&self.name, value.len() as u64, self.bytes_max));
        }
        Ok(())
    }
}

impl<T: Tier> Tier for Guarded<T> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        self.inner.get(key)
    }

    fn exists(&self, key: &Key) -> Result<bool, TierError> {
        self.inner.exists(key)
    }

    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError> {
        self.may_put(body)?;
        self.inner.put(key, body)
    }

    fn remove(&self, key: &Key) -> Result<bool, TierError> {
        self.may_write()?;
        self.inner.remove(key)
    }

    fn usage(&self) -> Result<Usage, TierError> {
        self.inner.usage()
    }
}

impl<T: Objects> Objects for Guarded<T> {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, TierError> {
        self.inner.get(name)
    }

    fn exists(&self, name: &str) -> Result<bool, TierError> {
        self.inner.exists(name)
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), TierError> {
        self.may_put(value)?;
        self.inner.put(name, value)
    }

    fn list(&self, see: &mut dyn FnMut(Object)) -> Result<(), TierError> {
        self.inner.list(see)
    }
}

/// The error for a body above the limit.
pub(super) fn too_large(tier: &str, bytes: u64, bytes_max: u64) -> TierError {
    let text = format!("{tier}: a body of {bytes} bytes is above the limit of {bytes_max}");
    TierError::new(TierErrorKind::TooLarge, text)
}

/// The text of a credential.
pub(super) fn reveal(tier: &str, secret: &Secret) -> Result<String, TierError> {
    match secret {
        Secret::Text(text) => Ok(text.clone()),
        Secret::File(path) => {
            let text = small_file(tier, path)?;
            let line = text.lines().next().unwrap_or_default();
            if line.is_empty() || line.chars().any(char::is_control) {
                let text = format!("{tier}: {} has no credential", path.display());
                return Err(TierError::new(TierErrorKind::Denied, text));
            }
            Ok(line.to_owned())
        }
    }
}

/// The text of a file that settings name.
pub(super) fn small_file(tier: &str, path: &PathBuf) -> Result<String, TierError> {
    let refuse = |why: String| {
        let text = format!("{tier}: {}: {why}", path.display());
        TierError::new(TierErrorKind::Denied, text)
    };
    let facts = fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !facts.is_file() || facts.len() > SECRET_BYTES_MAX {
        return Err(refuse("is no small file".to_owned()));
    }
    fs::read_to_string(path).map_err(|error| refuse(error.kind().to_string()))
}
