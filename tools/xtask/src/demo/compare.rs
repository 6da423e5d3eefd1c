//! Whether two builds are the same: their trees, file by file, and what the compilers said.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::process::Outcome;

/// Compares every file of `tree` with the one in `expected`: existence, bytes, mode. Adds a
/// sentence for each difference, and returns the number of files compared.
pub fn trees(
    expected: &Path,
    tree: &Path,
    phase: &str,
    differences: &mut Vec<String>,
) -> Outcome<usize> {
    let (mut names, mut others) = (BTreeSet::new(), BTreeSet::new());
    collect(expected, Path::new(""), &mut names)?;
    collect(tree, Path::new(""), &mut others)?;
    for name in names.symmetric_difference(&others) {
        let what = if names.contains(name) { "is missing" } else { "should not be there" };
        differences.push(format!("{phase}: {} {what}", name.display()));
    }
    let both: Vec<_> = names.intersection(&others).collect();
    for name in &both {
        let (left, right) = (expected.join(name), tree.join(name));
        if fs::read(&left)? != fs::read(&right)? {
            differences.push(format!("{phase}: {} has other bytes", name.display()));
        }
        let mode = |path: &Path| fs::metadata(path).map(|data| data.permissions().mode());
        if mode(&left)? != mode(&right)? {
            differences.push(format!("{phase}: {} has another mode", name.display()));
        }
    }
    Ok(both.len())
}

/// Compares status, stdout and stderr of each unit.
pub fn messages(
    units: &[PathBuf],
    expected: &[Output],
    replies: &[Output],
    phase: &str,
    differences: &mut Vec<String>,
) {
    for (unit, (left, right)) in units.iter().zip(expected.iter().zip(replies)) {
        let parts = [
            ("exit status", left.status == right.status),
            ("stdout", left.stdout == right.stdout),
            ("stderr", left.stderr == right.stderr),
        ];
        for (what, same) in parts {
            if !same {
                differences.push(format!("{phase}: {} has another {what}", unit.display()));
            }
        }
    }
}

fn collect(root: &Path, folder: &Path, names: &mut BTreeSet<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &name, names)?;
        } else {
            names.insert(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two trees with the same three files.
    fn twins() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (folder.path().join("left"), folder.path().join("right"));
        for tree in [&left, &right] {
            fs::create_dir_all(tree.join("sub")).unwrap();
            for name in ["a.o", "a.d", "sub/b.o"] {
                fs::write(tree.join(name), name).unwrap();
            }
        }
        (folder, left, right)
    }

    #[test]
    fn equal_trees_have_no_differences() {
        let (_folder, left, right) = twins();
        let mut differences = Vec::new();
        assert_eq!(trees(&left, &right, "warm", &mut differences).unwrap(), 3);
        assert!(differences.is_empty(), "{differences:?}");
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let (_folder, left, right) = twins();
        fs::write(right.join("a.o"), "other").unwrap();
        fs::set_permissions(right.join("a.d"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(right.join("sub/b.o")).unwrap();
        fs::write(right.join("more.o"), "").unwrap();
        let mut differences = Vec::new();
        trees(&left, &right, "warm", &mut differences).unwrap();
        differences.sort();
        let expected = [
            "warm: a.d has another mode",
            "warm: a.o has other bytes",
            "warm: more.o should not be there",
            "warm: sub/b.o is missing",
        ];
        assert_eq!(differences, expected);
    }

    #[test]
    fn other_messages_are_a_difference() {
        let said = |text: &str| {
            std::process::Command::new("sh").arg("-c").arg(text).output().expect("sh is here")
        };
        let units = [PathBuf::from("a.c")];
        let mut differences = Vec::new();
        let (plain, warm) = (said("echo one >&2"), said("echo two >&2; exit 3"));
        messages(&units, &[plain], &[warm], "warm", &mut differences);
        assert_eq!(
            differences,
            ["warm: a.c has another exit status", "warm: a.c has another stderr"]
        );
    }
}
