//! A larder called `ccache`: its options on the store, beside those of a real ccache where there
//! is one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use larder_engine::{
    Entry, Key, Options, Put, RecordKind, RecordLayout, Section, SectionKind, Store,
};
use larder_tests::{find_or_skip, larder_binary};

use super::Sandbox;

/// A directory to compile in, and a cache directory, which a real ccache may share.
pub struct Caches {
    sandbox: Sandbox,
}

/// What a program said.
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            status: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Caches {
    pub fn new() -> Caches {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.dir.path().join("bin")).unwrap();
        symlink(larder_binary(), sandbox.dir.path().join("bin/ccache")).unwrap();
        Caches { sandbox }
    }

    pub fn work(&self) -> PathBuf {
        self.sandbox.work()
    }

    pub fn cache(&self) -> PathBuf {
        self.sandbox.dir.path().join("cache")
    }

    pub fn write(&self, name: &str, text: &str) {
        self.sandbox.write(name, text);
    }

    /// One of the two programs, with the same clean environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.sandbox.command(program);
        command.env_remove("LARDER_DIR").env_remove("LARDER_LOG").env("CCACHE_DIR", self.cache());
        command.env("TZ", "UTC").env("CCACHE_CONFIGPATH2", "");
        command
    }

    pub fn own(&self) -> PathBuf {
        self.sandbox.dir.path().join("bin/ccache")
    }

    /// Runs larder called `ccache`.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(&self.own()).args(arguments).output().unwrap())
    }

    /// The same, which must succeed; what it prints.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        said.stdout
    }

    /// The same, which must fail with status 1; what it complains about.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.status, said.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(said.stderr.starts_with("ccache: error: "), "{}", said.stderr);
        said.stderr
    }

    #[track_caller]
    pub fn count(&self, id: &str) -> u64 {
        let stats = self.ok(&["--print-stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(id)?.strip_prefix('\t'));
        line.unwrap_or_else(|| panic!("no {id} in {stats}")).parse().unwrap()
    }

    /// Direct hits and misses.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.count("direct_cache_hit"), self.count("cache_miss"))
    }

    /// Compiles a file of some text.
    #[track_caller]
    pub fn compile(&self, name: &str) {
        self.ok(&["gcc", "-c", name, "-o", &format!("{name}.o")]);
    }

    pub fn names(&self, directory: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn with_sources(count: usize) -> Caches {
    let caches = Caches::new();
    for number in 0..count {
        caches
            .write(&format!("{number}.c"), &format!("int f{number}(void) {{ return {number}; }}"));
    }
    caches
}

/// Ids and their values.
fn ids(stats: &str) -> Vec<&str> {
    stats.lines().map(|line| line.split('\t').next().unwrap()).collect()
}

#[test]
fn the_counters_are_printed_as_programs_want_them() {
    let caches = with_sources(1);
    let empty = caches.ok(&["--print-stats"]);
    assert!(!caches.cache().exists(), "asking makes nothing");
    assert!(ids(&empty).is_sorted() && ids(&empty).len() == 53, "{empty}");
    assert!(empty.contains("max_cache_size_kibibyte\t5242880\n"), "{empty}");
    assert!(empty.contains("stats_updated_timestamp\t0\n"));
    (0..3).for_each(|_| caches.compile("0.c"));
    let stats = caches.ok(&["--print-stats"]);
    assert_eq!(ids(&stats), ids(&empty));
    for row in
        ["cache_miss\t1", "direct_cache_hit\t2", "files_in_cache\t2", "max_files_in_cache\t0"]
    {
        assert!(stats.lines().any(|line| line == row), "{row} in {stats}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&caches.ok(&["--print-stats", "--format=json"])).unwrap();
    for line in stats.lines() {
        let (id, value) = line.split_once('\t').unwrap();
        assert_eq!(json[id].as_u64(), value.parse().ok(), "{id}");
    }
    assert_eq!(json.as_object().unwrap().len(), stats.lines().count());
    let kib = caches.count("cache_size_kibibyte");
    let du = Command::new("du").args(["-sk"]).arg(caches.cache().join("larder")).output().unwrap();
    let du = String::from_utf8_lossy(&du.stdout).into_owned();
    let du: u64 = du.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib.abs_diff(du) <= 8, "{kib} KiB, du says {du}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.as_secs().abs_diff(caches.count("stats_updated_timestamp")) < 60);
    assert!(caches.fails(&["--print-stats", "--format=xml"]).contains("xml"));
}

#[test]
fn zeroing_keeps_what_is_stored_and_notes_the_moment() {
    let caches = with_sources(1);
    assert_eq!(caches.ok(&["-z"]), "Statistics zeroed\n");
    let first = caches.count("stats_zeroed_timestamp");
    assert!(first > 0);
    (0..2).for_each(|_| caches.compile("0.c"));
    assert_eq!(caches.hits_and_misses(), (1, 1));
    assert_eq!(caches.ok(&["--zero-stats", "--dry-run"]), "Would zero statistics\n");
    assert_eq!(caches.hits_and_misses(), (1, 1));
    caches.ok(&["-zs"]);
    assert_eq!((caches.hits_and_misses(), caches.count("files_in_cache")), ((0, 0), 2));
    assert!(caches.count("stats_zeroed_timestamp") >= first);
    assert_eq!(caches.names(&caches.cache()), BTreeSet::from(["larder".to_owned()]));
}

#[test]
fn the_page_has_the_lines_that_programs_look_for() {
    let caches = with_sources(2);
    assert_eq!(
        caches.ok(&["-s"]),
        "Local storage:\n  Cache size (GiB): 0.0 / 5.0 ( 0.00%)\n",
        "nothing was counted"
    );
    (0..2).for_each(|_| caches.compile("0.c"));
    caches.run(&["gcc", "0.c", "1.c"]);
    let page = caches.ok(&["-s"]);
    for line in [
        "Cacheable calls:    2 /   3 (66.67%)",
        "  Hits:             1 /   2 (50.00%)",
        "    Direct:         1 /   1 (100.0%)",
        "  Misses:           1 /   2 (50.00%)",
        "Uncacheable calls:  1 /   3 (33.33%)",
    ] {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.lines().any(|other| words(other) == words(line)), "{line} in {page}");
    }
    assert!(!page.contains("Called for") && !page.contains("Successful lookups"));
    let verbose = caches.ok(&["-v", "--show-stats"]);
    assert!(verbose.contains("Successful lookups:\n") && verbose.contains("Cache directory:"));
    assert!(verbose.contains("  Files:") && !verbose.contains("Stats zeroed"), "{verbose}");
    let all = caches.ok(&["-svv"]);
    assert!(all.contains("Stats zeroed:") && all.contains("never") && all.contains("Timeouts:"));
}

/// The lines of a page without their numbers.
fn labels(page: &str) -> Vec<String> {
    let label = |line: &str| line.split(':').next().unwrap().replace("(GiB)", "(GB)");
    page.lines().map(label).collect()
}

/// The lines of a page with single blanks, without those that tell a place, a moment or a size.
fn figures(page: &str) -> Vec<String> {
    let tells_more = |line: &&str| {
        ["Cache size", "Cache directory", "Config file", "System config file", "Stats "]
            .iter()
            .any(|start| line.trim().starts_with(start))
    };
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    page.lines().filter(|line| !tells_more(line)).map(single).collect()
}

#[test]
fn the_page_has_the_lines_of_a_real_one() {
    let Some(real) = find_or_skip("ccache") else { return };
    let caches = with_sources(2);
    let run = |program: &Path, arguments: &[&str]| {
        Said::of(&caches.command(program).args(arguments).output().unwrap())
    };
    for program in [&real, &caches.own()] {
        for name in ["0.c", "0.c", "1.c"] {
            assert_eq!(run(program, &["gcc", "-c", name]).status, Some(0));
        }
        assert_eq!(run(program, &["gcc", "0.c"]).status, Some(1), "that is a link without main");
    }
    for how in [&["-s"] as &[&str], &["-s", "-v"], &["-svv"]] {
        let (theirs, ours) = (run(&real, how).stdout, run(&caches.own(), how).stdout);
        let known = labels(&ours);
        // A newer ccache counts more.
        let missing: Vec<_> =
            labels(&theirs).into_iter().filter(|label| !known.contains(label)).collect();
        assert!(missing.is_empty(), "{how:?}: {missing:?}");
        let ours = figures(&ours);
        let other: Vec<_> =
            figures(&theirs).into_iter().filter(|line| !ours.contains(line)).collect();
        assert!(other.is_empty(), "{how:?}: {other:?} are not in {ours:?}");
    }
    let (theirs, ours) = (run(&real, &["--print-stats"]), run(&caches.own(), &["--print-stats"]));
    let ours = ids(&ours.stdout);
    assert!(ids(&theirs.stdout).iter().all(|id| ours.contains(id)), "{ours:?}");
}

#[test]
fn clearing_and_cleaning_leave_a_real_ccache_alone() {
    let Some(real) = find_or_skip("ccache") else { return };
    let caches = with_sources(1);
    let run_real =
        |arguments: &[&str]| Said::of(&caches.command(&real).args(arguments).output().unwrap());
    for _ in 0..2 {
        assert_eq!(run_real(&["gcc", "-c", "0.c"]).status, Some(0));
        caches.compile("0.c");
    }
    let theirs = || {
        let find = Command::new("find")
            .arg(caches.cache())
            .args(["-path", "*/larder", "-prune"])
            .args(["-o", "-type", "f", "-printf", "%P %s %T@\n"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&find.stdout).into_owned();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = theirs();
    assert!(before.len() > 4, "{before:?}");
    for arguments in [
        &["-c"] as &[&str],
        &["--evict-older-than", "0s"],
        &["--evict-namespace", ""],
        &["-X", "3"],
        &["-x"],
        &["-z"],
        &["-C"],
    ] {
        caches.ok(arguments);
        assert_eq!(theirs(), before, "{arguments:?}");
    }
    assert_eq!(caches.count("files_in_cache"), 0);
    let stats = run_real(&["--print-stats"]).stdout;
    assert!(stats.contains("direct_cache_hit\t1\n"), "{stats}");
    assert_eq!(run_real(&["gcc", "-c", "0.c"]).status, Some(0));
    assert!(run_real(&["--print-stats"]).stdout.contains("direct_cache_hit\t2\n"));
    // And the other way round: a real one that is cleared leaves ours.
    caches.compile("0.c");
    assert_eq!(run_real(&["-C"]).status, Some(0));
    assert_eq!(caches.count("files_in_cache"), 2);
}

#[test]
fn limits_are_written_to_the_file_and_told() {
    let caches = Caches::new();
    assert_eq!(caches.ok(&["-M", "500M"]), "Set cache size limit to 500.0 MB\n");
    assert_eq!(caches.count("max_cache_size_kibibyte"), 500_000_000 / 1024);
    assert_eq!(caches.ok(&["--max-size=2"]), "Set cache size limit to 2.0 GiB\n");
    assert_eq!(caches.ok(&["-F", "7", "-k", "max_files"]), "Set cache file limit to 7\n7\n");
    assert_eq!(caches.ok(&["-M0"]), "Unset cache size limit\n");
    assert_eq!(caches.ok(&["--max-files", "0"]), "Unset cache file limit\n");
    let file = fs::read_to_string(caches.cache().join("ccache.conf")).unwrap();
    assert_eq!(file, "max_size = 0\nmax_files = 0\n");
    assert!(caches.ok(&["--dry-run", "-M", "1G"]).starts_with("Would set max_size to 1G"));
    assert_eq!(fs::read_to_string(caches.cache().join("ccache.conf")).unwrap(), file);
    for (arguments, why) in [
        (&["-M", "many"] as &[&str], "invalid size: \"many\""),
        (&["-M", ""], "invalid size: \"\""),
        (&["-F", "x"], "invalid unsigned integer: \"x\""),
        (&["-k", "foo"], "unknown configuration option \"foo\""),
        (&["-o", "foo=1"], "unknown configuration option \"foo\""),
        (&["-o", "foo"], "missing equal sign in \"foo\""),
        (&["--evict-older-than", "5"], "invalid suffix"),
        (&["--evict-older-than", "5x"], "invalid suffix"),
        (&["-X", "foo"], "invalid integer: \"foo\""),
        (&["--threads", "0"], "invalid number of threads"),
        (&["--trim-method", "age"], "invalid trim method"),
        (&["--show-log-stats"], "No stats log has been configured"),
        (&["--foo"], "unrecognized option '--foo'"),
        (&["-q"], "invalid option -- 'q'"),
        (&["-k"], "option requires an argument -- 'k'"),
        (&["--s"], "is ambiguous"),
    ] {
        let said = caches.fails(arguments);
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}

#[test]
fn other_directories_and_files_can_be_named() {
    let caches = with_sources(1);
    caches.compile("0.c");
    let other = caches.work().join("other");
    let other = other.to_str().unwrap();
    assert!(caches.ok(&["-d", other, "-s"]).starts_with("Local storage:"));
    assert!(!Path::new(other).exists());
    caches.ok(&["-d", "/nowhere", "-M", "1G", "--directory", other]);
    assert_eq!(fs::read_to_string(format!("{other}/ccache.conf")).unwrap(), "max_size = 1G\n");
    let file = caches.work().join("file.conf");
    fs::write(&file, "max_size = 3G\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(caches.ok(&["--config-path", file, "-k", "max_size"]), "3.0 GB\n");
    assert_eq!(caches.ok(&["-k", "max_size"]), "5.0 GiB\n");
}

#[test]
fn a_namespace_is_evicted_and_a_dry_run_only_tells() {
    let caches = with_sources(2);
    caches.compile("0.c");
    caches.ok(&["namespace=ci", "gcc", "-c", "1.c"]);
    assert_eq!(caches.count("files_in_cache"), 4);
    let told = caches.ok(&["--evict-namespace", "ci", "--dry-run"]);
    assert!(told.starts_with("Would remove data: ") && told.ends_with("files)\n"), "{told}");
    assert_eq!(caches.count("files_in_cache"), 4);
    assert_eq!(caches.count("cleanups_performed"), 0);
    let done = caches.ok(&["--evict-namespace=ci"]);
    assert_eq!(done.strip_prefix("Removed"), told.strip_prefix("Would remove"));
    assert_eq!((caches.count("files_in_cache"), caches.count("cleanups_performed")), (2, 1));
    caches.compile("0.c");
    assert_eq!(caches.hits_and_misses(), (1, 2));
}

#[test]
fn cleaning_up_keeps_to_the_limit() {
    let caches = with_sources(3);
    (0..3).for_each(|number| caches.compile(&format!("{number}.c")));
    assert_eq!(caches.ok(&["-c"]), "Removed data: 0.0 KiB (0 files)\n");
    assert_eq!(caches.count("files_in_cache"), 6);
    caches.ok(&["-M", "1k"]);
    assert!(caches.ok(&["-c", "--dry-run"]).starts_with("Would remove data: "));
    assert_eq!(caches.count("files_in_cache"), 6);
    let done = caches.ok(&["-c"]);
    assert!(done.starts_with("Removed data: ") && !done.contains("(0 files)"), "{done}");
    assert_eq!(caches.count("files_in_cache"), 0, "no store is as small as that");
}

/// The steps that a CI action performs around a build, twice: what the second build did not use is
/// gone after it, and what it used stays.
#[test]
fn the_steps_of_a_ci_action_work() {
    let caches = with_sources(3);
    let cache = caches.cache();
    let cache_dir = format!("cache_dir={}", cache.display());
    for (run, built) in [[0, 1, 2], [0, 1, 1], [0, 1, 1]].iter().enumerate() {
        for setting in [cache_dir.as_str(), "max_size=500M", "compression=true"] {
            assert_eq!(caches.ok(&[&format!("--set-config={setting}")]), "");
        }
        let config = caches.ok(&["-p"]);
        let file = cache.join("ccache.conf");
        let file = file.display();
        assert!(config.contains(&format!("({file}) max_size = 500.0 MB\n")), "{config}");
        assert!(config.contains(&format!("({file}) compression = true\n")), "{config}");
        caches.ok(&["-z"]);
        // A job lasts longer than the second in which the last one ended.
        sleep(Duration::from_millis(2100));
        built.iter().for_each(|number| caches.compile(&format!("{number}.c")));
        let wanted = if run == 0 { (0, 3) } else { (3, 0) };
        assert_eq!(caches.hits_and_misses(), wanted, "run {run}");
        let page = caches.ok(&["-s", "-v"]);
        assert!(page.contains("Cache size (GB):") && page.contains("  Hits:"), "{page}");
        caches.ok(&["-s"]);
        let stats = caches.ok(&["--print-stats", "--format=json"]);
        let json: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!(json["direct_cache_hit"], wanted.0);
        let evicted = caches.ok(&["--evict-older-than=1s"]);
        assert!(evicted.starts_with("Removed data: "), "{evicted}");
        // Small records share the bit of a granule, so a neighbour of what was used may stay.
        let left = caches.count("files_in_cache");
        let is_right = if run == 0 { left == 6 } else { (4..6).contains(&left) };
        assert!(is_right, "run {run}: {left} left; {evicted}");
    }
    assert_eq!(caches.names(&cache), BTreeSet::from(["ccache.conf".into(), "larder".into()]));
}

#[test]
fn a_statistics_log_is_summed_up() {
    let caches = Caches::new();
    let log = caches.work().join("log");
    fs::write(&log, "# a.c\ncache_miss\ndirect_cache_miss\n# b.c\ndirect_cache_hit\n").unwrap();
    caches.ok(&["-o", &format!("stats_log={}", log.display())]);
    let page = caches.ok(&["--show-log-stats", "-v"]);
    assert!(page.contains("  Hits: ") && page.contains("1 / 2 (50.00%)"), "{page}");
    assert!(!page.contains("Cache size"), "{page}");
    fs::write(&log, "# a.c\nlocal_storage_hit\nlocal_storage_read_hit\ncalled_for_link\n").unwrap();
    let page = caches.ok(&["--show-log-stats", "-v"]);
    for line in
        ["  Called for linking: 1 / 1 (100.0%)", "Local storage:", "  Reads:              1"]
    {
        assert!(page.lines().any(|known| known == line), "{line} in {page}");
    }
    assert!(!caches.ok(&["--show-log-stats"]).contains("Local storage"), "{page}");
    fs::write(&log, "# a.c\ncache_miss\ndirect_cache_miss\n# b.c\ndirect_cache_hit\n").unwrap();
    let lines = caches.ok(&["--print-log-stats"]);
    assert!(lines.contains("cache_miss\t1\n") && lines.contains("recache\t0\n"), "{lines}");
    assert!(!lines.contains("files_in_cache"));
    let json = caches.ok(&["--print-log-stats", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["direct_cache_hit"], 1);
}

#[test]
fn what_is_stored_uncompressed_can_be_compressed() {
    let caches = with_sources(1);
    caches.compile("0.c");
    // As with file_clone, on a file system that can clone.
    let options = Options::new().layout(RecordLayout::Cloneable).clone_bytes_min(Some(0));
    let store = || Store::open(&caches.cache().join("larder"), options.clone()).unwrap();
    let object = b"some words that come again and again; ".repeat(10_000);
    let section =
        Section::new(SectionKind::Object, object.as_slice()).mode(0o640).name(b"n".as_slice());
    let key = Key::of(b"x");
    let mut entry = Entry::new(key, RecordKind::Result, vec![section]);
    (entry.namespace, entry.created_secs) = ("ci".into(), Some(77));
    assert_eq!(store().put(&entry).unwrap(), Put::Stored);
    assert!(store().get(&key).unwrap().unwrap().head().cloneable);
    let told = caches.ok(&["-x"]);
    assert!(told.contains("Total data:") && told.contains("Incompressible data:  37"), "{told}");
    assert_eq!(caches.ok(&["-X", "5", "--dry-run"]), "Would recompress 1 results\n");
    let done = caches.ok(&["-X", "5"]);
    let change = done.lines().find_map(|line| line.strip_prefix("Size change:")).unwrap();
    assert!(change.trim().starts_with('-') && change.contains("KiB"), "{done}");
    assert_eq!(caches.ok(&["-X", "5", "--dry-run"]), "Would recompress 0 results\n");
    let record = store().get(&key).unwrap().unwrap();
    assert_eq!((record.namespace(), record.created_secs()), ("ci", 77));
    let info = &record.sections()[0];
    assert_eq!((info.mode, info.name.as_slice()), (0o640, b"n".as_slice()));
    assert_eq!(record.read(0).unwrap(), object);
    assert!(record.head().body_bytes < 10_000 && !record.head().cloneable);
    caches.compile("0.c");
    assert_eq!((caches.hits_and_misses(), caches.count("files_in_cache")), ((1, 1), 3));
    assert!(caches.ok(&["-X", "uncompressed"]).contains("without compression"));
}

#[test]
fn help_and_versions_end_well_and_no_option_at_all_does_not() {
    let caches = Caches::new();
    let version = caches.ok(&["--version"]);
    assert!(version.lines().next().unwrap().starts_with("ccache version 4."), "{version}");
    assert!(version.lines().nth(1).unwrap().starts_with("Features: file-storage"), "{version}");
    let number = caches.ok(&["--print-version"]);
    assert_eq!(version.lines().next().unwrap(), format!("ccache version {}", number.trim()));
    let help = caches.ok(&["-h"]);
    let said = caches.run(&[]);
    assert_eq!((said.status, said.stderr.as_str()), (Some(1), help.as_str()));
    assert!(!caches.ok(&["--stop-storage-helpers"]).is_empty());
    let Some(real) = find_or_skip("ccache") else { return };
    let theirs = Said::of(&caches.command(&real).arg("--help").output().unwrap()).stdout;
    let options = theirs.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 4);
    for option in options {
        let option = option.split([':', ';', ',', '.', ')', '/']).next().unwrap();
        assert!(help.contains(option), "{option} in {help}");
    }
}
