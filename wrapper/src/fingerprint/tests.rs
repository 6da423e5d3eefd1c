//! Each input of the table changes the keys that it is in, and no others.

use std::collections::BTreeSet;

use larder_engine::SectionKind;

use super::*;
use crate::compiler::{Depfile, Language, Output, Purpose};

#[test]
fn the_table_of_the_module_is_the_list_that_is_hashed() {
    let source = include_str!("../fingerprint.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut documented = Vec::new();
    let mut left_out = BTreeSet::new();
    for row in rows.filter(|row| !row.starts_with("input |")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let name = cells[0].trim_matches('`').to_owned();
        let yes = |cell: &str, bit| match cell {
            "yes" => bit,
            "no" => 0,
            _ => panic!("{row}"),
        };
        match yes(cells[1], DIRECT) | yes(cells[2], PREPROCESSED) {
            0 => drop(left_out.insert(name)),
            keys => documented.push((name, keys)),
        }
    }
    let mut hashed: Vec<_> =
        INPUTS.iter().map(|(name, keys, _)| (name.to_string(), *keys)).collect();
    hashed.extend(ENVIRONMENT.iter().map(|(name, keys)| (name.to_string(), *keys)));
    assert_eq!(documented, hashed);
    for name in TOOLCHAIN_VARIABLES {
        let named = left_out.contains(*name) || hashed.iter().any(|(hashed, _)| hashed == name);
        assert!(named, "{name} is not in the table");
    }
}

/// Facts that a test can change.
#[derive(Clone)]
struct Sample {
    namespace: String,
    toolchain: Digest,
    compiler: PathBuf,
    compile: Compile,
    directory: PathBuf,
    place: Option<Place>,
    hash_dir: bool,
    sloppiness: Sloppiness,
    ignore_options: Vec<OsString>,
    ignore_headers: Vec<PathBuf>,
    source: Digest,
    named: Vec<Input>,
    native: Option<Digest>,
    other_name: Option<OsString>,
    variables: Vec<(String, String)>,
    text: Digest,
    files: Vec<PathBuf>,
}

fn sample() -> Sample {
    let compile = Compile {
        family: Family::Gcc,
        language: Language::C,
        purpose: Purpose::Object,
        input: "/s/a.c".into(),
        arguments: vec!["-c".into(), "/s/a.c".into(), "-I/i".into()],
        key_arguments: vec!["-c".into(), "/s/a.c".into(), "-I/i".into()],
        preprocess_arguments: vec!["/s/a.c".into()],
        key_arguments_after_preprocessing: vec!["-c".into()],
        cwd_matters: false,
        color_is_explicit: false,
        depfile: None,
        outputs: vec![object()],
        named_inputs: Vec::new(),
        native: Vec::new(),
        times_matter: false,
        module_files: Vec::new(),
    };
    Sample {
        namespace: String::new(),
        toolchain: [1; 32],
        compiler: "/usr/bin/gcc".into(),
        compile,
        directory: "/here".into(),
        place: None,
        hash_dir: true,
        sloppiness: Sloppiness::default(),
        ignore_options: Vec::new(),
        ignore_headers: Vec::new(),
        source: [2; 32],
        named: Vec::new(),
        native: None,
        variables: Vec::new(),
        other_name: None,
        text: [3; 32],
        files: vec!["/s/a.c".into()],
    }
}

fn object() -> Output {
    Output { kind: SectionKind::Object, name: "", path: "a.o".into(), required: true }
}

fn depfile() -> Depfile {
    Depfile {
        path: "a.d".into(),
        omits_system_headers: false,
        target_arguments: vec!["a.o".into()],
        phony_targets: false,
    }
}

/// The direct key that rows give: what `larder explain` tells of them is what the key is made of.
fn key_of_rows(rows: &[Row]) -> Key {
    let mut fields = Fields::new("direct");
    for row in rows {
        fields.row(&row.name);
        row.fields.iter().for_each(|field| fields.bytes(field));
    }
    fields.key()
}

/// The bits of the keys that differ.
fn difference(one: &Sample, other: &Sample) -> u8 {
    let keys = |sample: &Sample| {
        let variable = |name: &str| {
            let found = sample.variables.iter().rev().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into())
        };
        let facts = Facts {
            namespace: &sample.namespace,
            toolchain: &sample.toolchain,
            compiler: &sample.compiler,
            compile: &sample.compile,
            directory: &sample.directory,
            place: sample.place.as_ref(),
            leniency: Leniency {
                hash_dir: sample.hash_dir,
                sloppiness: sample.sloppiness,
                ignore_options: &sample.ignore_options,
                ignore_headers: &sample.ignore_headers,
            },
            source: sample.source,
            named: &sample.named,
            native: sample.native,
            variable: &variable,
            other_name: sample.other_name.clone(),
        };
        let preprocessed = Preprocessed { text: &sample.text, files: &sample.files };
        let direct = direct_key(&facts);
        assert_eq!(key_of_rows(&direct_rows(&facts)), direct);
        (direct, preprocessed_key(&facts, &preprocessed))
    };
    let (one, other) = (keys(one), keys(other));
    (u8::from(one.0 != other.0) * DIRECT) | (u8::from(one.1 != other.1) * PREPROCESSED)
}

