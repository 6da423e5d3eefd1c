//! A tier of files: a directory, as a rule on a network file system.
//!
//! 1. A body is `DIRECTORY/PREFIX<2 digits>/<62 digits>` of its key.
//! 2. A body is written beside its place under a name of its own and renamed, so nobody sees a
//!    half-written one. A writer that is killed leaves a file `larder-*.tmp`, which nobody reads.
//! 3. Files and directories get what the umask leaves of 0666 and 0777: who shares the directory
//!    decides by its mode, group or default access lists.
//! 4. Directories are made as they are needed, but the first one only in a parent that exists:
//!    without that the file system is not mounted, and the tier cannot be reached.
//! 5. A call on a file system that hangs hangs with it: the kernel has no time-out for files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::Key;

use super::open::too_large;
use super::{Tier, TierError, TierErrorKind, TierSettings, Usage};

/// Names that are tried for a new file, in case somebody else has the first one.
const NAMES_MAX: usize = 16;
/// What is reserved for a body at once, however long its file claims to be.
const RESERVE_BYTES_MAX: u64 = 1 << 20;

/// A directory of bodies.
pub(super) struct FileTier {
    name: String,
    directory: PathBuf,
    prefix: String,
    bytes_max: u64,
}

impl FileTier {
    pub(super) fn new(directory: &Path, settings: &TierSettings) -> FileTier {
        FileTier {
            name: settings.display(),
            directory: directory.to_owned(),
            prefix: settings.prefix.clone(),
            bytes_max: settings.bytes_max,
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        let digits = key.to_string();
        let (folder, file) = digits.split_at(2);
        self.directory.join(format!("{}{folder}/{file}", self.prefix))
    }

    fn error(&self, error: &io::Error) -> TierError {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                TierErrorKind::Denied
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TierErrorKind::Full,
            io::ErrorKind::TimedOut => TierErrorKind::TimedOut,
            _ => TierErrorKind::Unreachable,
        };
        TierError::new(kind, format!("{}: {error}", self.name))
    }

    /// A file that is not there is none, unless the whole tier is not there.
    fn absent<T>(&self, error: &io::Error, none: T) -> Result<T, TierError> {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            return Err(self.error(error));
        }
        self.check_mounted().map(|()| none)
    }

    /// An unmade directory is an empty tier, if the directory around it is there.
    fn check_mounted(&self) -> Result<(), TierError> {
        let is_directory = |path: &Path| fs::metadata(path).map(|facts| facts.is_dir());
        let text = match is_directory(&self.directory) {
            Ok(true) => return Ok(()),
            Ok(false) => "is no directory",
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = self.directory.parent().map(is_directory);
                if matches!(parent, Some(Ok(true))) {
                    return Ok(());
                }
                "there is no such directory, and none around it"
            }
            Err(error) => return Err(self.error(&error)),
        };
        Err(TierError::new(TierErrorKind::Unreachable, format!("{}: {text}", self.name)))
    }

    /// Makes the directories of a file.
    fn make_folder(&self, folder: &Path) -> Result<(), TierError> {
        self.check_mounted()?;
        let inner = folder.strip_prefix(&self.directory).unwrap_or(Path::new(""));
        let mut path = self.directory.clone();
        let make = |path: &Path| match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(self.error(&error)),
            _ => Ok(()),
        };
        make(&path)?;
        for part in inner.components() {
            path.push(part);
            make(&path)?;
        }
        Ok(())
    }

    fn write(&self, temporary: &Path, file: io::Result<File>, body: &[u8]) -> io::Result<()> {
        let mut file = file?;
        let written = file.write_all(body);
        drop(file);
        written.inspect_err(|_| {
            let _ = fs::remove_file(temporary);
        })
    }
}

