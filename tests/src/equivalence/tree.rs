//! What stands in a directory: looked at, compared and put back.
//!
//! 1. A look reads everything: kinds, modes, targets of links, bytes, and how many names a file
//!    has. Times are kept to be put back, but are not compared.
//! 2. Putting back touches only what differs, so that the inputs of a compile keep their inodes and
//!    times.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One entry of a directory.
#[derive(Clone, Debug)]
pub enum Node {
    /// A regular file.
    File {
        /// Permissions.
        mode: u32,
        /// Number of names.
        names: u64,
        /// Contents.
        bytes: Vec<u8>,
        /// Last change.
        time: SystemTime,
    },
    /// A symbolic link.
    Link(PathBuf),
    /// A directory.
    Directory(u32),
    /// Anything else.
    Other,
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        match (self, other) {
            (
                Node::File { mode: a, names: b, bytes: c, .. },
                Node::File { mode: d, names: e, bytes: f, .. },
            ) => (a, b, c) == (d, e, f),
            (Node::Link(a), Node::Link(b)) => a == b,
            (Node::Directory(a), Node::Directory(b)) => a == b,
            (Node::Other, Node::Other) => true,
            _ => false,
        }
    }
}

impl Node {
    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            Node::File { mode, bytes, names, .. } => {
                let sum = larder_engine::checksum::xxh3_64(bytes, 0);
                let names = if *names == 1 { String::new() } else { format!(" {names} names") };
                format!("file {mode:o} {} bytes {sum:016x}{names}", bytes.len())
            }
            Node::Link(target) => format!("link to {}", target.display()),
            Node::Directory(mode) => format!("directory {mode:o}"),
            Node::Other => "neither file nor directory".to_owned(),
        }
    }
}

/// Everything below some directories, by path.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

impl Tree {
    /// Looks at everything below `roots`.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn look(roots: &[&Path]) -> io::Result<Tree> {
        let mut tree = Tree::default();
        roots.iter().try_for_each(|root| tree.add(root))?;
        Ok(tree)
    }

    fn add(&mut self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let mode = metadata.permissions().mode() & 0o7777;
            let node = if metadata.is_dir() {
                self.add(&path)?;
                Node::Directory(mode)
            } else if metadata.is_file() {
                let (bytes, time) = (fs::read(&path)?, metadata.modified()?);
                Node::File { mode, names: metadata.nlink(), bytes, time }
            } else if metadata.is_symlink() {
                Node::Link(fs::read_link(&path)?)
            } else {
                Node::Other
            };
            self.0.insert(path, node);
        }
        Ok(())
    }

    /// The paths at which two trees differ.
    pub fn differences(&self, other: &Tree) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.0.keys().chain(other.0.keys()).collect();
        paths.sort();
        paths.dedup();
        let differs = |path: &&PathBuf| self.0.get(*path) != other.0.get(*path);
        paths.into_iter().filter(differs).cloned().collect()
    }

    /// Makes what stands below `roots` as it was in this tree.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn put_back(&self, roots: &[&Path]) -> io::Result<()> {
        let now = Tree::look(roots)?;
        let differences = self.differences(&now);
        for path in differences.iter().rev() {
            match now.0.get(path) {
                Some(Node::Directory(_))
                    if matches!(self.0.get(path), Some(Node::Directory(_))) => {}
                Some(Node::Directory(_)) => fs::remove_dir(path)?,
                Some(_) => fs::remove_file(path)?,
                None => {}
            }
        }
        differences.iter().try_for_each(|path| self.make(path))?;
        // A file with several names gets back one of its own under each: join them again.
        for path in differences {
            self.join(&path)?;
        }
        Ok(())
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        match self.0.get(path) {
            Some(Node::File { mode, bytes, time, .. }) => {
                fs::write(path, bytes)?;
                fs::File::options().write(true).open(path)?.set_modified(*time)?;
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            Some(Node::Link(target)) => symlink(target, path),
            Some(Node::Directory(mode)) => {
                if !path.is_dir() {
                    fs::create_dir(path)?;
                }
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            _ => Ok(()),
        }
    }

    /// Gives `path` the inode of another file that had as many names and the same bytes.
    fn join(&self, path: &Path) -> io::Result<()> {
        let Some(node @ Node::File { names, .. }) = self.0.get(path) else { return Ok(()) };
        if *names < 2 {
            return Ok(());
        }
        let same = |other: &&PathBuf| *other != path && self.0.get(*other) == Some(node);
        if let Some(other) = self.0.keys().find(same) {
            fs::remove_file(path)?;
            fs::hard_link(other, path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_put_back_and_the_untouched_keeps_its_inode() {
        let folder = crate::temp_dir();
        let root = folder.path();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/kept"), "kept").unwrap();
        fs::write(root.join("a/changed"), "old").unwrap();
        symlink("kept", root.join("a/link")).unwrap();
        fs::write(root.join("one"), "same").unwrap();
        fs::hard_link(root.join("one"), root.join("two")).unwrap();
        let inode = fs::metadata(root.join("a/kept")).unwrap().ino();
        let before = Tree::look(&[root]).unwrap();
        fs::write(root.join("a/changed"), "new").unwrap();
        fs::write(root.join("a/added"), "").unwrap();
        fs::remove_file(root.join("a/link")).unwrap();
        fs::remove_file(root.join("two")).unwrap();
        fs::create_dir_all(root.join("b/c")).unwrap();
        let changed = Tree::look(&[root]).unwrap();
        assert_ne!(before, changed);
        let names = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        let differences: Vec<_> = before.differences(&changed).iter().map(names).collect();
        assert_eq!(differences, ["a/added", "a/changed", "a/link", "b", "b/c", "one", "two"]);
        before.put_back(&[root]).unwrap();
        assert_eq!(before, Tree::look(&[root]).unwrap());
        assert_eq!(fs::metadata(root.join("a/kept")).unwrap().ino(), inode);
    }
}
