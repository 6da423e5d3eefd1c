//! Entries that are damaged, and files that are none: all are named, the others arrive, and nothing
//! is written anywhere else.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use larder::ccache_entry::Kind;
use larder_tests::fuzz_ccache::{Layout, entry, result};
use larder_tests::fuzz_tools::{pack, preprocessor, zip};

use super::eras::make;
use super::*;

/// How many words of each kind of trouble a report has.
const TOLD_MAX: usize = 20;

fn small(layout: Layout) -> Vec<u8> {
    entry(layout, Kind::Result, &result(layout, &[(0, Ok(&b"an object, ".repeat(20)))]), Some(1))
}

fn small_zip() -> Vec<u8> {
    zip(&[("obj", pack(b"an object"), 0o644), ("stderr", pack(b"warning"), 0o644)])
}

/// Kinds of entries: a whole one, and where the n-th of them stands.
type Sort = (&'static str, &'static str, Vec<u8>, fn(usize) -> String);

fn sorts() -> Vec<Sort> {
    let of_40 = |n: usize| format!("0/0/{n:038x}");
    let of_33 = |n: usize| format!("0/0/{:031x}R", n);
    let of_64 = |n: usize| format!("0/0/{n:064x}");
    let old = |n: usize| format!("0/0/{n:030x}-1.o");
    let first = |n: usize| format!("preprocessor/0/0/0/{n:064x}");
    let packed = make::ccache_3().into_iter().find(|(path, _)| path.ends_with("manifest"));
    vec![
        ("ccache 4.7", "ccache", small(Layout::Second), of_40),
        ("ccache 4.5", "ccache", small(Layout::First), of_33),
        ("ccache 4.0", "ccache", small(Layout::Old), of_33),
        ("ccache 3", "ccache", packed.unwrap().1, old),
        ("sccache", "sccache", small_zip(), of_64),
        ("preprocessor", "sccache", preprocessor(1, &[("ab", &["/a.h"])]), first),
    ]
}

/// Converts variants of an entry; what each became at the target.
fn convert_variants(sort: &Sort, variants: &[Vec<u8>]) -> (Value, Vec<Option<Vec<u8>>>) {
    let (what, tool, _, path) = sort;
    let house = House::new();
    for (number, bytes) in variants.iter().enumerate() {
        super::write(&house.at("from").join(path(number)), bytes);
    }
    let (status, page) = house.convert(&["from", "to", "--from", tool, "--to", tool]);
    let damaged = page["damaged_count"].as_u64().unwrap();
    assert_eq!(status, Some(if damaged > 0 { 4 } else { 0 }), "{what} {page:#}");
    let told = page["damaged"].as_array().unwrap();
    assert_eq!(told.len() as u64, damaged.min(TOLD_MAX as u64));
    assert_eq!(page["failed_count"], 0, "{page:#}");
    assert_eq!(page["strangers_count"], 0, "{page:#}");
    assert_eq!(page["entries"].as_u64().unwrap() + damaged, variants.len() as u64);
    let at = |number| fs::read(house.at("to").join(path(number))).ok();
    (page, (0..variants.len()).map(at).collect())
}

#[test]
fn entries_that_are_cut_short_stay_behind() {
    for sort in sorts() {
        let whole = &sort.2;
        let variants: Vec<_> = (0..=whole.len()).map(|count| whole[..count].to_vec()).collect();
        let (page, found) = convert_variants(&sort, &variants);
        assert_eq!(found.last(), Some(&Some(whole.clone())), "{}", sort.0);
        // An entry without a byte is one of the preprocessor's, and a byte of a file of ccache 3
        // that is not compressed tells nothing.
        let is_fine = |count: usize| match sort.0 {
            "preprocessor" => count == 0,
            "ccache 3" => count == 1,
            _ => false,
        };
        for (count, found) in found.iter().enumerate().take(whole.len()) {
            assert_eq!(found.is_some(), is_fine(count), "{} of {count} bytes {page:#}", sort.0);
        }
    }
}

