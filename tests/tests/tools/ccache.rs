//! Caches that a real ccache has made and finds its results in again.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;

/// Compiles with ccache in a directory; the counters of `--print-stats` that are not zero.
struct Ccache {
    program: PathBuf,
}

/// Units of each way to store results.
const UNITS: usize = 6;

impl Ccache {
    /// The real one, if there is any.
    fn find() -> Option<Ccache> {
        let program = larder_tests::find_or_skip("ccache")?;
        larder_tests::find_or_skip("gcc")?;
        let version = Command::new(&program).arg("--version").output().ok()?;
        let is_real = !String::from_utf8_lossy(&version.stdout).contains("larder");
        is_real.then_some(Ccache { program })
    }

    #[track_caller]
    fn run(&self, house: &House, cache: &str, words: &[&str], more: &[(&str, &str)]) -> String {
        let mut command = house.command(&self.program);
        command.env("CCACHE_DIR", house.at(cache)).env("CCACHE_TEMPDIR", house.at("temporary"));
        command.envs(more.iter().copied()).args(words);
        let output = command.output().expect("it was just found");
        assert!(output.status.success(), "{words:?}\n{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn counter(&self, house: &House, cache: &str, name: &str) -> u64 {
        let text = self.run(house, cache, &["--print-stats"], &[]);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        line.unwrap_or("0").parse().unwrap()
    }

    /// Every unit, in each way to store results.
    fn compile_all(&self, house: &House, cache: &str, more: &[(&str, &str)]) {
        for (kind, settings, words) in WAYS {
            for unit in 0..UNITS {
                let name = format!("{kind}{unit}");
                let path = house.at(&format!("{name}.c"));
                if !path.exists() {
                    let text = format!(
                        "#include <stddef.h>\nint {name}(int x) {{ int unused; return x; }}\n"
                    );
                    fs::write(path, text).unwrap();
                }
                let (source, object) = (format!("{name}.c"), format!("{name}.o"));
                let call = [&["gcc"], *words, &["-c", &source, "-o", &object]].concat();
                self.run(house, cache, &call, &[*settings, more].concat());
            }
        }
    }
}

type Way = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

/// Ways to store a result: ccache's settings, the compiler's options.
const WAYS: &[Way] = &[
    ("packed", &[], &["-Wall"]),
    ("plain", &[("CCACHE_NOCOMPRESS", "1")], &["-MD", "-fstack-usage"]),
    ("space", &[("CCACHE_NAMESPACE", "a b")], &["-g"]),
    ("linked", &[("CCACHE_HARDLINK", "1")], &["-g", "-gsplit-dwarf"]),
    ("cloned", &[("CCACHE_FILECLONE", "1")], &["--coverage"]),
];

/// A cache with every kind of result, settings, and directories of three digits.
fn cache(house: &House, ccache: &Ccache) -> Tree {
    ccache.compile_all(house, "cache", &[]);
    fs::write(house.at("cache/ccache.conf"), "max_size = 1G\n").unwrap();
    deepen(&house.at("cache"), 'a'..='f');
    tree(&house.at("cache"))
}

/// Moves the entries of some second digits a directory deeper, as ccache does where there are many.
fn deepen(top: &Path, seconds: impl Iterator<Item = char> + Clone) {
    for first in "0123456789abcdef".chars() {
        for second in seconds.clone() {
            let folder = top.join(format!("{first}/{second}"));
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.map(Result::unwrap).filter(|entry| entry.path().is_file()) {
                let name = entry.file_name().into_string().unwrap();
                if name.len() > 10 && name.is_char_boundary(1) {
                    let below = folder.join(&name[..1]);
                    fs::create_dir_all(&below).unwrap();
                    fs::rename(entry.path(), below.join(&name[1..])).unwrap();
                }
            }
        }
    }
}

fn raw_files(tree: &Tree) -> usize {
    tree.keys().filter(|path| path.ends_with('W')).count()
}

#[test]
fn a_cache_comes_back_from_every_layout_and_its_ccache_hits() {
    let Some(ccache) = Ccache::find() else { return };
    let house = House::new();
    let before = cache(&house, &ccache);
    assert!(raw_files(&before) >= UNITS, "hard_link has files beside its results");
    assert!(before.keys().any(|path| path.split('/').count() == 4), "some stand deeper");
    for (way, after) in house.ways("cache", "ccache") {
        if way.contains("lmdb") {
            assert_same(&entries_of(&after), &entries_of(&before), &way);
        } else {
            assert_same(&after, &before, &way);
        }
        // Counted from here on: LMDB has no statistics, but their size.
        ccache.run(&house, &way, &["--zero-stats"], &[]);
        ccache.compile_all(&house, &way, &[]);
        let hits = ccache.counter(&house, &way, "direct_cache_hit");
        assert_eq!(hits as usize, UNITS * WAYS.len(), "{way}");
        assert_eq!(ccache.counter(&house, &way, "cache_miss"), 0, "{way}");
    }
}

/// Entries are added to a cache; its limit and its counters are its own.
#[test]
fn settings_and_statistics_of_a_cache_that_is_added_to_stay() {
    let Some(ccache) = Ccache::find() else { return };
    let house = House::new();
    let from = cache(&house, &ccache);
    fs::create_dir_all(house.at("to/3")).unwrap();
    fs::write(house.at("to/ccache.conf"), "max_size = 70G\n").unwrap();
    fs::write(house.at("to/3/stats"), "5\n6\n").unwrap();
    let page = house.convert_all(&["cache", "to", "--to", "ccache"]);
    let to = tree(&house.at("to"));
    assert_eq!(to["ccache.conf"].bytes, b"max_size = 70G\n");
    assert_eq!(to["3/stats"].bytes, b"5\n6\n");
    assert_same(&entries_of(&to), &entries_of(&from), "entries");
    let notes = page["notes"].to_string();
    assert!(notes.contains("ccache.conf") && notes.contains("ccache --cleanup"), "{notes}");
    house.convert_all(&["cache", "to", "--to", "ccache", "--overwrite"]);
    assert_eq!(tree(&house.at("to"))["ccache.conf"].bytes, from["ccache.conf"].bytes);
}

/// A cache that came from a layout without statistics was empty to ccache, and grew without limit.
#[test]
fn a_cache_from_a_layout_without_statistics_knows_its_size() {
    let Some(ccache) = Ccache::find() else { return };
    let house = House::new();
    cache(&house, &ccache);
    house.convert_all(&["cache", "kept.lmdb"]);
    house.convert_all(&["kept.lmdb", "back", "--to", "ccache"]);
    let files = entries_of(&tree(&house.at("back"))).len() as u64;
    let told = || {
        let of = |name| ccache.counter(&house, "back", name);
        (of("files_in_cache"), of("cache_size_kibibyte"))
    };
    let ours = told();
    assert_eq!(ours.0, files);
    ccache.run(&house, "back", &["--cleanup"], &[]);
    assert_eq!(told(), ours, "ccache counts the same");
    let blocks: u64 = entries_of(&tree(&house.at("back")))
        .keys()
        .map(|path| fs::metadata(house.at("back").join(path)).unwrap().blocks() / 2)
        .sum();
    assert_eq!(ours.1, blocks);
}

#[test]
fn a_file_storage_has_what_stands_alone_and_ccache_hits_in_it() {
    let Some(ccache) = Ccache::find() else { return };
    let house = House::new();
    let before = cache(&house, &ccache);
    let raw = raw_files(&before) as u64;
    for (layout, shape) in [("ccache-storage", "subdirs"), ("ccache-storage-flat", "flat")] {
        let far = format!("far-{shape}");
        let page = house.convert_all(&["cache", &far, "--to", layout]);
        let left = page["no_place"].as_array().unwrap();
        let of = |what: &str| {
            let found = left.iter().find(|one| one["what"].as_str().unwrap().contains(what));
            found.map_or(0, |one| one["count"].as_u64().unwrap())
        };
        assert!(of("raw files") > 0 && of("raw files") <= raw, "{page:#}");
        let storage = format!("file:{}|layout={shape}|read-only", house.at(&far).display());
        let fresh = format!("fresh-{shape}");
        ccache.compile_all(&house, &fresh, &[("CCACHE_REMOTE_STORAGE", &storage)]);
        let hits = ccache.counter(&house, &fresh, "remote_storage_hit");
        assert!(hits as usize >= 3 * UNITS, "{hits}");
        let misses = ccache.counter(&house, &fresh, "cache_miss");
        assert_eq!(misses, of("raw files"), "only they are made again");
        // And back into a cache, without a time lost.
        house.convert_all(&[&far, &format!("{far}-back"), "--to", "ccache"]);
        let back = entries_of(&tree(&house.at(&format!("{far}-back"))));
        let by_name = |tree: &Tree| -> BTreeMap<String, Kept> {
            tree.iter().map(|(path, kept)| (path.replace('/', ""), kept.clone())).collect()
        };
        let before = by_name(&entries_of(&before));
        assert!(by_name(&back).iter().all(|(name, kept)| before.get(name) == Some(kept)));
        assert_eq!(back.len(), page["entries"].as_u64().unwrap() as usize);
    }
}

#[test]
fn the_same_conversion_again_writes_nothing() {
    let Some(ccache) = Ccache::find() else { return };
    let house = House::new();
    let before = cache(&house, &ccache);
    for layout in ["larder", "ccache", "lmdb"] {
        let first = house.convert_all(&["cache", layout, "--to", layout]);
        let again = house.convert_all(&["cache", layout, "--to", layout]);
        assert_eq!(again["entries"], 0, "{layout} {again:#}");
        assert_eq!(again["present"], first["entries"], "{layout}");
        let all = house.convert_all(&["cache", layout, "--to", layout, "--overwrite"]);
        assert_eq!((&all["entries"], &all["present"]), (&first["entries"], &Value::from(0)));
    }
    assert_same(&tree(&house.at("ccache")), &before, "overwritten by the same");
    for name in ["one.tar", "two.tar"] {
        house.convert_all(&["larder", name]);
    }
    assert_eq!(fs::read(house.at("one.tar")).unwrap(), fs::read(house.at("two.tar")).unwrap());
    house.convert_all(&["cache", "three.tar"]);
    assert_eq!(fs::read(house.at("one.tar")).unwrap(), fs::read(house.at("three.tar")).unwrap());
}

/// What GNU tar makes of a cache is an archive like ours.
#[test]
fn an_archive_by_tar_itself_is_read() {
    let Some(ccache) = Ccache::find() else { return };
    let Some(tar) = larder_tests::find_or_skip("tar") else { return };
    let house = House::new();
    let before = cache(&house, &ccache);
    for (name, words) in [
        ("posix.tar", &["--format=posix", "-C", "cache", "."][..]),
        ("gnu.tar", &["--format=gnu", "-C", "cache", "."]),
    ] {
        let output = house.command(&tar).arg("-cf").arg(name).args(words).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        house.convert_all(&[name, &format!("{name}-back"), "--to", "ccache"]);
        let mut after = tree(&house.at(&format!("{name}-back")));
        let mut wanted = before.clone();
        if name == "gnu.tar" {
            // It has no fractions of seconds.
            let cut = |tree: &mut Tree| tree.values_mut().for_each(|kept| kept.modified.1 = 0);
            cut(&mut after);
            cut(&mut wanted);
        }
        assert_same(&after, &wanted, name);
    }
    // And ours is one for tar.
    house.convert_all(&["cache", "ours.tar"]);
    fs::create_dir(house.at("unpacked")).unwrap();
    let output = house.command(&tar).args(["-xf", "ours.tar", "-C", "unpacked"]).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    assert_same(&tree(&house.at("unpacked")), &before, "unpacked");
}
