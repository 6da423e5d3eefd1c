//! What a build has made, and whether two builds have made the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use larder_engine::Key;

/// A file, or where a link leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Made {
    /// Permission bits, and a digest of the bytes.
    File(u32, Key),
    /// The target.
    Link(PathBuf),
}

/// Everything in a tree by its path in it.
pub type Tree = BTreeMap<PathBuf, Made>;

/// All that stands in a tree.
///
/// # Errors
/// If it cannot be read.
pub fn tree(root: &Path) -> io::Result<Tree> {
    let mut found = Tree::new();
    walk(root, Path::new(""), &mut found)?;
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let metadata = fs::symlink_metadata(entry.path())?;
        if metadata.is_dir() {
            walk(root, &path, found)?;
        } else if metadata.is_symlink() {
            found.insert(path, Made::Link(fs::read_link(entry.path())?));
        } else if metadata.is_file() {
            let mode = metadata.permissions().mode() & 0o7777;
            found.insert(path, Made::File(mode, Key::of(&fs::read(entry.path())?)));
        }
    }
    Ok(())
}

/// What two builds without a cache have made alike.
pub fn stable(first: &Tree, second: &Tree) -> Tree {
    let is_same = |(path, made): &(&PathBuf, &Made)| second.get(*path) == Some(made);
    first.iter().filter(is_same).map(|(path, made)| (path.clone(), made.clone())).collect()
}

/// Paths at which a build has something else than `stable`, or something that no build without a
/// cache made.
pub fn differences(stable: &Tree, any: &Tree, found: &Tree) -> Vec<PathBuf> {
    let other = stable.iter().filter(|(path, made)| found.get(*path) != Some(*made));
    let more = found.keys().filter(|path| !any.contains_key(*path));
    other.map(|(path, _)| path).chain(more).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_what_never_was_the_same_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("a.o", "object");
        write("stamp", "1");
        let first = tree(dir.path()).unwrap();
        write("stamp", "2");
        let second = tree(dir.path()).unwrap();
        let stable = stable(&first, &second);
        assert_eq!(stable.len(), 1);
        write("stamp", "3");
        assert!(differences(&stable, &second, &tree(dir.path()).unwrap()).is_empty());
        write("a.o", "another");
        write("b.o", "more");
        let found = differences(&stable, &second, &tree(dir.path()).unwrap());
        assert_eq!(found, ["a.o", "b.o"].map(PathBuf::from));
        fs::set_permissions(dir.path().join("stamp"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(dir.path().join("a.o")).unwrap();
        fs::remove_file(dir.path().join("b.o")).unwrap();
        let found = differences(&stable, &second, &tree(dir.path()).unwrap());
        assert_eq!(found, ["a.o"].map(PathBuf::from), "it is lost");
    }
}