#[test]
fn a_flipped_byte_is_found_or_changes_nothing_that_is_kept() {
    for sort in sorts() {
        let whole = &sort.2;
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            bytes
        };
        let variants: Vec<_> = (0..whole.len()).map(flipped).collect();
        let (_, found) = convert_variants(&sort, &variants);
        let kept = found.iter().zip(&variants).filter(|(found, _)| found.is_some());
        assert!(kept.clone().all(|(found, variant)| found.as_ref() == Some(variant)), "{}", sort.0);
        let kept = kept.count();
        match sort.0 {
            // The checksum of 4.7 is over all of it.
            "ccache 4.7" => assert_eq!(kept, 0),
            // Versions and times of ZIP, what no file of gzip or of the preprocessor checks.
            "sccache" => assert!(kept < whole.len() / 2, "{kept} of {}", whole.len()),
            "ccache 3" | "preprocessor" => {}
            _ => assert!(kept < 10, "{} {kept}", sort.0),
        }
    }
}

#[test]
fn what_is_no_entry_is_named_and_passed_by() {
    let house = House::new();
    let good = format!("0/0/{:038x}", 1);
    super::write(&house.at("from").join(&good), &small(Layout::Second));
    super::write(&house.at("secret"), b"secret");
    fs::create_dir(house.at("elsewhere")).unwrap();
    super::write(&house.at("elsewhere/0").join(&good[2..]), &small(Layout::Second));
    let below = |n: usize| house.at(&format!("from/0/0/{n:038x}"));
    symlink(house.at("secret"), below(2)).unwrap();
    fs::create_dir(below(3)).unwrap();
    let fifo = Command::new("mkfifo").arg(below(4)).status().unwrap();
    assert!(fifo.success());
    fs::File::create(below(5)).unwrap().set_len(5 << 30).unwrap();
    fs::write(below(6), "").unwrap();
    symlink(house.at("elsewhere"), house.at("from/e")).unwrap();
    for name in [b"from/a\nb\x1b[31m\"\\".as_slice(), b"from/0/\xff\xfe", b"from/foreign.txt"] {
        fs::write(house.dir.path().join(OsStr::from_bytes(name)), "?").unwrap();
    }
    let folder = house.dir.path().join(OsStr::from_bytes(b"from/1\xff"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("x"), "?").unwrap();
    super::write(&house.at("from/0/0/x.tmp.abc"), b"?");
    for (layout, to) in
        [("larder", "store"), ("ccache", "to"), ("tar", "to.tar"), ("lmdb", "to.lmdb")]
    {
        let (status, page) = house.convert(&["from", to, "--to", layout]);
        assert_eq!(status, Some(4), "{page:#}");
        assert_eq!((&page["entries"], &page["passing"]), (&1.into(), &1.into()), "{page:#}");
        assert_eq!((&page["damaged_count"], &page["too_large_count"]), (&1.into(), &1.into()));
        let strangers = page["strangers"].as_array().unwrap();
        let names: Vec<&str> = strangers.iter().map(|one| one["entry"].as_str().unwrap()).collect();
        let of = |n: usize| format!("0/0/{n:038x}");
        for wanted in [
            &of(2),
            &of(4),
            "e",
            "a\nb\x1b[31m\"\\",
            "0/\u{fffd}\u{fffd}",
            "foreign.txt",
            "1\u{fffd}",
        ] {
            assert!(names.contains(&wanted), "{wanted:?} in {names:?}");
        }
        assert_eq!(names.len(), 7, "{names:?}");
    }
    let found: Vec<String> = entries_of(&tree(&house.at("to"))).into_keys().collect();
    assert_eq!(found, [good]);
    let text = house.run(&["convert", "from", "to", "--to", "ccache"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(!text.contains('\x1b') && text.contains("\\u{1b}"), "{text}");
}

/// Whoever may write to a cache must not lead a conversion out of it.
#[test]
fn no_link_in_the_target_is_followed() {
    let house = House::new();
    let good = format!("0/0/{:038x}", 1);
    super::write(&house.at("from").join(&good), &small(Layout::Second));
    super::write(&house.at("secret"), b"secret");
    fs::create_dir(house.at("outside")).unwrap();
    fs::create_dir_all(house.at("to/0/0")).unwrap();
    // One entry's place is a link, another's directory.
    symlink(house.at("secret"), house.at("to").join(&good)).unwrap();
    let (status, page) = house.convert(&["from", "to", "--to", "ccache"]);
    assert_eq!(status, Some(0), "{page:#}");
    assert_eq!(fs::read(house.at("secret")).unwrap(), b"secret");
    assert!(fs::symlink_metadata(house.at("to").join(&good)).unwrap().is_file());
    fs::create_dir(house.at("led")).unwrap();
    symlink(house.at("outside"), house.at("led/0")).unwrap();
    let (status, page) = house.convert(&["from", "led", "--to", "ccache"]);
    assert_eq!((status, &page["entries"]), (Some(4), &0.into()), "{page:#}");
    assert_eq!(fs::read_dir(house.at("outside")).unwrap().count(), 0);
}

/// What is wrong, and how a cache becomes so.
type Case<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn raw_files_must_be_those_of_their_result() {
    let house = House::new();
    let files = make::ccache_413();
    let (leaf, _) = files.iter().find(|(path, _)| path.ends_with("_01")).unwrap();
    let result = &leaf[..leaf.len() - 3];
    let cases: [Case<'_>; 5] = [
        ("missing", &|top| fs::remove_file(top.join(leaf)).unwrap()),
        ("of another length", &|top| fs::write(top.join(leaf), "?").unwrap()),
        ("one too many", &|top| fs::write(top.join(format!("{result}_02")), "?").unwrap()),
        ("alone", &|top| fs::remove_file(top.join(result)).unwrap()),
        ("with a directory", &|top| {
            fs::remove_file(top.join(leaf)).unwrap();
            fs::create_dir(top.join(leaf)).unwrap();
        }),
    ];
    for (what, harm) in cases {
        let from = what.replace(' ', "-");
        super::eras::place(&files, &house.at(&from));
        harm(&house.at(&from));
        let (status, page) = house.convert(&[&from, &format!("{from}-to"), "--to", "ccache"]);
        assert_eq!((status, &page["damaged_count"]), (Some(4), &1.into()), "{what} {page:#}");
        let name = result.replace('/', "");
        assert_eq!(page["damaged"][0]["entry"], format!("ccache:{name}"), "{what}");
        assert!(!house.at(&format!("{from}-to")).join(result).exists(), "{what}");
    }
}

/// What decompresses to far more than it is is counted, and not held.
#[test]
fn bombs_are_looked_into_within_bounds() {
    let house = House::new();
    let zeros = vec![0; 256 << 20];
    let bomb = larder_engine::codec::compress(&zeros, 1).unwrap();
    // Of members of one name only one counts.
    let names: Vec<String> = (0..40).map(|number| format!("{number:03x}")).collect();
    let members: Vec<_> = names.iter().map(|name| (&**name, bomb.clone(), 0o644)).collect();
    fs::write(house.at("bomb.zip"), zip(&members[..1])).unwrap();
    fs::write(house.at("bombs.zip"), zip(&members)).unwrap();
    // All members are the same bytes of the archive.
    let mut overlapping = zip(&members[..1]);
    let central = overlapping.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let end = overlapping.windows(4).position(|four| four == b"PK\x05\x06").unwrap();
    let (head, rest) = (overlapping[central..end].to_vec(), overlapping.split_off(end));
    for number in 1..3000 {
        let (before, name) = (&head[..head.len() - 3], format!("{number:03x}"));
        overlapping.extend([before, name.as_bytes()].concat());
    }
    let bytes = (overlapping.len() - central) as u32;
    overlapping.extend(&rest[..8]);
    overlapping.extend([3000u16.to_le_bytes(), 3000u16.to_le_bytes()].concat());
    overlapping.extend(bytes.to_le_bytes());
    overlapping.extend((central as u32).to_le_bytes());
    overlapping.extend([0, 0]);
    fs::write(house.at("overlapping.zip"), overlapping).unwrap();
    let huge =
        entry(Layout::Second, Kind::Result, &result(Layout::Second, &[(0, Ok(&zeros))]), Some(1));
    fs::write(house.at("huge"), &huge).unwrap();
    // With 700 MB of addresses not all of it can be held.
    let limited = |words: &[&str]| {
        let shell = house
            .command(Path::new("sh"))
            .env("LARDER_DIR", house.at("own"))
            .args(["-c", "ulimit -v 700000; exec \"$@\"", "sh"])
            .arg(larder_binary())
            .args(words)
            .output()
            .unwrap();
        (shell.status.code(), text_of(&shell))
    };
    let (status, text) = limited(&["inspect", "bomb.zip"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("{} bytes", zeros.len())), "{text}");
    let (status, text) = limited(&["inspect", "bombs.zip"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("damaged: 010 has more than"), "{text}");
    let (status, text) = limited(&["inspect", "overlapping.zip"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("longer than the archive"), "{text}");
    let (status, text) = limited(&["inspect", "huge"]);
    assert_eq!(status, Some(0), "{text}");
}
