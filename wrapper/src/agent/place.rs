//! Where the agent of a store and its tiers listens.
//!
//! 1. The directory is `$XDG_RUNTIME_DIR/larder` where that variable names a directory of ours,
//!    else `/tmp/larder-UID`. It must be a directory, no link, belong to us and have the mode 0700;
//!    it is made so. Else nobody is asked: the directory may be another user's trap.
//! 2. The socket's name is made of the version of the protocol, the store with its number, the
//!    tiers with their credentials, and the files of keys as they are now, so that nobody is
//!    answered by an agent with other settings, or by that of a store which stood in this place
//!    before.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use larder_engine::Store;

use super::protocol::VERSION;
use crate::config::Config;

/// Hexadecimal digits of a socket's name: its path is at most 107 bytes long.
const NAME_DIGITS: usize = 32;

/// The socket of the agent for a store and the tiers of a configuration; the directory stands.
///
/// # Errors
/// If the directory is not ours alone or cannot be made.
pub fn socket(store: &Path, config: &Config) -> io::Result<PathBuf> {
    Ok(directory()?.join(name(store, config)))
}

fn name(store: &Path, config: &Config) -> String {
    let mut hasher = blake3::Hasher::new();
    let path = fs::canonicalize(store).unwrap_or_else(|_| store.to_path_buf());
    hasher.update(&[VERSION]).update(path.as_os_str().as_bytes()).update(&[0]);
    hasher.update(&Store::uuid_at(&path).unwrap_or_default());
    for tier in &config.tiers.value {
        hasher.update(&tier.identity());
    }
    for path in [config.signing_key.value.as_deref(), config.trusted_keys_in_use()] {
        let Some(path) = path else {
            hasher.update(&[0]);
            continue;
        };
        hasher.update(&[1]).update(path.as_os_str().as_bytes()).update(&[0]);
        if let Ok(facts) = fs::metadata(path) {
            let numbers =
                [facts.ino(), facts.len(), facts.ctime() as u64, facts.ctime_nsec() as u64];
            numbers.iter().for_each(|number| {
                hasher.update(&number.to_le_bytes());
            });
        }
    }
    format!("agent-{}", &hasher.finalize().to_hex()[..NAME_DIGITS])
}

/// The private directory.
fn directory() -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let of_session = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_session = of_session.filter(|path| {
        path.is_absolute() && fs::metadata(path).is_ok_and(|is| is.is_dir() && is.uid() == user)
    });
    let path = match of_session {
        Some(path) => path.join("larder"),
        None => Path::new("/tmp").join(format!("larder-{user}")),
    };
    private(&path, user)?;
    Ok(path)
}

/// Makes a directory that only `user` can enter, or sees that it is one.
fn private(path: &Path, user: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        let what = format!("{} is no directory of this user alone", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let path = dir.path().join("a");
        private(&path, user).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        private(&path, user).unwrap();
        assert!(private(&path, user + 1).is_err(), "of another user");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o710)).unwrap();
        assert!(private(&path, user).is_err(), "open to a group");
        symlink("a", dir.path().join("b")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(private(&dir.path().join("b"), user).is_err(), "a link");
        fs::write(dir.path().join("c"), "").unwrap();
        assert!(private(&dir.path().join("c"), user).is_err(), "a file");
    }

    #[test]
    fn a_store_that_is_made_anew_has_another_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let name = || {
            Store::open(&path, larder_engine::Options::new()).unwrap();
            name(&path, &Config::load())
        };
        let first = name();
        assert_eq!(name(), first);
        fs::remove_dir_all(&path).unwrap();
        assert_ne!(name(), first);
    }
}