#[track_caller]
fn check(expected: u8, base: &Sample, change: impl FnOnce(&mut Sample)) {
    let mut changed = base.clone();
    change(&mut changed);
    assert_eq!(difference(base, &changed), expected);
}

#[test]
fn each_input_changes_its_keys_and_no_others() {
    let base = sample();
    check(0, &base, |_| {});
    check(BOTH, &base, |s| s.namespace = "n".into());
    check(BOTH, &base, |s| s.toolchain = [9; 32]);
    check(BOTH, &base, |s| s.compiler = "/opt/bin/gcc".into());
    check(BOTH, &base, |s| s.compile.family = Family::Clang);
    check(BOTH, &base, |s| s.compile.language = Language::Cpp);
    check(DIRECT, &base, |s| s.compile.key_arguments.push("-DX".into()));
    check(PREPROCESSED, &base, |s| s.compile.key_arguments_after_preprocessing.push("-O2".into()));
    check(DIRECT, &base, |s| s.source = [9; 32]);
    check(PREPROCESSED, &base, |s| s.text = [9; 32]);
    let named = Input { path: "spec".into(), digest: [4; 32] };
    check(BOTH, &base, |s| s.named.push(named));
    check(BOTH, &base, |s| s.native = Some([5; 32]));
    check(BOTH, &base, |s| s.compile.purpose = Purpose::Assembly);
    for (kind, name) in [(SectionKind::DwarfObject, ""), (SectionKind::Object, "named")] {
        let output = Output { kind, name, path: "a.dwo".into(), required: true };
        check(BOTH, &base, |s| s.compile.outputs = vec![output]);
    }
}

#[test]
fn the_shape_of_a_dependency_file_counts_and_its_place_does_not() {
    let mut base = sample();
    check(BOTH, &base, |s| s.compile.depfile = Some(depfile()));
    check(0, &base, |s| s.files.push("/s/empty.h".into()));
    base.compile.depfile = Some(depfile());
    check(PREPROCESSED, &base, |s| s.files.push("/s/empty.h".into()));
    let change = |change: fn(&mut Depfile)| {
        move |sample: &mut Sample| change(sample.compile.depfile.as_mut().unwrap())
    };
    check(BOTH, &base, change(|depfile| depfile.target_arguments.push("b".into())));
    check(BOTH, &base, change(|depfile| depfile.phony_targets = true));
    check(BOTH, &base, change(|depfile| depfile.omits_system_headers = true));
    check(0, &base, change(|depfile| depfile.path = "elsewhere.d".into()));
}

#[test]
fn the_directory_counts_where_it_can_be_seen() {
    let mut base = sample();
    let elsewhere = |sample: &mut Sample| sample.directory = "/elsewhere".into();
    check(0, &base, elsewhere);
    check(0, &base, |s| s.other_name = Some("/link".into()));
    base.compile.arguments.push("-Iinclude".into());
    check(DIRECT, &base, elsewhere);
    base.compile.cwd_matters = true;
    check(BOTH, &base, elsewhere);
    check(BOTH, &base, |s| s.other_name = Some("/link".into()));
    let mut separate = sample();
    separate.compile.arguments.extend(["-isystem".into(), "x".into()]);
    check(DIRECT, &separate, elsewhere);
    let mut relative = sample();
    relative.compile.input = "a.c".into();
    check(DIRECT, &relative, elsewhere);
}

#[test]
fn a_searched_directory_counts_where_its_absence_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let mut base = sample();
    base.compile.arguments.extend(["-isystem".into(), dir.path().join("none").into()]);
    let appear = |sample: &mut Sample| {
        *sample.compile.arguments.last_mut().unwrap() = dir.path().into();
    };
    check(0, &base, appear);
    base.compile.arguments.insert(0, "-Wmissing-include-dirs".into());
    check(BOTH, &base, appear);
}