impl Tier for FileTier {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        // A pipe that somebody put there must not hold us up.
        let opened =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(self.path(key));
        let file = match opened {
            Ok(file) => file,
            Err(error) => return self.absent(&error, None),
        };
        let facts = file.metadata().map_err(|error| self.error(&error))?;
        if !facts.is_file() {
            return Ok(None);
        }
        if facts.len() > self.bytes_max {
            return Err(too_large(&self.name, facts.len(), self.bytes_max));
        }
        let mut body = Vec::with_capacity(facts.len().min(RESERVE_BYTES_MAX) as usize);
        // It may grow while it is read.
        let mut bounded = file.take(self.bytes_max + 1);
        bounded.read_to_end(&mut body).map_err(|error| self.error(&error))?;
        if body.len() as u64 > self.bytes_max {
            return Err(too_large(&self.name, body.len() as u64, self.bytes_max));
        }
        Ok(Some(body))
    }

    fn exists(&self, key: &Key) -> Result<bool, TierError> {
        match fs::metadata(self.path(key)) {
            Ok(facts) => Ok(facts.is_file()),
            Err(error) => self.absent(&error, false),
        }
    }

    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.directory);
        for _ in 0..NAMES_MAX {
            let temporary = folder.join(temporary_name());
            let create = || OpenOptions::new().write(true).create_new(true).open(&temporary);
            let mut created = create();
            if matches!(&created, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                self.make_folder(folder)?;
                created = create();
            }
            match self.write(&temporary, created, body) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(self.error(&error)),
                Ok(()) => {}
            }
            return fs::rename(&temporary, &path).map_err(|error| {
                let _ = fs::remove_file(&temporary);
                self.error(&error)
            });
        }
        let text = format!("{}: no new file can be made", self.name);
        Err(TierError::new(TierErrorKind::Protocol, text))
    }

    fn remove(&self, key: &Key) -> Result<bool, TierError> {
        match fs::remove_file(self.path(key)) {
            Ok(()) => Ok(true),
            Err(error) => self.absent(&error, false),
        }
    }

    fn usage(&self) -> Result<Usage, TierError> {
        self.check_mounted()?;
        Ok(Usage::default())
    }
}

