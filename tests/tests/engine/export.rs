//! Exporting: the same records are the same bytes, what is there stays, and what stands in the
//! directory is a store that is only read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use larder_engine::env::RealEnv;
use larder_engine::sealed::Manifest;
use larder_engine::{
    DropReason, ErrorKind, Export, Exported, Key, Options, Put, ReadMode, RecordLayout, Store,
};
use larder_tests::fault::{Call, Fault, FaultEnv, Plan};
use larder_tests::sample::{Random, Value, contents};

use super::{Reference, put, roomy, value_of};

fn export(store: &Store, to: &Path) -> Exported {
    let mut last = (0, 0);
    let done = store.export(to, &Export { zstd_level: 1, ..Export::default() }, |done, of| {
        assert!(done >= last.0 && done <= of, "{done} of {of} after {last:?}");
        last = (done, of);
    });
    done.expect("an export succeeds")
}

fn remove(store: &Store, key: &Key) {
    assert_eq!(store.remove(key).unwrap(), Put::Stored);
}

fn assert_holds(path: &Path, wanted: &Reference, gone: &[Key]) {
    for options in [Options::new(), Options::new().read_only(true).read_mode(ReadMode::Pread)] {
        let store = Store::open(path, options).expect("what was exported is a store");
        assert!(store.is_read_only());
        for (key, value) in wanted {
            assert_eq!(value_of(&store, key).as_ref(), Some(value), "{key}");
        }
        assert!(gone.iter().all(|key| store.get(key).unwrap().is_none()));
        assert_eq!(store.snapshot().unwrap().len(), wanted.len());
        let other = Value::of("other");
        let dropped = store.put(&other.entry(Key::of(b"other"))).unwrap();
        assert_eq!(dropped, Put::Dropped(DropReason::ReadOnly));
        let report = store.verify(|_, _| {}).unwrap();
        assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    }
}

/// The files below a directory, with the hashes of their contents.
fn files(path: &Path) -> BTreeMap<PathBuf, Key> {
    let relative = |(name, bytes): (PathBuf, Vec<u8>)| {
        (name.strip_prefix(path).unwrap_or(&name).to_path_buf(), Key::of(&bytes))
    };
    contents(path).into_iter().map(relative).collect()
}

fn pieces(path: &Path) -> BTreeMap<PathBuf, Key> {
    files(&path.join("pieces"))
}

fn random_reference(seed: u64, count: usize) -> Reference {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let key = Key::of(&random.number().to_le_bytes());
            let largest = *random.choose(&[100, 20_000, 600_000]);
            (key, Value::random(&mut random, largest))
        })
        .collect()
}

#[test]
fn what_is_exported_is_a_store_that_is_only_read() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(&folder.path().join("store"), roomy()).unwrap();
    let mut reference = random_reference(1, 400);
    let (replaced, removed) = (Key::of(b"replaced"), Key::of(b"removed"));
    put(&store, replaced, &Value::of("old"));
    put(&store, removed, &Value::of("gone"));
    reference.iter().for_each(|(key, value)| put(&store, *key, value));
    reference.insert(replaced, Value::of("new"));
    put(&store, replaced, &reference[&replaced]);
    remove(&store, &removed);
    let to = folder.path().join("export");
    let done = export(&store, &to);
    assert_eq!(done.records, reference.len() as u64);
    assert_eq!((done.new_pieces, done.damaged, done.removed_pieces), (done.pieces, 0, 0));
    for (path, hash) in &pieces(&to) {
        assert_eq!(path.to_str().unwrap(), hash.to_string(), "pieces have their hashes");
    }
    assert_eq!(
        done.bytes,
        contents(&to.join("pieces")).values().map(|bytes| bytes.len() as u64).sum::<u64>()
    );
    let before = files(&to);
    assert_holds(&to, &reference, &[removed]);
    assert_eq!(files(&to), before, "nobody has written to it");
}

#[test]
fn an_empty_store_is_an_export_too() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(&folder.path().join("store"), roomy()).unwrap();
    let to = folder.path().join("export");
    assert_eq!(export(&store, &to).records, 0);
    assert_holds(&to, &Reference::new(), &[Key::of(b"a")]);
}

