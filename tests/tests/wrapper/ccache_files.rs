//! A larder called `ccache` on files that a real ccache has made: what it tells of them, what it
//! takes out of them, and what it removes. Without a real ccache there is nothing to try it on.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use larder_tests::find_or_skip;

use super::ccache_commands::{Caches, Said};
use super::compilers;

/// Runs the real one with more settings.
fn run_real(caches: &Caches, set: &[(&str, &str)], arguments: &[&str]) -> Said {
    let real = find_or_skip("ccache").expect("it was there");
    let mut command = caches.command(&real);
    command.envs(set.iter().copied());
    Said::of(&command.args(arguments).output().unwrap())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Results and manifests of a cache of 4.7.
fn entries(caches: &Caches) -> Vec<PathBuf> {
    let mut files = files_below(&caches.cache());
    files.retain(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.len() == 32 && (name.ends_with('R') || name.ends_with('M'))
    });
    files
}

/// A cache of several kinds of entry.
fn filled(set: &[(&str, &str)]) -> Caches {
    let caches = Caches::new();
    caches.write("a.h", "extern int a;");
    let numbers = (0..3000).map(|number| format!("{},", number % 7)).collect::<String>();
    let text = format!("#include \"a.h\"\n#include <stddef.h>\nint table[] = {{{numbers}}};");
    caches.write("a.c", &text);
    caches.write("w.c", "int f(void) { int x; }");
    for compiler in compilers() {
        for arguments in [
            &["-c", "a.c"] as &[&str],
            &["-MD", "-g", "-gsplit-dwarf", "--coverage", "-c", "a.c"],
            &["-Wall", "-c", "w.c"],
        ] {
            let said = run_real(&caches, set, &[&[compiler], arguments].concat());
            assert_eq!(said.status, Some(0), "{}", said.stderr);
        }
    }
    caches
}

const KINDS: [&[(&str, &str)]; 4] = [
    &[("CCACHE_NAMESPACE", "one")],
    &[("CCACHE_NOCOMPRESS", "1")],
    &[("CCACHE_HARDLINK", "1")],
    &[("CCACHE_FILECLONE", "1")],
];

#[test]
fn entries_are_told_as_a_real_one_tells_them() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    for kind in KINDS {
        let caches = filled(kind);
        let entries = entries(&caches);
        assert!(entries.len() >= 4, "{entries:?}");
        for entry in entries {
            let path = entry.to_str().unwrap();
            let theirs = run_real(&caches, &[], &["--inspect", path]).stdout;
            let ours = caches.ok(&["--inspect", path]);
            // Digests and keys are written in hexadecimal digits since 4.13.
            let is_same = |line: &&str| !line.contains("Hash:") && !line.contains("Key:");
            let [theirs, ours]: [Vec<_>; 2] =
                [&theirs, &ours].map(|text| text.lines().filter(is_same).collect());
            assert_eq!(ours, theirs, "{path}");
            assert!(ours.len() > 10);
        }
    }
}

#[test]
fn a_digest_in_a_manifest_is_that_of_the_file() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    let caches = filled(&[]);
    let manifest = entries(&caches).into_iter().find(|entry| {
        entry.to_str().unwrap().ends_with('M')
            && caches.ok(&["--inspect", entry.to_str().unwrap()]).contains("a.h")
    });
    let said = caches.ok(&["--inspect", manifest.unwrap().to_str().unwrap()]);
    let digest = caches.ok(&["--hash-file", "a.h"]);
    assert_eq!(digest.trim().len(), 40);
    assert!(said.contains(&format!("Hash: {}", digest.trim())), "{said}");
    assert!(said.contains("File size: 13\n"));
}

