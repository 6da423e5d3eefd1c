//! The rules of the house that a program can check, over every file of the tree.
//!
//! 1. A check is a pure function from sources to complaints; each has a test that feeds it
//!    something bad, because a check that cannot fail checks nothing.
//! 2. Checks see code with strings and comments blanked out ([`source`]), so that a word in a
//!    message is no use of it.
//! 3. What a check needs to know (floors, homes of `unsafe`, long functions) stands in docs/, where
//!    people read it.

mod engine;
mod floors;
mod format_hash;
mod lengths;
mod links;
mod manifests;
mod paths;
mod source;
mod text;
mod unsafety;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::Source;

/// The root of the workspace.
fn root() -> PathBuf {
    larder_tests::workspace_root()
}

/// A document of the house.
fn document(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name} must exist: {error}"))
}

/// Every file of the tree, relative to the root, sorted: what git tracks or would track; without
/// git, everything outside target.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = git.current_dir(root()).output().ok().filter(|output| output.status.success());
    let mut files = match listed {
        Some(output) => {
            let text = String::from_utf8(output.stdout).expect("file names are UTF-8");
            text.split_terminator('\0').map(str::to_owned).collect()
        }
        None => {
            let mut files = Vec::new();
            walk(&root(), Path::new(""), &mut files);
            files
        }
    };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files.dedup();
    assert!(files.len() > 20, "only {} files were found: the search is broken", files.len());
    files
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder of the tree is readable") {
        let entry = entry.expect("a folder of the tree is readable");
        let name = folder.join(entry.file_name());
        if entry.path().is_dir() {
            if name != Path::new("target") && name != Path::new(".git") {
                walk(root, &name, files);
            }
        } else {
            files.push(name.to_str().expect("file names are UTF-8").to_owned());
        }
    }
}

/// Every Rust source below a folder, read and lexed.
fn sources(below: &str) -> Vec<Source> {
    let is_ours = |file: &String| file.starts_with(below) && file.ends_with(".rs");
    let read = |file: String| {
        let text = fs::read_to_string(root().join(&file)).expect("sources are UTF-8");
        Source::new(&file, &text)
    };
    files().into_iter().filter(is_ours).map(read).collect()
}

/// Fails with every complaint, if there is one.
#[track_caller]
fn assert_tidy(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

/// For self-tests: exactly one complaint, and it contains the words.
#[track_caller]
fn assert_complains(complaints: Vec<String>, words: &str) {
    assert!(complaints.len() == 1 && complaints[0].contains(words), "{complaints:?}");
}
