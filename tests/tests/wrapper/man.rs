//! `larder man`: pages that the formatters of this machine take without a word.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use larder_tests::find_or_skip;

use super::Sandbox;

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn pages(sandbox: &Sandbox) -> Vec<String> {
    let output = sandbox.larder(&["man", "pages/man1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mut names: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn every_command_has_a_page() {
    let sandbox = Sandbox::new();
    let names = pages(&sandbox);
    let there = fs::read_dir(sandbox.path("pages/man1")).unwrap().count();
    assert_eq!(names.len(), there);
    for name in ["larder.1", "larder-stats.1", "larder-job.1", "larder-doctor.1", "larder-man.1"] {
        assert!(names.contains(&format!("pages/man1/{name}")), "{names:?}");
    }
    let main = sandbox.larder(&["man"]);
    assert_eq!(main.stdout, fs::read(sandbox.path("pages/man1/larder.1")).unwrap());
    let json = sandbox.larder(&["man", "pages/man1", "--json"]);
    let page: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(page["written"].as_array().unwrap().len(), there);
    let job = fs::read_to_string(sandbox.path("pages/man1/larder-job.1")).unwrap();
    assert!(job.contains("larder job start") && job.contains("\\-\\-json"), "{job}");
    let main = text(&main);
    assert!(main.contains("LARDER_DIR") && main.contains("larder\\-doctor (1)"), "{main}");
}

#[test]
fn pages_that_cannot_be_written_say_why() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    for place in ["file", "file/inner"] {
        let output = sandbox.larder(&["man", place]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output);
        assert!(said.contains(&format!("cannot write {place}")), "{said}");
        assert!(said.contains("give a directory"), "{said}");
    }
}

/// Runs a formatter on each page; it may say nothing but the page.
fn formatted(sandbox: &Sandbox, program: &Path, words: &[&str]) {
    for page in pages(sandbox) {
        let mut command = Command::new(program);
        command.args(words).arg(&page).current_dir(sandbox.work());
        command.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").env("MANPAGER", "cat");
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{page}: {errors}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.is_empty() || said.contains("SYNOPSIS"), "{page}: {said}");
    }
}

#[test]
fn groff_has_no_complaint() {
    let Some(groff) = find_or_skip("groff") else { return };
    formatted(&Sandbox::new(), &groff, &["-man", "-ww", "-z", "-Tutf8"]);
}

#[test]
fn man_shows_the_pages() {
    let Some(man) = find_or_skip("man") else { return };
    formatted(&Sandbox::new(), &man, &["--warnings", "-l"]);
}

#[test]
fn mandoc_has_no_complaint() {
    let Some(mandoc) = find_or_skip("mandoc") else { return };
    formatted(&Sandbox::new(), &mandoc, &["-T", "lint", "-W", "warning"]);
}
