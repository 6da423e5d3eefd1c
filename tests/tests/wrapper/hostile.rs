//! Records of a store that say what no wrapper has written, as whoever shares a store or answers
//! for a remote tier could send them: nothing is written but what the compile names, and nothing
//! that is restored runs as somebody else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use larder_engine::{Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};

use super::rust::{LIB, compiler, library};
use super::{Sandbox, compilers, wait_a_tick};

const EVIL: &[u8] = b"this was sent by somebody else";

/// Sections that no compile has asked for; `outside` is a file that nobody may write.
fn more_sections(outside: &Path) -> Vec<Section<'static>> {
    let names: [&[u8]; 9] = [
        b"../evil",
        b"evil",
        b"dwo:../evil.dwo",
        b"dwo:/evil.dwo",
        b"dwo:evil.rs",
        b"a.c",
        b"a.rs",
        b"./a.o",
        outside.as_os_str().as_encoded_bytes(),
    ];
    let kinds = [SectionKind::NamedFile, SectionKind::Object, SectionKind::DwarfObject];
    let named = |name: &[u8]| {
        let section = |kind| Section::new(kind, EVIL).mode(0o7777).name(name.to_vec());
        kinds.map(section)
    };
    let unnamed = [SectionKind::Object, SectionKind::Listing, SectionKind::CoverageNotes];
    let unnamed = unnamed.map(|kind| Section::new(kind, EVIL).mode(0o7777));
    names.into_iter().flat_map(named).chain(unnamed).collect()
}

/// Gives every result further sections, and all its sections every bit of a mode.
fn poison(sandbox: &Sandbox, more: &[Section<'static>]) {
    let store = Store::open(&sandbox.store(), Options::new()).unwrap();
    let mut count = 0;
    for record in store.snapshot().unwrap().iter() {
        if record.kind() != Some(RecordKind::Result) {
            continue;
        }
        let section = |(number, info): (usize, &larder_engine::SectionInfo)| {
            let data = record.read(number).unwrap();
            let mode = info.mode | 0o7000;
            Section::new(info.kind.unwrap(), data).mode(mode).name(info.name.clone())
        };
        let own = record.sections().iter().enumerate().map(section);
        let key: Key = record.key();
        let entry = Entry::new(key, RecordKind::Result, own.chain(more.iter().cloned()).collect());
        assert_eq!(store.put(&entry).unwrap(), Put::Stored);
        count += 1;
    }
    assert!(count > 0, "nothing was stored");
}

/// Every file below the sandbox but those of larder, with its mode and bytes.
fn files(sandbox: &Sandbox) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![sandbox.dir.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path == sandbox.store() || path == sandbox.dir.path().join("log") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mode = entry.metadata().unwrap().permissions().mode();
            files.insert(path.clone(), (mode, fs::read(path).unwrap()));
        }
    }
    files
}

/// Calls of larder before and after the results were poisoned leave the same; tells how many of the
/// second ones were hits.
fn assert_unmoved(sandbox: &Sandbox, call: impl Fn(&Sandbox), more: &[Section<'static>]) -> u64 {
    call(sandbox);
    let expected = files(sandbox);
    call(sandbox);
    assert!(files(sandbox) == expected && sandbox.counts().0 == 1, "{}", sandbox.log());
    poison(sandbox, more);
    call(sandbox);
    let left = files(sandbox);
    assert!(left.keys().eq(expected.keys()), "{:?}", left.keys());
    for (path, (mode, bytes)) in &left {
        assert_eq!(mode & 0o7000, 0, "{}", path.display());
        assert!(*bytes == expected[path].1, "{}", path.display());
    }
    assert!(left == expected);
    sandbox.counts().0 - 1
}

#[test]
fn a_record_writes_nothing_that_the_compile_did_not_name() {
    for name in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        wait_a_tick();
        let call = |sandbox: &Sandbox| {
            sandbox.remove_outputs();
            let line = [name, "-c", "a.c", "-o", "a.o", "-MD", "-MF", "a.d"];
            assert!(sandbox.larder(&line).status.success());
        };
        let more = more_sections(&sandbox.dir.path().join("outside"));
        assert_eq!(assert_unmoved(&sandbox, call, &more), 1, "{}", sandbox.log());
    }
}

#[test]
fn a_linked_program_runs_as_nobody_else() {
    let mut sandbox = Sandbox::new();
    sandbox.set("LARDER_CACHE_LINKS", "1");
    sandbox.write("a.c", "int main(void) { return 0; }\n");
    assert!(sandbox.command(Path::new("gcc")).args(["-c", "a.c"]).status().unwrap().success());
    wait_a_tick();
    let call = |sandbox: &Sandbox| {
        let _ = fs::remove_file(sandbox.path("program"));
        assert!(sandbox.larder(&["gcc", "a.o", "-o", "program"]).status.success());
    };
    let more = more_sections(&sandbox.dir.path().join("outside"));
    assert_eq!(assert_unmoved(&sandbox, call, &more), 1, "{}", sandbox.log());
}

/// Files of split debug information are named by the record, because nobody knows their names
/// before: any name in the output directory that begins with the crate's was written.
#[test]
fn a_crate_gets_files_of_split_debug_information_and_no_others() {
    for (options, more, hits) in [
        ("", &["plain"][..], 1),
        ("", &["dwo:evil.dwo"], 0),
        ("-g -C split-debuginfo=unpacked", &["plain"], 1),
        ("-g -C split-debuginfo=unpacked", &["dwo:evil.rs"], 0),
        ("-g -C split-debuginfo=unpacked", &["dwo:../evil.dwo"], 0),
        ("-g -C split-debuginfo=unpacked", &["dwo:x/../../evil.dwo"], 0),
    ] {
        let sandbox = library("pub fn f() -> u32 { 1 }\n");
        let call = |sandbox: &Sandbox| {
            let _ = fs::remove_dir_all(sandbox.path("out"));
            fs::create_dir(sandbox.path("out")).unwrap();
            let mut command = compiler(sandbox, true);
            let line = format!("{LIB} {options}");
            assert!(command.args(line.split_whitespace()).status().unwrap().success());
        };
        let section = |name: &&str| {
            let name = name.as_bytes().to_vec();
            Section::new(SectionKind::NamedFile, EVIL).mode(0o7777).name(name)
        };
        let more: Vec<Section<'static>> = more.iter().map(section).collect();
        let found = assert_unmoved(&sandbox, call, &more);
        assert_eq!(found, hits, "{options} {more:?}\n{}", sandbox.log());
    }
}
