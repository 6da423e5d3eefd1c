//! Caches of every era, frozen in tests/samples/caches, through every layout and back.

pub mod make;

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use make::Files;

/// A sample, its tool, and how it was made; those without a function were made by the tool.
type Era = (&'static str, &'static str, Option<fn() -> Files>);

const ERAS: [Era; 8] = [
    ("ccache-3", "ccache", Some(make::ccache_3)),
    ("ccache-4.0", "ccache", Some(make::ccache_40)),
    ("ccache-4.5", "ccache", Some(make::ccache_45)),
    ("ccache-4.13", "ccache", Some(make::ccache_413)),
    ("sccache", "sccache", Some(make::sccache)),
    ("made-by-ccache-4.7.5", "ccache", None),
    ("made-by-ccache-4.14.2", "ccache", None),
    ("made-by-sccache-0.19.0", "sccache", None),
];

fn samples(era: &str) -> PathBuf {
    larder_tests::workspace_root().join("tests/samples/caches").join(era)
}

/// Puts files below a directory, with times and modes that are told apart.
pub fn place(files: &Files, top: &Path) {
    for (at, (path, bytes)) in files.iter().enumerate() {
        let path = top.join(path);
        super::write(&path, bytes);
        let modified =
            UNIX_EPOCH + Duration::new(1_600_000_000 + at as u64, at as u32 % 100 * 7_654_321);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
        let mode = [0o644, 0o600, 0o444][at % 3];
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
}

/// A copy of the sample of an era, with times and modes.
fn copy(house: &House, era: &str) -> Tree {
    let files = tree(&samples(era)).into_iter().map(|(path, kept)| (path, kept.bytes)).collect();
    place(&files, &house.at(era));
    tree(&house.at(era))
}

#[test]
fn samples_are_as_made() {
    for (era, _, make) in ERAS {
        let Some(make) = make else { continue };
        let made = make();
        if std::env::var_os("LARDER_SAMPLES").is_some_and(|what| what == "write") {
            made.iter().for_each(|(path, bytes)| super::write(&samples(era).join(path), bytes));
        }
        let there: Vec<String> = tree(&samples(era)).into_keys().collect();
        assert_eq!(there, made.keys().cloned().collect::<Vec<_>>(), "{era}");
    }
}

#[test]
fn every_era_comes_back_from_every_layout() {
    for (era, tool, make) in ERAS {
        let house = House::new();
        let before = copy(&house, era);
        for (way, after) in house.ways(era, tool) {
            assert_same(&entries_of(&after), &entries_of(&before), &way);
            // What a directory lacks of statistics it gets; LMDB has no place for them.
            let kept = before.iter().filter(|(path, _)| !after.contains_key(*path));
            let lost: Vec<_> = kept.map(|(path, _)| path).collect();
            assert!(lost.is_empty() || way.contains("lmdb"), "{way} {lost:?}");
            let same = |path: &&String| way.contains("lmdb") || after[*path] == before[*path];
            assert!(before.keys().all(|path| same(&path)), "{way}");
            // Of what the tool made nothing is lacking.
            let is_whole = make.is_none() && !way.contains("lmdb");
            assert!(!is_whole || after.len() == before.len(), "{way}");
        }
    }
}

#[test]
fn caches_of_all_eras_in_one_directory_stay_apart() {
    let house = House::new();
    let mut files = Files::new();
    let is_made = |(_, tool, make): &Era| *tool == "ccache" && make.is_some();
    for (era, _, _) in ERAS.into_iter().filter(is_made) {
        files.extend(tree(&samples(era)).into_iter().map(|(path, kept)| (path, kept.bytes)));
    }
    place(&files, &house.at("mixed"));
    let before = tree(&house.at("mixed"));
    for (way, after) in house.ways("mixed", "ccache") {
        assert_same(&entries_of(&after), &entries_of(&before), &way);
    }
    let kinds = house.json(&["du", "mixed", "--json"]);
    let of = |name: &str| {
        let kinds = kinds["kinds"].as_array().unwrap();
        kinds
            .iter()
            .find(|kind| kind["name"] == name)
            .map_or(0, |kind| kind["entries"].as_u64().unwrap())
    };
    // The containers of 4.0 and 4.5 have the same names, so the later copy is there.
    assert_eq!((of("ccache-3"), of("ccache-4.0"), of("ccache")), (8, 15, 15), "{kinds:#}");
}

#[test]
fn every_file_of_every_era_can_be_looked_into() {
    for (era, _, _) in ERAS {
        let house = House::new();
        for (path, kept) in copy(&house, era) {
            let path = format!("{era}/{path}");
            let leaf = path.rsplit('/').next().unwrap();
            let is_other = matches!(leaf, "stats" | "CACHEDIR.TAG" | "ccache.conf")
                || leaf.contains("_0")
                || leaf.ends_with('W')
                || kept.bytes.is_empty()
                || era == "ccache-3" && !kept.bytes.starts_with(&[0x1f, 0x8b]);
            let output = house.run(&["inspect", &path, "--json"]);
            assert_eq!(output.status.code(), Some(i32::from(is_other)), "{path}");
            if !is_other {
                let page: Value = serde_json::from_slice(&output.stdout).unwrap();
                let whose = if era.contains("sccache") { "sccache" } else { "ccache" };
                assert!(page["what"].as_str().unwrap().contains(whose), "{page:#}");
                house.good(&["inspect", &path]);
            }
        }
    }
}

/// A file storage takes results of 4.x that stand alone, and they find their places again.
#[test]
fn file_storages_take_every_container() {
    for era in ["ccache-4.0", "ccache-4.5", "ccache-4.13"] {
        let house = House::new();
        let before = entries_of(&copy(&house, era));
        for layout in ["ccache-storage", "ccache-storage-flat"] {
            let page = house.convert_all(&[era, layout, "--to", layout]);
            assert_eq!(page["entries"], 12, "{era} {page:#}");
            house.convert_all(&[layout, "back.tar"]);
            house.convert_all(&["back.tar", &format!("{layout}-back"), "--to", "ccache"]);
            let flat = |tree: Tree| -> Tree {
                tree.into_iter().map(|(path, kept)| (path.replace('/', ""), kept)).collect()
            };
            let (after, wanted) =
                (flat(tree(&house.at(&format!("{layout}-back")))), flat(before.clone()));
            let after = entries_only(after);
            assert_eq!(after.len(), 12, "{era} {layout}");
            assert!(
                after.iter().all(|(path, kept)| wanted.get(path) == Some(kept)),
                "{era} {layout}"
            );
        }
    }
}

/// Without what a directory of ccache gets besides its entries; names without directories.
fn entries_only(tree: Tree) -> Tree {
    tree.into_iter().filter(|(path, _)| !path.ends_with("stats")).collect()
}