/// Neither the order of puts, nor what stood in between, nor where they come from can be seen.
#[test]
fn the_same_records_are_the_same_bytes() {
    let folder = larder_tests::temp_dir();
    let at = |name: &str| folder.path().join(name);
    let reference = random_reference(2, 300);
    let one = Store::open(&at("one"), roomy()).unwrap();
    reference.iter().for_each(|(key, value)| put(&one, *key, value));
    let two = Store::open(&at("two"), Options::new().max_size_bytes(4 << 30)).unwrap();
    for (number, (key, value)) in reference.iter().rev().enumerate() {
        put(&two, *key, &Value::of("replaced below"));
        put(&two, Key::of(&number.to_le_bytes()), &Value::of("removed below"));
        put(&two, *key, value);
        remove(&two, &Key::of(&number.to_le_bytes()));
    }
    let (first, second, third) = (at("first"), at("second"), at("third"));
    export(&one, &first);
    export(&two, &second);
    assert_eq!(files(&first), files(&second));
    // And what was exported, once more.
    export(&Store::open(&first, Options::new()).unwrap(), &third);
    assert_eq!(files(&first), files(&third));
    let again = export(&one, &first);
    assert_eq!((again.new_pieces, again.removed_pieces), (0, 0));
    assert_eq!(files(&first), files(&second));
}

/// Records of 130,000 bytes that cannot be compressed.
fn large(number: u64) -> (Key, Value) {
    let bytes = Random::new(number).bytes(130_000);
    (Key::of(&number.to_le_bytes()), Value::of(bytes))
}

#[test]
fn only_what_is_new_is_written() {
    let folder = larder_tests::temp_dir();
    let options = Options::new().max_size_bytes(1 << 30).layout(RecordLayout::Raw);
    let store = Store::open(&folder.path().join("store"), options).unwrap();
    let mut reference: Reference = (0..500).map(large).collect();
    reference.iter().for_each(|(key, value)| put(&store, *key, value));
    let to = folder.path().join("export");
    let first = export(&store, &to);
    assert!(first.pieces >= 5, "{first:?}");
    let before = pieces(&to);

    // A few more: one more piece, besides superblock and index.
    let more: Vec<_> = (500..505).map(large).collect();
    more.iter().for_each(|(key, value)| put(&store, *key, value));
    reference.extend(more);
    let second = export(&store, &to);
    assert!(second.new_pieces <= 3 && second.new_bytes < 2 << 20, "{second:?}");
    assert_holds(&to, &reference, &[]);

    // A few less, and one replaced: what holds them stays, and they are not found.
    let gone: Vec<Key> = (0..500).step_by(50).map(|number| large(number).0).collect();
    gone.iter().for_each(|key| remove(&store, key));
    reference.retain(|key, _| !gone.contains(key));
    let replaced = large(1).0;
    reference.insert(replaced, Value::of("replaced"));
    put(&store, replaced, &reference[&replaced]);
    let third = export(&store, &to);
    assert!(third.new_pieces <= 3 && third.new_bytes < 2 << 20, "{third:?}");
    let stayed = pieces(&to).keys().filter(|name| before.contains_key(*name)).count() as u64;
    assert!(stayed + 2 >= first.pieces, "{stayed} of {}", first.pieces);
    assert_holds(&to, &reference, &gone);

    // Most are gone: their pieces are, too.
    let gone: Vec<Key> = (0..500).filter(|number| number % 3 > 0).map(|n| large(n).0).collect();
    gone.iter().for_each(|key| remove(&store, key));
    reference.retain(|key, _| !gone.contains(key));
    let last = export(&store, &to);
    assert!(last.removed_pieces >= first.pieces - 3, "{last:?}");
    assert!(last.bytes < first.bytes / 2, "{last:?}");
    assert_holds(&to, &reference, &gone);
}

#[test]
fn an_export_that_is_stopped_leaves_the_earlier_one() {
    let folder = larder_tests::temp_dir();
    let store = folder.path().join("store");
    let before = random_reference(3, 60);
    let mut after = before.clone();
    after.extend(random_reference(4, 60));
    let filled = Store::open(&store, roomy()).unwrap();
    before.iter().for_each(|(key, value)| put(&filled, *key, value));
    let earlier = folder.path().join("earlier");
    export(&filled, &earlier);
    after.iter().for_each(|(key, value)| put(&filled, *key, value));
    let is_it = |path: &Path, wanted: &Reference| {
        let store = Store::open(path, Options::new()).unwrap();
        store.snapshot().unwrap().len() == wanted.len()
            && wanted.iter().all(|(key, value)| value_of(&store, key).as_ref() == Some(value))
    };
    let mut stopped = 0;
    for call in [Call::Change, Call::Sync, Call::Open] {
        for number in 1.. {
            let to = folder.path().join("to");
            let _ = fs::remove_dir_all(&to);
            larder_tests::sample::copy_tree(&earlier, &to);
            let env = FaultEnv::new();
            let store = Store::open_with(env.shared(), &store, roomy()).unwrap();
            env.arm(Some(Plan { call, number, fault: Fault::Stop }));
            let done = store.export(&to, &Export::default(), |_, _| {});
            let is_done = done.is_ok() && env.count(call) < number;
            env.arm(None);
            stopped += u32::from(done.is_err());
            assert!(is_it(&to, &before) || is_it(&to, &after), "{call:?} {number}");
            export(&filled, &to);
            assert!(is_it(&to, &after), "{call:?} {number}");
            let names = fs::read_dir(to.join("pieces")).unwrap();
            let left = names.filter(|name| {
                name.as_ref().unwrap().file_name().to_string_lossy().starts_with("new-")
            });
            assert_eq!(left.count(), 0, "what was half written is gone");
            if is_done {
                break;
            }
        }
    }
    assert!(stopped > 10, "{stopped}");
}