/// Names and bytes of what was extracted.
fn extracted(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let files = files_below(directory).into_iter();
    let read = |file: PathBuf| {
        (file.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&file).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn results_are_extracted_as_by_a_real_one() {
    let Some(real) = find_or_skip("ccache") else { return };
    for kind in KINDS {
        let caches = filled(kind);
        for (number, entry) in entries(&caches).iter().enumerate() {
            let mut both = Vec::new();
            for program in [&real, &caches.own()] {
                let place = caches.work().join(format!("{number}.{}", both.len()));
                fs::create_dir(&place).unwrap();
                let mut command = caches.command(program);
                command.current_dir(&place).arg("--extract-result").arg(entry);
                let status = command.output().unwrap().status.code();
                both.push((status, extracted(&place)));
            }
            if entry.to_str().unwrap().ends_with('M') {
                assert_eq!(both[1], (Some(1), Vec::new()), "a manifest has no files");
            } else {
                assert_eq!(both[1], both[0], "{entry:?} {kind:?}");
                assert!(both[1].1.iter().any(|(name, _)| name == "ccache-result.o"));
            }
        }
    }
}

#[test]
fn what_is_extracted_follows_no_link_and_comes_from_stdin_too() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    let caches = filled(&[]);
    let result = entries(&caches).into_iter().find(|entry| entry.to_str().unwrap().ends_with('R'));
    let result = fs::read(result.unwrap()).unwrap();
    caches.write("victim", "precious");
    symlink("victim", caches.work().join("ccache-result.o")).unwrap();
    let mut command = caches.command(&caches.own());
    command.args(["--extract-result", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&result).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read(caches.work().join("victim")).unwrap(), b"precious");
    let object = fs::symlink_metadata(caches.work().join("ccache-result.o")).unwrap();
    assert!(object.is_file() && object.len() > 500);
}

#[test]
fn damaged_entries_are_errors_and_write_nothing() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    let caches = filled(&[]);
    let place = caches.work().join("place");
    fs::create_dir(&place).unwrap();
    let check = |bytes: &[u8], what: &str| {
        fs::write(caches.work().join("damaged"), bytes).unwrap();
        for option in ["--inspect", "--extract-result"] {
            let mut command = caches.command(&caches.own());
            command.current_dir(&place).args([option, "../damaged"]);
            let said = Said::of(&command.output().unwrap());
            assert_eq!((said.status, said.stdout.as_str()), (Some(1), ""), "{what}");
            assert!(said.stderr.starts_with("ccache: error: ../damaged"), "{}", said.stderr);
            assert_eq!(files_below(&place), Vec::<PathBuf>::new());
        }
    };
    for entry in entries(&caches) {
        let bytes = fs::read(&entry).unwrap();
        for length in [0, 1, 2, 5, 20, bytes.len() / 2, bytes.len() - 1] {
            check(&bytes[..length], "cut short");
        }
        for place in [0, 2, 3, 4, 25, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[place] ^= 0x55;
            check(&changed, &format!("changed at {place}"));
        }
        check(&[bytes.as_slice(), b"x"].concat(), "a byte too many");
    }
    check(b"#include <stdio.h>", "a source");
    assert!(caches.fails(&["--inspect", "/nowhere"]).contains("No such file or directory"));
    assert!(caches.fails(&["--hash-file", "/nowhere"]).contains("failed to hash /nowhere"));
    assert!(caches.fails(&["--checksum-file", "/nowhere"]).contains("No such file"));
}

#[test]
fn checksums_and_digests_are_the_known_ones() {
    let caches = Caches::new();
    caches.write("empty", "");
    let empty = "99aa06d3014798d86001c324468d497f\n";
    assert_eq!(caches.ok(&["--checksum-file", "empty"]), empty);
    assert_eq!(caches.ok(&["--checksum-file=-"]), empty);
    // The beginning of the BLAKE3 of nothing.
    let digest = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9\n";
    assert_eq!(caches.ok(&["--hash-file", "empty", "--hash-file", "-"]), digest.repeat(2));
    let Some(real) = find_or_skip("ccache") else { return };
    caches.write("text", &"some text\n".repeat(300_000));
    let mut command = caches.command(&real);
    let theirs = Said::of(&command.args(["--checksum-file", "text"]).output().unwrap());
    assert_eq!(caches.ok(&["--checksum-file", "text"]), theirs.stdout);
}

#[test]
fn records_of_the_own_store_are_told_by_key() {
    let caches = Caches::new();
    caches.write("a.c", "int a;");
    caches.compile("a.c");
    let store = larder_engine::Store::open(
        &caches.cache().join("larder"),
        larder_engine::Options::new().read_only(true),
    );
    let snapshot = store.unwrap().snapshot().unwrap();
    let kind = larder_engine::RecordKind::Result;
    let record = snapshot.iter().find(|record| record.kind() == Some(kind)).unwrap();
    let key = *record.key().as_bytes();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let told = caches.ok(&["--inspect", &key]);
    assert!(told.contains("Entry type: result\n") && told.contains(": object ("), "{told}");
    caches.ok(&["--extract-result", &key]);
    let files = caches.names(&caches.work());
    let object = files.iter().find(|name| name.ends_with(".object")).unwrap();
    let [object, compiled] = [object, "a.c.o"].map(|name| fs::read(caches.work().join(name)));
    assert_eq!(object.unwrap(), compiled.unwrap());
    assert!(caches.fails(&["--inspect", &"0".repeat(64)]).contains("no record"));
}

