//! What clippy reads beside what rustc reads.
//!
//! 1. Its settings: `.clippy.toml` or `clippy.toml` in `CLIPPY_CONF_DIR`, else in
//!    `CARGO_MANIFEST_DIR`, else in the working directory, or in the next directory above that has
//!    one. The file is in the dependency file; where none is, or a nearer one may appear, the names
//!    are absent. So is `Cargo.toml` in the working directory, which is in the dependency file if
//!    it is there.
//! 2. The lints of its group `cargo` ask cargo about the whole workspace. Who turns them on by the
//!    command line, by `CLIPPY_ARGS` or at the head of the crate is not cached.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::absent::Group;
use crate::outcome::{Counter, Reason};
use crate::rust::arguments::Crate;

const MANIFEST: &str = "Cargo.toml";
const SETTINGS: [&str; 2] = [".clippy.toml", "clippy.toml"];

/// The group, and the lints in it.
const OF_CARGO: [&str; 6] = [
    "clippy::cargo",
    "clippy::multiple_crate_versions",
    "clippy::negative_feature_names",
    "clippy::redundant_feature_names",
    "clippy::wildcard_dependencies",
    "clippy::lint_groups_priority",
];

/// Whether a call of clippy asks about more than the crate.
pub(super) fn check(made: &Crate, is_clippy: bool) -> Result<(), Reason> {
    if !is_clippy {
        return Ok(());
    }
    let variable = env::var("CLIPPY_ARGS").unwrap_or_default();
    let source = fs::read_to_string(&made.source).unwrap_or_default();
    let texts = made.key_words.iter().chain([&variable, &source]);
    for text in texts {
        let text: String = text.split_whitespace().collect();
        if let Some(lint) = OF_CARGO.iter().find(|lint| text.contains(**lint)) {
            let text = format!("{lint} asks about the whole workspace");
            return Err(Reason::new(Counter::UnsupportedCompilerOption, text));
        }
    }
    Ok(())
}

/// Names of files that clippy reads, and that are not there.
pub(super) fn absent_files() -> Vec<Group> {
    let named = ["CLIPPY_CONF_DIR", "CARGO_MANIFEST_DIR"].into_iter().find_map(env::var_os);
    let start = named.map(PathBuf::from).unwrap_or_else(|| PathBuf::from("."));
    let mut groups = absent_from(&fs::canonicalize(&start).unwrap_or(start));
    if !Path::new(MANIFEST).exists() {
        let names = vec![MANIFEST.as_bytes().to_vec()];
        groups.push(Group { directory: PathBuf::new(), prefix: Vec::new(), names });
    }
    groups
}

fn absent_from(start: &Path) -> Vec<Group> {
    let mut groups = Vec::new();
    for directory in start.ancestors() {
        let is_missing = |name: &&&str| !directory.join(name).exists();
        let missing: Vec<_> = SETTINGS.iter().filter(is_missing).collect();
        let names = missing.iter().map(|name| name.as_bytes().to_vec()).collect();
        groups.push(Group { directory: directory.to_path_buf(), prefix: Vec::new(), names });
        if missing.len() < SETTINGS.len() {
            break;
        }
    }
    groups.retain(|group| !group.names.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_looked_for_up_to_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let all = absent_from(&below);
        assert_eq!(all.len(), below.ancestors().count());
        fs::write(dir.path().join("a/clippy.toml"), "").unwrap();
        let groups = absent_from(&below);
        let names: Vec<usize> = groups.iter().map(|group| group.names.len()).collect();
        assert_eq!((groups[0].directory.as_path(), names), (below.as_path(), vec![2, 1]));
    }
}
