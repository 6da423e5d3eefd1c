//! Stores, archives and databases that somebody harmed or made to do harm: nothing is written
//! outside of the target, no process crashes, and what is wrong is named.

use std::fs;

use larder::ccache_entry::Kind;
use larder_engine::{Entry, Options, Put, RecordKind, Section, SectionKind, Store};
use larder_tests::fuzz_ccache::{Layout, entry, result};
use larder_tests::sample::Random;
use larder_tools::entry::{Family, Name};
use larder_tools::layout::foreign;

use super::eras::make;
use super::*;

fn small() -> Vec<u8> {
    let layout = Layout::Second;
    entry(layout, Kind::Result, &result(layout, &[(0, Ok(b"an object"))]), None)
}

/// A record as an adversary makes one: under the key of `key`, called `name`, with these files.
fn hostile(store: &Store, key: &Name, name: &str, files: &[(&[u8], &[u8])]) {
    let mut attributes = vec![1, 2];
    files.iter().for_each(|_| attributes.extend([0; 16]));
    let mut sections = vec![
        Section::new(SectionKind::ForeignName, name.as_bytes().to_vec()),
        Section::new(SectionKind::ForeignAttributes, attributes),
    ];
    sections.extend(files.iter().map(|(label, bytes)| {
        Section::new(SectionKind::ForeignEntry, bytes.to_vec()).name(*label)
    }));
    let put = store.put(&Entry::new(foreign::key(key), RecordKind::Foreign, sections)).unwrap();
    assert_eq!(put, Put::Stored);
}

fn name(digit: char) -> Name {
    Name::new(Family::Ccache, digit.to_string().repeat(40))
}

#[test]
fn records_that_lie_about_their_names_stay_in_the_store() {
    let house = House::new();
    let store = Store::open(&house.at("store"), Options::new()).unwrap();
    let whole = small();
    let good = name('0');
    hostile(&store, &good, &good.to_string(), &[(b"", &whole)]);
    // The name of another entry, of one that is there and of one that is not.
    hostile(&store, &name('1'), &good.to_string(), &[(b"", &whole)]);
    hostile(&store, &name('2'), &name('3').to_string(), &[(b"", &whole)]);
    for (digit, label) in [
        ('4', b"../../x".as_slice()),
        ('5', b"_00/../.."),
        ('6', b"/etc/x"),
        ('7', b"\xff"),
        ('8', b".o"),
    ] {
        hostile(&store, &name(digit), &name(digit).to_string(), &[(b"", &whole), (label, b"x")]);
    }
    hostile(&store, &name('9'), &name('9').to_string(), &[(b"", &whole), (b"", &whole)]);
    for (digit, text) in [('a', "../../../x"), ('b', ""), ('c', "\x1b[31m")] {
        hostile(&store, &name(digit), &format!("ccache:{text}"), &[(b"", &whole)]);
    }
    hostile(&store, &name('d'), "no such tool:x", &[(b"", &whole)]);
    let file = Name::new(Family::File, "../../passwd");
    hostile(&store, &file, &file.to_string(), &[(b"", b"x")]);
    let old = Name::new(Family::Ccache3, "e".repeat(32));
    hostile(&store, &old, &old.to_string(), &[(b"", b"x"), (b".o", b"x")]);
    drop(store);
    for (layout, to) in
        [("ccache", "in/to"), ("tar", "to.tar"), ("lmdb", "to.lmdb"), ("larder", "two")]
    {
        let (status, page) = house.convert(&["store", to, "--to", layout]);
        assert_eq!(status, Some(4), "{page:#}");
        assert_eq!((&page["entries"], &page["damaged_count"]), (&1.into(), &14.into()), "{page:#}");
        assert_eq!((&page["gone"], &page["failed_count"]), (&0.into(), &0.into()), "{page:#}");
    }
    let found: Vec<String> = entries_of(&tree(&house.at("in"))).into_keys().collect();
    assert_eq!(found, [format!("to/0/0/{}", "0".repeat(38))]);
    let beside = fs::read_dir(house.dir.path()).unwrap().map(|one| one.unwrap().file_name());
    let mut beside: Vec<_> = beside.map(|name| name.into_string().unwrap()).collect();
    beside.sort();
    assert_eq!(beside, ["in", "store", "to.lmdb", "to.lmdb-lock", "to.tar", "two"]);
    let listed = house.good(&["ls", "store"]);
    let text = String::from_utf8(listed).unwrap_or_default();
    assert!(!text.contains("no such file"), "{text}");
}