/// A cache, and a remote storage that it has filled, with what it has put there.
fn with_remote(layout: &str, compiles: usize) -> (Caches, PathBuf, Vec<PathBuf>) {
    let caches = Caches::new();
    let remote = caches.work().join("remote");
    let url = format!("file://{}|layout={layout}", remote.display());
    for number in 0..compiles {
        let name = format!("{number}.c");
        let numbers = (0..2000).map(|at| format!("{},", at % (number + 2))).collect::<String>();
        caches.write(&name, &format!("int table{number}[] = {{{numbers}}};"));
        let set = [("CCACHE_REMOTE_STORAGE", url.as_str())];
        assert_eq!(run_real(&caches, &set, &["gcc", "-c", &name]).status, Some(0));
    }
    let mut found = files_below(&remote);
    found.retain(|file| !file.ends_with("CACHEDIR.TAG"));
    assert_eq!(found.len(), 2 * compiles, "{found:?}");
    (caches, remote, found)
}

/// Compiles everything with an empty local cache; how many results came from the remote one.
fn remote_hits(caches: &Caches, remote: &Path, layout: &str, compiles: usize) -> usize {
    let local = caches.work().join("fresh");
    let _ = fs::remove_dir_all(&local);
    let url = format!("file://{}|layout={layout}", remote.display());
    let local = local.to_str().unwrap();
    let set =
        [("CCACHE_REMOTE_STORAGE", url.as_str()), ("CCACHE_DIR", local), ("CCACHE_READONLY", "1")];
    for number in 0..compiles {
        let said = run_real(caches, &set, &["gcc", "-c", &format!("{number}.c")]);
        assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""));
    }
    let stats = run_real(caches, &set, &["--print-stats"]).stdout;
    let hits = stats.lines().find_map(|line| line.strip_prefix("remote_storage_hit\t"));
    hits.unwrap().parse().unwrap()
}

fn set_times(path: &Path, accessed_hours_ago: u64, modified_hours_ago: u64) {
    let ago = |hours| SystemTime::now() - Duration::from_secs(3600 * hours);
    let times = fs::FileTimes::new();
    let times = times.set_accessed(ago(accessed_hours_ago)).set_modified(ago(modified_hours_ago));
    fs::File::options().append(true).open(path).unwrap().set_times(times).unwrap();
}

fn disk_bytes(files: &[PathBuf]) -> u64 {
    files.iter().map(|file| fs::metadata(file).unwrap().blocks() * 512).sum()
}

#[test]
fn a_remote_storage_is_trimmed_from_the_oldest_on_and_goes_on_working() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    for layout in ["subdirs", "flat"] {
        let (caches, remote, files) = with_remote(layout, 3);
        let path = remote.to_str().unwrap();
        for (at, file) in (0..).zip(&files) {
            set_times(file, 10 + at, 100 - at);
        }
        let limit = disk_bytes(&files) - 1;
        let limit = format!("{}ki", limit / 1024);
        let all = files_below(&remote);
        let told = caches.ok(&["--trim-dir", path, "--trim-max-size", &limit, "--dry-run"]);
        assert!(told.starts_with("Would remove 4.0 KiB ("), "{told}");
        assert_eq!(files_below(&remote), all);
        // The least recently used one is the last, the one that was written first is the first.
        let done = caches.ok(&["--trim-dir", path, "--trim-max-size", &limit]);
        assert_eq!(done.strip_prefix("Removed"), told.strip_prefix("Would remove"));
        let (last, rest) = files.split_last().unwrap();
        assert!(!last.exists() && rest.iter().all(|file| file.exists()));
        let limit = format!("{}ki", disk_bytes(rest) / 1024 - 1);
        caches.ok(&["--trim-method=mtime", "--trim-max-size", &limit, "--trim-dir", path]);
        assert!(!rest[0].exists() && rest[1..].iter().all(|file| file.exists()));
        assert!(remote.join("CACHEDIR.TAG").exists());
        let hits = remote_hits(&caches, &remote, layout, 3);
        // Without its manifest a result is found by its preprocessed text.
        assert!((1..=3).contains(&hits), "{hits}");
        caches.ok(&["--trim-dir", path, "--trim-max-size", "1ki"]);
        let tag: Vec<_> = files_below(&remote);
        assert!(tag.len() == 1 && tag[0].ends_with("CACHEDIR.TAG"), "{tag:?}");
        assert_eq!(remote_hits(&caches, &remote, layout, 3), 0);
    }
}

