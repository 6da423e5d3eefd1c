//! For which other cache larder stands, where it is called by the name of a compiler.
//!
//! 1. A link that leads over a name of ccache or sccache stands for that one.
//! 2. A copy or a hard link tells nothing by itself: it is that one's if the same file stands
//!    beside it under its plain name, and ccache's if a variable of ccache is set.
//! 3. Everything else is larder's own.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{ccache, sccache};

/// Links that are followed to find a name.
const LINKS_MAX: usize = 40;

/// Another cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Mask {
    Ccache,
    Sccache,
}

/// The cache that a program of this name is.
pub fn of_name(name: &OsStr) -> Option<Mask> {
    if ccache::is_name(name) {
        return Some(Mask::Ccache);
    }
    sccache::is_name(name).then_some(Mask::Sccache)
}

/// The cache that larder stands for under the name of a compiler.
pub fn behind(called: &OsStr) -> Option<Mask> {
    let mut path = place_of(called)?;
    let mut is_link = false;
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        is_link = true;
        path = path.parent().unwrap_or(Path::new("")).join(target);
        if let Some(mask) = path.file_name().and_then(of_name) {
            return Some(mask);
        }
    }
    if is_link {
        return None;
    }
    twin(&path).or_else(|| ccache::has_variable().then_some(Mask::Ccache))
}

/// Where larder was found under the name by which it was called.
fn place_of(called: &OsStr) -> Option<PathBuf> {
    if called.as_bytes().contains(&b'/') {
        return Some(called.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(called)).find(|path| path.is_file())
}

/// The cache as which the file stands beside itself, as a hard link.
fn twin(path: &Path) -> Option<Mask> {
    let facts = |path: &Path| fs::metadata(path).map(|facts| (facts.dev(), facts.ino())).ok();
    let own = facts(path)?;
    let names = [("ccache", Mask::Ccache), ("sccache", Mask::Sccache)];
    let is_own = |name: &str| facts(&path.with_file_name(name)) == Some(own);
    names.into_iter().find(|(name, _)| is_own(name)).map(|(_, mask)| mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_cache_is_meant() {
        let of = |name: &str| of_name(OsStr::new(name));
        for name in ["ccache", "ccache-4.10"] {
            assert_eq!(of(name), Some(Mask::Ccache), "{name}");
        }
        for name in ["sccache", "sccache-0.19", "sccache.real"] {
            assert_eq!(of(name), Some(Mask::Sccache), "{name}");
        }
        for name in ["sccache-dist", "sccached", "larder", "gcc", ""] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