/// The head of a member, and its bytes up to the next head.
fn member(path: &str, kind: u8, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", bytes.len()).as_bytes());
    put(136, b"14000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = bytes.len().next_multiple_of(512) - bytes.len();
    [head, bytes.to_vec(), vec![0; padding]].concat()
}

#[test]
fn members_of_an_archive_cannot_lead_anywhere_else() {
    let house = House::new();
    let whole = small();
    let rest = "0".repeat(38);
    let good = format!("a/b/{rest}");
    let twice = format!("c/d/{rest}");
    let mut archive = Vec::new();
    archive.extend(member(&format!("./{good}"), b'0', "", &whole));
    archive.extend(member(&twice, b'0', "", b"the first of two"));
    archive.extend(member(&twice, b'0', "", &whole));
    let strange = [
        (format!("../0/1/{rest}"), b'0', ""),
        (format!("/0/2/{rest}"), b'0', ""),
        (format!("0/../0/3/{rest}"), b'0', ""),
        (format!("0/4/{rest}"), b'2', "/etc/passwd"),
        (format!("0/5/{rest}"), b'1', &*good),
        (format!("0/6/{rest}"), b'6', ""),
        (format!("0/7/{rest}/x"), b'0', ""),
        ("../../etc/stats".to_owned(), b'0', ""),
        ("x\x1b[31m".to_owned(), b'0', ""),
    ];
    for (path, kind, link) in &strange {
        let bytes = if *kind == b'0' { &whole[..] } else { &[] };
        archive.extend(member(path, *kind, link, bytes));
    }
    archive.extend(member("0/", b'5', "", b""));
    archive.extend([0; 1024]);
    fs::create_dir(house.at("in")).unwrap();
    fs::write(house.at("in/hostile.tar"), &archive).unwrap();
    let page = house.convert_all(&["in/hostile.tar", "in/to", "--to", "ccache"]);
    assert_eq!(page["entries"], 2, "{page:#}");
    assert_eq!(page["strangers_count"], strange.len(), "{page:#}");
    let found = entries_of(&tree(&house.at("in/to")));
    assert_eq!(found.keys().collect::<Vec<_>>(), [&good, &twice]);
    assert!(found.values().all(|kept| kept.bytes == whole), "of two the later one counts");
    assert_eq!(fs::read_dir(house.dir.path()).unwrap().count(), 1);
}

#[test]
fn of_an_archive_that_is_cut_short_the_beginning_arrives() {
    let house = House::new();
    super::eras::place(&make::ccache_413(), &house.at("from"));
    house.convert_all(&["from", "whole.tar"]);
    let whole = fs::read(house.at("whole.tar")).unwrap();
    let wanted = tree(&house.at("from"));
    let mut statuses = BTreeMap::<_, u32>::new();
    for at in (0..whole.len()).step_by(700) {
        fs::write(house.at("cut.tar"), &whole[..at]).unwrap();
        let to = format!("to-{at}");
        let output = house.run(&["convert", "cut.tar", &to, "--to", "ccache", "--json"]);
        let status = output.status.code();
        assert!(matches!(status, Some(0 | 1 | 4)), "{at} {}", text_of(&output));
        *statuses.entry(status).or_default() += 1;
        if let Ok(page) = serde_json::from_slice::<Value>(&output.stdout) {
            let found = tree(&house.at(&to));
            let found = entries_only(found);
            assert!(found.iter().all(|(path, kept)| wanted.get(path) == Some(kept)), "{at}");
            let missing = found.len() < entries_only(wanted.clone()).len();
            assert!(!missing || status == Some(4), "{at} {page:#}");
        }
    }
    assert!(statuses[&Some(4)] > 10, "{statuses:?}");
    // A head whose checksum is wrong.
    let mut bytes = whole.clone();
    let second = 512 + 1024;
    bytes[second + 600] ^= 1;
    fs::write(house.at("harmed.tar"), bytes).unwrap();
    let output = house.run(&["convert", "harmed.tar", "harmed", "--to", "ccache", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 1 | 4)), "{}", text_of(&output));
    // A length beyond the end.
    let mut long = member(&format!("a/b/{}", "0".repeat(38)), b'0', "", &small());
    long[124..136].copy_from_slice(b"77777777777\0");
    long[148..156].copy_from_slice(b"        ");
    let sum: u32 = long[..512].iter().map(|byte| u32::from(*byte)).sum();
    long[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(house.at("long.tar"), long).unwrap();
    let (status, page) = house.convert(&["long.tar", "long", "--to", "ccache"]);
    assert_eq!((status, &page["entries"]), (Some(4), &0.into()), "{page:#}");
}

fn entries_only(tree: Tree) -> Tree {
    tree.into_iter().filter(|(path, _)| !path.ends_with("/stats")).collect()
}

/// LMDB trusts its file: a damaged one ended the process with SIGBUS, SIGSEGV or an assertion.
#[test]
fn a_damaged_database_is_told_and_crashes_nothing() {
    let house = House::new();
    let mut files = make::ccache_40();
    for number in 0..300 {
        files.insert(format!("0/0/{number:030x}-1.o"), vec![number as u8 | 1; 100 + number * 50]);
    }
    super::eras::place(&files, &house.at("from"));
    house.convert_all(&["from", "whole.lmdb"]);
    // Pages that are free again.
    house.convert_all(&["from", "whole.lmdb", "--overwrite"]);
    let whole = fs::read(house.at("whole.lmdb")).unwrap();
    let mut refused = 0;
    let mut check = |bytes: &[u8], what: &str| {
        fs::write(house.at("harmed.lmdb"), bytes).unwrap();
        for words in [
            &["ls", "harmed.lmdb"][..],
            &["convert", "harmed.lmdb", "to", "--to", "ccache"],
            &["convert", "from", "harmed.lmdb", "--overwrite"],
        ] {
            let output = house.run(words);
            assert!(matches!(output.status.code(), Some(0 | 1 | 4)), "{what} {}", text_of(&output));
            if words[0] == "ls" && !output.status.success() {
                refused += 1;
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(said.contains("harmed.lmdb"), "{said}");
            }
        }
    };
    for count in [1, 4095, 4096, 8191, 8192, 8193, 12288, whole.len() / 2, whole.len() - 4096] {
        check(&whole[..count], &format!("{count} bytes"));
    }
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut bytes = whole.clone();
        for _ in 0..*random.choose(&[1u64, 10, 100, 1000]) {
            // Most of the file is values, in which nothing but their checksums is wrong.
            let page = random.below(bytes.len() as u64 / 4096) as usize * 4096;
            let within = *random.choose(&[16u64, 200, 4096]);
            bytes[page + random.below(within) as usize] = *random.choose(&[0, 1, 0xff]);
        }
        check(&bytes, &format!("seed {seed}"));
    }
    assert!(refused > 20, "{refused} were refused");
    for nonsense in [vec![0; 8192], vec![0xff; 65536], b"no database".repeat(1000)] {
        fs::write(house.at("nonsense"), nonsense).unwrap();
        let output = house.run(&["ls", "nonsense", "--from", "lmdb"]);
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    }
}

/// What another program keeps in a database of LMDB is none of ours.
#[test]
fn a_file_of_no_layout_is_refused_by_name() {
    let house = House::new();
    fs::write(house.at("a.txt"), "text").unwrap();
    fs::create_dir(house.at("empty")).unwrap();
    super::write(&house.at("other/0/1/readme.txt"), b"text");
    assert!(Command::new("mkfifo").arg(house.at("fifo")).status().unwrap().success());
    for from in ["a.txt", "empty", "other", "fifo", "missing"] {
        for words in [&["convert", from, "to", "--to", "ccache"][..], &["ls", from], &["du", from]]
        {
            let output = house.run(words);
            assert_eq!(output.status.code(), Some(1), "{words:?} {}", text_of(&output));
            assert!(String::from_utf8_lossy(&output.stderr).contains(from), "{}", text_of(&output));
            assert!(!house.at("to").exists(), "nothing was made");
        }
    }
    for word in ["fifo", "empty", "a.txt"] {
        let output = house.run(&["inspect", word]);
        assert_eq!(output.status.code(), Some(1), "{word} {}", text_of(&output));
    }
}