#[test]
fn a_trim_touches_nothing_but_entries() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    let (caches, remote, files) = with_remote("subdirs", 2);
    // Objects of git have the same names; so may anything have.
    let others = ["ab", "cd", "objects/ab", "notes"].map(|name| remote.join(name));
    let digits = "0123456789abcdef0123456789abcdef012345";
    for directory in &others {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join(digits), b"x\x01K\xca\xc9OR0").unwrap();
        fs::write(directory.join(format!("{digits}.txt")), b"\xcc\xac\x01 and more").unwrap();
    }
    fs::write(remote.join("notes.txt"), b"\xcc\xac\x01").unwrap();
    let outside = caches.work().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::copy(&files[0], outside.join(digits)).unwrap();
    symlink(&outside, remote.join("ef")).unwrap();
    symlink(outside.join(digits), remote.join("ab").join(digits.replace('0', "1"))).unwrap();
    let kept: BTreeSet<_> =
        files_below(&remote).into_iter().filter(|file| !files.contains(file)).collect();
    assert_eq!(kept.len(), 12);
    let path = remote.to_str().unwrap();
    caches.ok(&["--trim-dir", path, "--trim-max-size", "1ki", "--trim-recompress", "9"]);
    assert_eq!(files_below(&remote).into_iter().collect::<BTreeSet<_>>(), kept);
    assert!(outside.join(digits).exists());
}

#[test]
fn local_caches_and_what_cannot_be_read_are_refused() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    let caches = filled(&[]);
    let before = files_below(&caches.cache());
    let path = caches.cache();
    let path = path.to_str().unwrap();
    let said = caches.fails(&["--trim-dir", path, "--trim-max-size", "1ki"]);
    assert!(said.contains("this looks like a local cache directory"), "{said}");
    assert_eq!(files_below(&caches.cache()), before);
    let theirs = run_real(&caches, &[], &["--trim-dir", path, "--trim-max-size", "1k"]);
    assert_eq!(theirs.status, Some(1));
    assert!(theirs.stderr.contains("looks like a local cache directory"), "{}", theirs.stderr);
    let said = caches.fails(&["--trim-dir", "/nowhere", "--trim-max-size", "1M"]);
    assert!(said.contains("failed to open directory /nowhere: No such file"), "{said}");
    assert!(caches.fails(&["--trim-dir", "."]).contains("please specify --trim-max-size"));
}

#[test]
fn a_remote_storage_is_compressed_anew_and_a_real_one_reads_it() {
    if find_or_skip("ccache").is_none() {
        return;
    }
    let (caches, remote, files) = with_remote("subdirs", 3);
    let path = remote.to_str().unwrap();
    files.iter().for_each(|file| set_times(file, 50, 60));
    let damaged = files[0].with_file_name("0".repeat(files[0].file_name().unwrap().len()));
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[40] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let told = |file: &PathBuf| caches.ok(&["--inspect", file.to_str().unwrap()]);
    let before: Vec<String> = files.iter().map(told).collect();
    let mut lengths = Vec::new();
    for level in ["uncompressed", "12", "-4"] {
        let would = caches.ok(&["--trim-dir", path, "--trim-recompress", level, "--dry-run"]);
        assert!(would.starts_with("Would recompress 6 files ("), "{would}");
        let said = caches.ok(&["--trim-dir", path, "--trim-recompress", level]);
        assert_eq!(said.strip_prefix("Recompressed"), would.strip_prefix("Would recompress"));
        assert!(said.trim_end().ends_with(", 1 damaged left"), "{said}");
        assert_eq!(fs::read(&damaged).unwrap(), bytes);
        for (file, before) in files.iter().zip(&before) {
            let same = |text: &str| {
                let is_same = |line: &&str| !line.starts_with("Compression ");
                text.lines().filter(is_same).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(same(&told(file)), same(before));
            let hours = fs::metadata(file).unwrap().modified().unwrap().elapsed().unwrap();
            assert_eq!(hours.as_secs() / 3600, 60, "the time of an entry stays");
        }
        assert_eq!(remote_hits(&caches, &remote, "subdirs", 3), 3, "{level}");
        lengths.push(files.iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>());
        files.iter().for_each(|file| set_times(file, 50, 60));
        let again = caches.ok(&["--trim-dir", path, "--trim-recompress", level]);
        assert!(again.starts_with("Recompressed 0 files"), "{again}");
        for file in &files {
            let hours = fs::metadata(file).unwrap().accessed().unwrap().elapsed().unwrap();
            assert_eq!(hours.as_secs() / 3600, 50, "nobody has used it");
        }
    }
    assert!(lengths[0] > 3 * lengths[2] && lengths[2] > lengths[1], "{lengths:?}");
    // Everything is older than the marker.
    let marker = caches.work().join("marker");
    fs::write(&marker, "").unwrap();
    let marker = format!("--trim-marker={}", marker.display());
    let said = caches.ok(&["--trim-dir", path, "--trim-recompress", "2", &marker]);
    assert!(said.starts_with("Recompressed 0 files"), "{said}");
    let left = Command::new("find").arg(&remote).args(["-name", "*.tmp.*"]).output().unwrap();
    assert!(left.stdout.is_empty());
}