#[test]
fn each_variable_changes_its_keys_and_no_others() {
    let base = sample();
    for (name, keys) in ENVIRONMENT {
        check(*keys, &base, |s| s.variables.push((name.to_string(), String::new())));
        check(*keys, &base, |s| s.variables.push((name.to_string(), "x".into())));
    }
    for name in ["TMPDIR", "TERM", "MALLOC_ARENA_MAX", "LIBRARY_PATH", "GCC_COLORS", "TZ"] {
        check(0, &base, |s| s.variables.push((name.into(), "x".into())));
    }
}

#[test]
fn paths_of_outputs_do_not_count() {
    let base = sample();
    check(0, &base, |s| s.compile.outputs[0].path = "elsewhere.o".into());
}

#[test]
fn fields_do_not_run_into_each_other() {
    let base = sample();
    let mut one = base.clone();
    let mut other = base;
    one.compile.key_arguments = vec!["-DA".into(), "B".into()];
    other.compile.key_arguments = vec!["-DAB".into()];
    assert_eq!(difference(&one, &other), DIRECT);
}

#[test]
fn a_result_key_covers_inputs_moment_and_messages() {
    let direct = Key::of(b"direct");
    let input = Input { path: "a.h".into(), digest: [1; 32] };
    let other = Input { digest: [2; 32], ..input.clone() };
    let one = std::slice::from_ref(&input);
    let keys = BTreeSet::from([
        result_key(&direct, one, &[0; 32], 0),
        result_key(&direct, &[other], &[0; 32], 0),
        result_key(&direct, one, &[1; 32], 0),
        result_key(&direct, one, &[0; 32], messages_state(false, |_| None)),
        result_key(&direct, &[], &[0; 32], 0),
    ]);
    assert_eq!(keys.len(), 5);
    assert_ne!(messages_state(true, |_| None), messages_state(false, |_| None));
}

#[test]
fn the_text_does_not_decide_where_columns_or_comments_are_seen() {
    let with = |argument: &str| {
        let mut sample = sample();
        sample.compile.arguments.push(argument.into());
        text_decides(&sample.compile)
    };
    for option in ["-O2", "-Wall", "-g0", "-DX"] {
        assert!(with(option), "{option}");
    }
    for option in ["-g", "-ggdb3", "-fsanitize=undefined", "--coverage", "-Wextra", "-imacros"] {
        assert!(!with(option), "{option}");
    }
}

#[test]
fn what_one_user_leaves_out_is_no_key_of_another() {
    let base = sample();
    check(BOTH, &base, |sample| sample.hash_dir = false);
    check(BOTH, &base, |sample| sample.sloppiness = Sloppiness::TIME_MACROS);
    check(BOTH, &base, |sample| sample.sloppiness = Sloppiness::LOCALE);
    check(BOTH, &base, |sample| sample.ignore_options = vec!["-DX".into()]);
    check(BOTH, &base, |sample| sample.ignore_headers = vec!["/x.h".into()]);
    check(BOTH, &base, |sample| sample.place = Place::of(&["/here".into()], Path::new("/here")));
}

/// The same call in two checkouts under one base directory each.
#[test]
fn a_checkout_has_the_direct_key_of_another_and_its_own_preprocessed_key() {
    let at = |root: &str| {
        let mut sample = sample();
        let root = |path: &str| format!("{root}{path}");
        sample.compile.key_arguments = vec!["-c".into(), root("/a.c").into(), "-I../inc".into()];
        sample.compile.depfile =
            Some(Depfile { target_arguments: vec![root("/b/a.o").into()], ..depfile() });
        sample.directory = root("/b").into();
        sample.place = Place::of(&[root("").into()], &sample.directory);
        sample.compile.cwd_matters = true;
        let map = format!("-ffile-prefix-map={}=.", root(""));
        sample.compile.arguments.push(map.clone().into());
        sample.compile.key_arguments.push(map.into());
        sample
    };
    assert_eq!(difference(&at("/one"), &at("/another")), PREPROCESSED);
    assert_eq!(difference(&at("/one"), &at("/one")), 0);
    // What the map leaves of the directory counts.
    let mut elsewhere = at("/another");
    elsewhere.compile.arguments = vec!["-ffile-prefix-map=/an=.".into()];
    assert_eq!(difference(&at("/one"), &elsewhere), BOTH);
}