#[test]
fn damage_costs_misses_until_the_next_export() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(&folder.path().join("store"), roomy()).unwrap();
    let reference = random_reference(5, 150);
    reference.iter().for_each(|(key, value)| put(&store, *key, value));
    let whole = folder.path().join("whole");
    export(&store, &whole);
    let mut random = Random::new(6);
    let names: Vec<PathBuf> = pieces(&whole).into_keys().collect();
    for round in 0..60 {
        let to = folder.path().join("to");
        let _ = fs::remove_dir_all(&to);
        larder_tests::sample::copy_tree(&whole, &to);
        let path = to.join("pieces").join(random.choose(&names));
        let mut bytes = fs::read(&path).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        match round % 4 {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            2 => fs::remove_file(&path).unwrap(),
            _ => bytes[at] ^= 1 << random.below(8),
        }
        if path.exists() {
            fs::write(&path, bytes).unwrap();
        }
        // Nothing but what was stored comes out.
        if let Ok(store) = Store::open(&to, Options::new()) {
            for (key, value) in &reference {
                if let Ok(Some(record)) = store.get(key)
                    && let Ok(found) = Value::read(&record)
                {
                    assert_eq!(found, *value);
                }
            }
        }
        export(&store, &to);
        assert_eq!(files(&to), files(&whole), "round {round}");
    }
}

#[test]
fn a_job_is_exported_alone() {
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let store = Store::open(&path, roomy()).unwrap();
    let reference = random_reference(7, 60);
    reference.iter().for_each(|(key, value)| put(&store, *key, value));
    store.start_job("a").unwrap();
    let part = Store::open(&path, roomy().job(Some("a".to_owned()))).unwrap();
    let touched: Reference = reference.clone().into_iter().step_by(7).collect();
    touched.keys().for_each(|key| drop(part.get(key).unwrap().unwrap()));
    let to = folder.path().join("to");
    let how = Export { job: Some("a"), ..Export::default() };
    store.export(&to, &how, |_, _| {}).unwrap();
    let gone: Vec<Key> =
        reference.keys().filter(|key| !touched.contains_key(*key)).copied().collect();
    assert_holds(&to, &touched, &gone);
    let how = Export { job: Some("b"), ..Export::default() };
    assert_eq!(store.export(&to, &how, |_, _| {}).unwrap_err().kind(), ErrorKind::Limit);
    assert_holds(&to, &touched, &gone);
}

#[test]
fn what_is_no_export_is_left_alone() {
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let store = Store::open(&path, roomy()).unwrap();
    put(&store, Key::of(b"a"), &Value::of("a"));
    let kind_of = |to: &Path| store.export(to, &Export::default(), |_, _| {}).unwrap_err().kind();
    assert_eq!(kind_of(&path), ErrorKind::NotAStore, "nor is it its own");
    let to = folder.path().join("to");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("thesis.tex"), "x").unwrap();
    assert_eq!(kind_of(&to), ErrorKind::NotAStore);
    fs::remove_file(to.join("thesis.tex")).unwrap();
    fs::write(to.join("manifest"), "larder-export 2\n").unwrap();
    assert_eq!(kind_of(&to), ErrorKind::NewerFormat);
    assert_eq!(Store::open(&to, Options::new()).unwrap_err().kind(), ErrorKind::NewerFormat);
    fs::write(to.join("manifest"), "{}").unwrap();
    assert_eq!(kind_of(&to), ErrorKind::NotAStore);
    assert_eq!(fs::read(to.join("manifest")).unwrap(), b"{}");
}

#[test]
fn the_manifest_is_what_was_signed() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(&folder.path().join("store"), roomy()).unwrap();
    put(&store, Key::of(b"a"), &Value::of("a"));
    let to = folder.path().join("to");
    let sign = |digest: &Key| format!("me {digest}");
    let how = Export { sign: Some(&sign), ..Export::default() };
    store.export(&to, &how, |_, _| {}).unwrap();
    let manifest = Manifest::read(&RealEnv, &to).unwrap().unwrap();
    assert_eq!(manifest.signature, format!("me {}", manifest.digest()));
    assert_eq!(manifest.pieces().count(), 3);
}