/// A name that no other writer has, on this machine or on another one.
fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("larder-{:x}-{:x}-{count:x}.tmp", std::process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path, attributes: &str) -> Box<dyn Tier> {
        let text = format!("file://{}{attributes}", directory.display());
        TierSettings::parse(&text).unwrap().open().unwrap()
    }

    fn files(directory: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_body_comes_back_from_where_the_key_says() {
        let folder = tempfile::tempdir().unwrap();
        let tier = open(&folder.path().join("tier"), "");
        let key = Key::of(b"a");
        assert_eq!(tier.get(&key), Ok(None), "an unmade directory is an empty tier");
        assert_eq!(tier.exists(&key), Ok(false));
        assert_eq!(tier.remove(&key), Ok(false));
        tier.put(&key, b"first").unwrap();
        tier.put(&key, b"second").unwrap();
        assert_eq!(tier.get(&key), Ok(Some(b"second".to_vec())));
        assert_eq!(tier.exists(&key), Ok(true));
        let digits = key.to_string();
        let inner = folder.path().join("tier").join(&digits[..2]);
        assert_eq!(files(&inner), [&digits[2..]], "and no other file is left");
        assert_eq!(tier.remove(&key), Ok(true));
        assert_eq!(tier.get(&key), Ok(None));
    }

    #[test]
    fn a_prefix_stands_before_the_digits() {
        let folder = tempfile::tempdir().unwrap();
        let tier = open(folder.path(), "|prefix=a/b/c-");
        let key = Key::of(b"a");
        tier.put(&key, b"body").unwrap();
        assert_eq!(tier.get(&key), Ok(Some(b"body".to_vec())));
        let digits = key.to_string();
        assert!(folder.path().join(format!("a/b/c-{}/{}", &digits[..2], &digits[2..])).is_file());
    }

    #[test]
    fn a_tier_that_is_not_mounted_is_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        let tier = open(&folder.path().join("no/tier"), "");
        let key = Key::of(b"a");
        let kinds = [
            tier.get(&key).unwrap_err().kind(),
            tier.exists(&key).unwrap_err().kind(),
            tier.put(&key, b"body").unwrap_err().kind(),
            tier.remove(&key).unwrap_err().kind(),
            tier.usage().unwrap_err().kind(),
        ];
        assert_eq!(kinds, [TierErrorKind::Unreachable; 5]);
        assert!(files(folder.path()).is_empty(), "nothing was made");
    }

    #[test]
    fn limits_hold_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let (small, large) = (open(folder.path(), "|max-bytes=4"), open(folder.path(), ""));
        let key = Key::of(b"a");
        assert_eq!(small.put(&key, b"12345").unwrap_err().kind(), TierErrorKind::TooLarge);
        assert_eq!(large.get(&key), Ok(None), "it was not written");
        large.put(&key, b"12345").unwrap();
        assert_eq!(small.get(&key).unwrap_err().kind(), TierErrorKind::TooLarge);
        small.put(&key, b"1234").unwrap();
        assert_eq!(small.get(&key), Ok(Some(b"1234".to_vec())));
    }

    #[test]
    fn a_read_only_tier_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::of(b"a");
        open(folder.path(), "").put(&key, b"body").unwrap();
        let tier = open(folder.path(), "|read-only");
        assert_eq!(tier.put(&key, b"other").unwrap_err().kind(), TierErrorKind::Denied);
        assert_eq!(tier.remove(&key).unwrap_err().kind(), TierErrorKind::Denied);
        assert_eq!(tier.get(&key), Ok(Some(b"body".to_vec())));
    }

    #[test]
    fn readers_see_whole_bodies_only() {
        let folder = tempfile::tempdir().unwrap();
        let (tier, key) = (open(folder.path(), ""), Key::of(b"a"));
        let (tier, key) = (&*tier, &key);
        tier.put(key, &[0; 50_000]).unwrap();
        std::thread::scope(|scope| {
            for number in 1..3_u8 {
                scope.spawn(move || {
                    let bytes = 50_000 * usize::from(number);
                    (0..50).for_each(|_| tier.put(key, &vec![number; bytes]).unwrap());
                });
            }
            for _ in 0..200 {
                let body = tier.get(key).unwrap().unwrap();
                let number = body[0];
                assert!(body.iter().all(|byte| *byte == number), "two bodies in one");
                assert_eq!(body.len(), 50_000 * usize::from(number.max(1)));
            }
        });
        let inner = folder.path().join(&key.to_string()[..2]);
        assert_eq!(files(&inner).len(), 1, "nothing else is left");
    }

    #[test]
    fn the_umask_decides_who_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (tier, key) = (open(&folder.path().join("tier"), ""), Key::of(b"a"));
        tier.put(&key, b"body").unwrap();
        let digits = key.to_string();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        // As those that this process makes without any wish.
        fs::write(folder.path().join("file"), "").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        let inner = folder.path().join("tier").join(&digits[..2]);
        assert_eq!(mode(&inner.join(&digits[2..])), mode(&folder.path().join("file")));
        assert_eq!(mode(&inner), mode(&folder.path().join("folder")));
        assert_eq!(mode(&folder.path().join("tier")), mode(&folder.path().join("folder")));
    }

    #[test]
    fn what_is_no_file_is_a_miss_and_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let tier = open(folder.path(), "");
        let key = Key::of(b"a");
        let digits = key.to_string();
        let inner = folder.path().join(&digits[..2]);
        fs::create_dir(&inner).unwrap();
        let path = inner.join(&digits[2..]);
        let pipe = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
        assert_eq!(tier.get(&key), Ok(None));
        assert_eq!(tier.exists(&key), Ok(false));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(tier.get(&key), Ok(None));
    }
}
