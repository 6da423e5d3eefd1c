//! Files that a crate reads without anybody listing them, as the setting `extra_inputs` names them.
//!
//! 1. A path counts with its contents, a directory with all files below it. `*` and `?` stand for
//!    letters of one name, `**` for any number of directories.
//! 2. Names count from the first part with a star on, or from the path itself on, so that another
//!    checkout has the same ones. What is missing counts as missing.
//! 3. Links to directories are followed where a path names them, not where they are found.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::super::Session;
use crate::digest::Digest;
use crate::outcome::{Counter, Reason};
use crate::rust::arguments::Crate;

/// Names that are looked at for one crate.
const NAMES_MAX: usize = 16_384;

/// What stands at the further inputs of a crate; `None` if it has none.
pub(super) fn digest(session: &Session<'_>, made: &Crate) -> Result<Option<Digest>, Reason> {
    let all = &session.call.config.extra_inputs.value;
    let own = all.iter().filter(|(name, _)| *name == made.name);
    let patterns: Vec<&PathBuf> = own.flat_map(|(_, patterns)| patterns).collect();
    let mut hasher = blake3::Hasher::new();
    for pattern in &patterns {
        let mut found = Found::default();
        let base = found.expand(pattern).ok_or_else(|| failed(pattern, "too many files"))?;
        hasher.update(&(found.files.len() as u64).to_le_bytes());
        for path in &found.files {
            let name = path.strip_prefix(&base).unwrap_or(path).as_os_str().as_bytes();
            let digest = session.digests.digest(path);
            let digest = digest.map_err(|error| failed(path, &error.to_string()))?;
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(&digest);
        }
    }
    Ok((!patterns.is_empty()).then(|| *hasher.finalize().as_bytes()))
}

fn failed(path: &Path, what: &str) -> Reason {
    let text = format!("extra_inputs, {}: {what}", path.display());
    Reason::new(Counter::ErrorHashingExtraFile, text)
}

#[derive(Default)]
struct Found {
    /// Sorted, each once.
    files: Vec<PathBuf>,
    /// Names that were looked at.
    count: usize,
}

impl Found {
    /// Finds everything that a pattern means, and returns what names count from; `None` if it is
    /// too much.
    fn expand(&mut self, pattern: &Path) -> Option<PathBuf> {
        let parts: Vec<Component<'_>> = pattern.components().collect();
        let is_plain = |part: &&Component<'_>| !has_wildcard(part.as_os_str().as_bytes());
        let plain = parts.iter().take_while(is_plain).count();
        let base: PathBuf = parts[..plain].iter().collect();
        let rest: Vec<&[u8]> = parts[plain..].iter().map(|p| p.as_os_str().as_bytes()).collect();
        self.walk(&base, &rest)?;
        self.files.sort();
        self.files.dedup();
        Some(base)
    }

    fn walk(&mut self, at: &Path, rest: &[&[u8]]) -> Option<()> {
        self.count += 1;
        if self.count > NAMES_MAX {
            return None;
        }
        let Some((part, tail)) = rest.split_first() else {
            return match fs::metadata(at) {
                Ok(facts) if facts.is_dir() => self.walk(at, &[b"**", b"*"]),
                Ok(_) => {
                    self.files.push(at.to_path_buf());
                    Some(())
                }
                Err(_) => Some(()),
            };
        };
        if !has_wildcard(part) {
            return self.walk(&at.join(std::ffi::OsStr::from_bytes(part)), tail);
        }
        if *part == b"**" {
            self.walk(at, tail)?;
        }
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            if *part == b"**" {
                if is_directory {
                    self.walk(&entry.path(), rest)?;
                }
            } else if matches(part, name.as_bytes()) && (!is_directory || !tail.is_empty()) {
                self.walk(&entry.path(), tail)?;
            }
        }
        Some(())
    }
}

fn has_wildcard(part: &[u8]) -> bool {
    part.iter().any(|byte| matches!(byte, b'*' | b'?'))
}

/// Whether a name fits a pattern of letters, `*` and `?`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, tail @ ..]) => matches(rest, tail),
        ([letter, rest @ ..], [own, tail @ ..]) => letter == own && matches(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.sql", "b.txt", "m/1.sql", "m/2.sql", "m/deep/3.sql", "m/deep/x/4.sql"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        for (pattern, expected) in [
            ("a.sql", "a.sql"),
            ("none", ""),
            ("*.sql", "a.sql"),
            ("?.*", "a.sql b.txt"),
            ("m/*.sql", "m/1.sql m/2.sql"),
            ("m", "m/1.sql m/2.sql m/deep/3.sql m/deep/x/4.sql"),
            ("**/*.sql", "a.sql m/1.sql m/2.sql m/deep/3.sql m/deep/x/4.sql"),
            ("m/**/x/*", "m/deep/x/4.sql"),
        ] {
            let mut found = Found::default();
            found.expand(&dir.path().join(pattern)).unwrap();
            let names = found.files.iter().map(|path| path.strip_prefix(dir.path()).unwrap());
            let names: Vec<_> = names.map(|path| path.display().to_string()).collect();
            assert_eq!(names.join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn stars_fit_any_letters() {
        for (pattern, name, fits) in [
            ("*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.s*", "x.sql", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
