//! The one error type of the engine.
//!
//! 1. A missing key is never an error: look-ups answer `Ok(None)`.
//! 2. Bytes that came from disk and make no sense are [`ErrorKind::Corrupt`], never a panic.
//! 3. The text is one sentence that says what was attempted and where (path, offset).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, as far as a caller has to tell cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused a call; the source says which error it gave.
    Io,
    /// Bytes of the store fail a checksum or contradict each other.
    Corrupt,
    /// A lock could not be had in time, or another process is recovering the store.
    Busy,
    /// The file system, the quota or `max_size` has no room.
    Full,
    /// The store (or its file system) cannot be written by this process.
    ReadOnly,
    /// The directory holds something that is no larder store.
    NotAStore,
    /// The store was written by a newer version of the format.
    NewerFormat,
    /// Another kernel seems to be using the store.
    OtherKernel,
    /// A value passed by the caller is outside the documented limits.
    Limit,
}

/// An error of the engine: a kind, a sentence, and where it happened.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    source: Option<io::Error>,
}

/// The result of every fallible call of the engine.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, what: what.into(), path: None, offset: None, source: None }))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, what)
    }

    /// An error from a refused call of the operating system; `what` says what was attempted.
    /// Public for those who implement [`Env`](crate::env::Env).
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorKind::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                ErrorKind::ReadOnly
            }
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(kind, what);
        error.0.source = Some(source);
        error
    }

    /// The same with the file or directory concerned, unless one is named already.
    pub fn at_path(mut self, path: &Path) -> Self {
        self.0.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// The same with the offset in bytes, unless one is named already.
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file or directory concerned, where one is known.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The offset in that file in bytes, where one is known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Whether damaged bytes were found.
    pub fn is_corrupt(&self) -> bool {
        self.kind() == ErrorKind::Corrupt
    }

    /// Whether bytes cannot be had: they are damaged, the disk says that it cannot read them, or a
    /// directory stands in place of their file. Everything else that can go wrong with a call says
    /// nothing about the bytes.
    pub fn is_unreadable(&self) -> bool {
        const NO_BYTES: [i32; 6] =
            [libc::EIO, libc::ENODATA, libc::EUCLEAN, libc::EBADMSG, libc::EREMOTEIO, libc::EISDIR];
        self.is_corrupt() || self.system_number().is_some_and(|number| NO_BYTES.contains(&number))
    }

    /// Whether trying again later may help.
    pub fn is_busy(&self) -> bool {
        self.kind() == ErrorKind::Busy
    }

    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        self.kind() == ErrorKind::Full
    }

    /// Whether a file was missing.
    pub fn is_not_found(&self) -> bool {
        self.source_kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether a file that was to be made exists already.
    pub(crate) fn is_already_there(&self) -> bool {
        self.source_kind() == Some(io::ErrorKind::AlreadyExists)
    }

    /// The number that the operating system gave, where it did.
    pub(crate) fn system_number(&self) -> Option<i32> {
        self.0.source.as_ref().and_then(io::Error::raw_os_error)
    }

    fn source_kind(&self) -> Option<io::ErrorKind> {
        self.0.source.as_ref().map(io::Error::kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(path) = &self.0.path {
            write!(f, " ({}", path.display())?;
            if let Some(offset) = self.0.offset {
                write!(f, " at byte {offset}")?;
            }
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has its own texts for error numbers")]
    fn display_is_a_sentence_with_place_and_cause() {
        let error = Error::io("cannot read the superblock", io::Error::from_raw_os_error(5))
            .at_path(Path::new("/s/superblock"))
            .at_offset(4096);
        assert_eq!(
            error.to_string(),
            "cannot read the superblock (/s/superblock at byte 4096): \
             Input/output error (os error 5)"
        );
        assert_eq!(error.kind(), ErrorKind::Io);
    }

    #[test]
    fn a_bad_medium_is_told_from_other_failures() {
        let error = |number| Error::io("x", io::Error::from_raw_os_error(number));
        assert!(error(libc::EIO).is_unreadable() && error(libc::EUCLEAN).is_unreadable());
        assert!(error(libc::EISDIR).is_unreadable() && !error(libc::EACCES).is_unreadable());
        assert!(!error(libc::EMFILE).is_unreadable() && !error(libc::EINTR).is_unreadable());
        assert!(Error::corrupt("x").is_unreadable());
    }

    #[test]
    fn a_full_disk_is_its_own_kind() {
        assert!(Error::io("x", io::Error::from_raw_os_error(libc::ENOSPC)).is_full());
        assert!(Error::io("x", io::Error::from_raw_os_error(libc::EDQUOT)).is_full());
    }
}
