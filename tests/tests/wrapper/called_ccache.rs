//! larder called `ccache`: its configuration, masquerading, circles, the statistics log, and where
//! it keeps what.

mod builds;
mod circles;
mod evicts;
mod messages;
mod remote;
mod side_by_side;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use larder_tests::{TempDir, larder_binary};

use super::compilers;

/// A cache, a directory to work in, and `bin/ccache`, a link to larder.
struct House {
    dir: TempDir,
}

/// A command with an environment of its own; a janitor would be in the way of a directory that
/// goes.
fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("LANG", "C.UTF-8");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LARDER_JANITOR", "off");
    command
}

/// Gives files a time of long ago, always the same.
fn age(directory: &Path) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for entry in fs::read_dir(directory).unwrap() {
        let file = fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(then).unwrap();
    }
}

/// The real ccache, if there is one.
fn real_ccache() -> Option<PathBuf> {
    let named = std::env::var_os("CCACHE_REAL").map(PathBuf::from);
    let found = named.or_else(|| larder_tests::find_or_skip("ccache"))?;
    let version = Command::new(&found).arg("--version").output().ok()?;
    let is_real = !String::from_utf8_lossy(&version.stdout).contains("larder");
    is_real.then_some(found)
}

impl House {
    fn new() -> House {
        let house = House { dir: larder_tests::temp_dir() };
        for name in ["bin", "work"] {
            fs::create_dir(house.dir.path().join(name)).unwrap();
        }
        symlink(larder_binary(), house.ccache()).unwrap();
        house
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ccache(&self) -> PathBuf {
        self.at("bin/ccache")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, text);
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `PATH` with these directories first.
    fn path(&self, first: &[&str]) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let first: Vec<_> = first.iter().map(|name| self.at(name).display().to_string()).collect();
        format!("{}:{path}", first.join(":"))
    }

    /// A program in the working directory, with the cache.
    fn command(&self, program: &Path) -> Command {
        let mut command = clean(program, self.dir.path());
        command.current_dir(self.at("work")).env("CCACHE_DIR", self.at("cache"));
        command.env("CCACHE_STATSLOG", self.at("stats.log"));
        command
    }

    fn run(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(&self.ccache());
        command.args(words).envs(variables.iter().copied()).output().unwrap()
    }

    /// What the calls since the last question counted.
    fn counted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("stats.log")).unwrap_or_default();
        let _ = fs::remove_file(self.at("stats.log"));
        text.lines().map(str::to_owned).collect()
    }

    /// How often something was counted since the last question.
    fn count(&self, counter: &str) -> usize {
        self.counted().iter().filter(|name| *name == counter).count()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_good(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_hit_is_as_ccache_counts_it() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    assert_good(&house.run(&["gcc", "-c", "a.c"], &[]));
    let miss = [
        "# a.c",
        "cache_miss",
        "direct_cache_miss",
        "local_storage_miss",
        "local_storage_read_miss",
        "local_storage_read_miss",
        "local_storage_write",
        "local_storage_write",
        "preprocessed_cache_miss",
    ];
    assert_eq!(house.counted(), miss);
    let object = fs::read(house.at("work/a.o")).unwrap();
    fs::remove_file(house.at("work/a.o")).unwrap();
    assert_good(&house.run(&["ccache", "namespace=", "ccache", "gcc", "-c", "a.c"], &[]));
    let hit = ["# a.c", "direct_cache_hit", "local_storage_hit", "local_storage_read_hit"].to_vec();
    assert_eq!(house.counted(), [hit, vec!["local_storage_read_hit"]].concat());
    assert_eq!(fs::read(house.at("work/a.o")).unwrap(), object);
    // A comment changes nothing that is compiled.
    house.write("work/a.c", "int f(void) { return 1; } // one\n");
    assert_good(&house.run(&["gcc", "-c", "a.c"], &[]));
    assert_eq!(house.count("preprocessed_cache_hit"), 1);
    // Of the edit to a macro nothing can be answered.
    house.write("work/a.c", "int f(void) { return 2; }\n");
    assert_good(&house.run(&["gcc", "-c", "a.c"], &[]));
    assert_eq!(house.count("cache_miss"), 1);
}

#[test]
fn the_cache_directory_gets_one_directory_and_nothing_else() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    house.write("cache/tmp/theirs", "");
    for _ in 0..2 {
        assert_good(&house.run(&["gcc", "-c", "a.c"], &[]));
        assert_good(&house.run(&["gcc", "a.c", "-fsyntax-only"], &[]));
        assert_good(&house.run(&["-p"], &[]));
    }
    let names = |directory: &str| {
        let entries = fs::read_dir(house.at(directory)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names("cache"), ["larder", "tmp"].map(str::to_owned).into());
    assert_eq!(names("cache/tmp"), ["theirs".to_owned()].into());
    assert_eq!(names(""), ["bin", "cache", "stats.log", "work"].map(str::to_owned).into());
    // A setting makes one more file, and that is all.
    assert_good(&house.run(&["-o", "max_size=3G"], &[]));
    let more = ["ccache.conf", "larder", "tmp"].map(str::to_owned).into();
    assert_eq!(names("cache"), more);
}

#[test]
fn a_real_ccache_may_share_the_directory() {
    let Some(real) = real_ccache() else { return };
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    for program in [&real, &house.ccache(), &real, &house.ccache()] {
        let mut command = house.command(program);
        assert_good(&command.args(["gcc", "-c", "a.c"]).output().unwrap());
    }
    let counted = house.counted();
    let count = |name: &str| counted.iter().filter(|known| *known == name).count();
    assert_eq!((count("cache_miss"), count("direct_cache_hit")), (2, 2));
}

#[test]
fn a_wrong_configuration_is_an_error_and_nothing_is_compiled() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    house.write("cache/ccache.conf", "# mine\nhash_dir = perhaps\n");
    let output = house.run(&["gcc", "-c", "a.c"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let place = house.at("cache/ccache.conf").display().to_string();
    let told = format!("ccache: error: {place}:2: not a boolean value: \"perhaps\"\n");
    assert_eq!(text(&output.stderr), told);
    assert!(!house.at("work/a.o").exists());
    fs::remove_file(house.at("cache/ccache.conf")).unwrap();
    let output = house.run(&["max_size=much", "gcc", "-c", "a.c"], &[]);
    assert_eq!(text(&output.stderr), "ccache: error: max_size: invalid size: \"much\"\n");
}

#[test]
fn settings_of_larder_do_not_count() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    house.write("work/.larder.toml", "disable = true\n");
    house.write(".config/larder/larder.toml", "disable = true\n");
    let elsewhere = house.at("elsewhere").display().to_string();
    let own = [("LARDER_DIR", elsewhere.as_str()), ("LARDER_RECACHE", "1")];
    for _ in 0..2 {
        assert_good(&house.run(&["gcc", "-c", "a.c"], &own));
    }
    assert_eq!(house.count("direct_cache_hit"), 1);
    assert!(!house.at("elsewhere").exists());
    // A larder in front has asked already.
    assert_good(&house.run(&["gcc", "-c", "a.c"], &[("LARDER_DISABLE", "1")]));
    assert_eq!(house.counted(), Vec::<String>::new());
}

#[test]
fn links_and_copies_named_like_a_compiler_are_ccache() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    fs::create_dir(house.at("links")).unwrap();
    symlink("../bin/ccache", house.at("links/gcc")).unwrap();
    fs::create_dir(house.at("hard")).unwrap();
    fs::copy(larder_binary(), house.at("hard/ccache")).unwrap();
    fs::hard_link(house.at("hard/ccache"), house.at("hard/gcc")).unwrap();
    fs::create_dir(house.at("copy")).unwrap();
    fs::copy(larder_binary(), house.at("copy/gcc")).unwrap();
    for directory in ["links", "hard", "copy"] {
        let _ = fs::remove_dir_all(house.at("cache"));
        for by_name in [false, true] {
            let program = house.at(directory).join("gcc");
            let program = if by_name { Path::new("gcc") } else { &program };
            let mut command = house.command(program);
            command.args(["-c", "a.c"]).env("PATH", house.path(&[directory]));
            // The standard library looks a name up before it sets the environment.
            let mut shell = house.command(Path::new("/bin/sh"));
            shell.args(["-c", "gcc -c a.c"]).env("PATH", house.path(&[directory]));
            let output = if by_name { shell.output() } else { command.output() };
            assert_good(&output.unwrap());
        }
        let counted = house.counted();
        let count = |name: &str| counted.iter().filter(|known| *known == name).count();
        assert_eq!((count("cache_miss"), count("direct_cache_hit")), (1, 1), "{directory}");
        assert!(house.at("cache/larder").is_dir(), "{directory}");
    }
    // A link that does not lead over the name is larder's own.
    fs::create_dir(house.at("own")).unwrap();
    symlink(larder_binary(), house.at("own/gcc")).unwrap();
    let mut command = house.command(&house.at("own/gcc"));
    command.env("LARDER_DIR", house.at("own-store"));
    assert_good(&command.args(["-c", "a.c"]).output().unwrap());
    assert!(house.at("own-store/superblock").exists() && house.counted().is_empty());
}

#[test]
fn a_compiler_knows_that_it_is_behind_ccache() {
    let house = House::new();
    house.write("work/a.c", "int main(void) { return 0; }\n");
    let say = "echo \"disable=$CCACHE_DISABLE fd=${UNCACHED_ERR_FD:+set}\" >> log\nexec \"$@\"\n";
    house.script("bin/say", &format!("#!/bin/sh\n{say}"));
    let prefix = house.at("bin/say").display().to_string();
    let variables = [("CCACHE_PREFIX", prefix.as_str())];
    assert_good(&house.run(&["gcc", "-c", "a.c"], &variables));
    assert_good(&house.run(&["gcc", "a.c"], &variables));
    let told = fs::read_to_string(house.at("work/log")).unwrap();
    assert_eq!(told, "disable=1 fd=set\ndisable=1 fd=\n");
}

/// No table has the option, whose place among the others counts, too.
#[test]
fn what_is_skipped_still_counts() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return sizeof(long); }\n");
    let call = |words: &str| {
        let words: Vec<_> = ["gcc"].into_iter().chain(words.split(' ')).collect();
        assert_good(&house.run(&words, &[]));
        let counted = house.counted();
        let has = |name: &str| counted.iter().any(|known| known == name);
        assert!(has("direct_cache_hit") != has("cache_miss"), "{counted:?}");
        has("direct_cache_hit")
    };
    let one = "--ccache-skip -Wno-unknown-thing1 -c a.c";
    assert!(!call(one) && call(one));
    assert!(!call("--ccache-skip -Wno-unknown-thing2 -c a.c"));
    let order = "--ccache-skip --param=ggc-min-expand=1";
    assert!(!call(&format!("{order} -O1 -c a.c")) && call(&format!("{order} -O1 -c a.c")));
}

#[test]
fn compilers_that_differ_by_what_a_check_says_do_not_share() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    let call = |check: &str| {
        assert_good(&house.run(&["gcc", "-c", "a.c"], &[("CCACHE_COMPILERCHECK", check)]));
        house.counted().iter().any(|name| name == "direct_cache_hit")
    };
    for (one, other) in [("string:a", "string:b"), ("echo a; echo b", "echo a; echo c")] {
        assert!(!call(one) && call(one) && !call(other), "{one}");
    }
    // Each output counts for itself.
    assert!(!call("echo ab; echo c"));
}

#[test]
fn debug_files_stand_beside_the_object_or_below_a_directory() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    fs::create_dir(house.at("work/sub")).unwrap();
    let kinds = |directory: &str| {
        let entries = fs::read_dir(house.at(directory)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.starts_with("x.o.20"));
        let mut kinds: Vec<_> = names
            .map(|name| {
                let parts: Vec<_> = name.split('.').collect();
                assert!(parts.len() == 4 && parts[2].len() == 22, "{name}");
                parts[3].to_owned()
            })
            .collect();
        kinds.sort_unstable();
        kinds
    };
    let call = ["gcc", "-c", "a.c", "-o", "sub/x.o"];
    assert_good(&house.run(&call, &[("CCACHE_DEBUG", "1")]));
    let all = ["c", "d", "p", "text"].map(|kind| format!("ccache-input-{kind}"));
    assert_eq!(kinds("work/sub"), [&all[..], &["ccache-log".to_owned()]].concat());
    let elsewhere = house.at("debug").display().to_string();
    let variables =
        [("CCACHE_DEBUG", "1"), ("CCACHE_DEBUGLEVEL", "1"), ("CCACHE_DEBUGDIR", &elsewhere)];
    assert_good(&house.run(&call, &variables));
    let below = house.at("debug").join(house.at("work/sub").strip_prefix("/").unwrap());
    let below = below.strip_prefix(house.dir.path()).unwrap().display().to_string();
    assert_eq!(kinds(&below), ["ccache-log"]);
    let log = fs::read_dir(house.at(&below)).unwrap().next().unwrap().unwrap().path();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("Result: direct_cache_hit\n"), "{log}");
    assert_eq!(kinds("work/sub").len(), 5);
}

/// The story: names had the time in UTC, and the newest files of one's morning looked old.
#[test]
fn debug_files_have_local_time() {
    if !Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        return;
    }
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    let second_of_day = |zone: &str, object: &str| {
        let variables = [("CCACHE_DEBUG", "1"), ("CCACHE_DEBUGLEVEL", "1"), ("TZ", zone)];
        assert_good(&house.run(&["gcc", "-c", "a.c", "-o", object], &variables));
        let entries = fs::read_dir(house.at("work")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let start = format!("{object}.20");
        let name = names.into_iter().find(|name| name.starts_with(&start)).unwrap();
        // OBJECT.YYYYMMDD_HHMMSS_MICROS.ccache-log
        let time = &name.split('_').nth(1).unwrap();
        let part = |at: usize| time[at..at + 2].parse::<i64>().unwrap();
        part(0) * 3600 + part(2) * 60 + part(4)
    };
    let utc = second_of_day("UTC", "utc.o");
    let tokyo = second_of_day("Asia/Tokyo", "tokyo.o");
    let ahead = (tokyo - utc).rem_euclid(24 * 3600);
    assert!((9 * 3600..9 * 3600 + 600).contains(&ahead), "{utc} {tokyo}");
}

#[test]
fn what_is_hashed_is_told_and_differs_with_the_key() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    let told = |words: &[&str], kind: &str| {
        let call = [&["gcc", "-c", "a.c"], words].concat();
        assert_good(&house.run(&call, &[("CCACHE_DEBUG", "1")]));
        let entries = fs::read_dir(house.at("work")).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains(".20")).collect();
        let one = files.iter().find(|path| path.to_str().unwrap().ends_with(kind));
        let text = fs::read_to_string(one.unwrap()).unwrap();
        files.iter().for_each(|path| fs::remove_file(path).unwrap());
        text
    };
    let plain = told(&[], "-text");
    assert_eq!(told(&[], "-text"), plain);
    assert!(plain.contains("### argument\n-c\n") && plain.contains("### source\na.c\n"), "{plain}");
    assert_ne!(told(&["-O1"], "-c"), told(&["-O2"], "-c"));
    house.write("work/a.c", "int f(void) { return 2; }\n");
    assert_ne!(told(&[], "-text"), plain);
    house.write("work/a.c", "int f(void) { return 3; }\n");
    assert!(told(&[], "-p").contains("return 3;"));
}

#[test]
fn who_asks_for_nothing_gets_the_usage_as_a_complaint() {
    let house = House::new();
    let output = house.run(&[], &[]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]));
    assert!(text(&output.stderr).starts_with("Usage:\n"));
    let output = house.run(&["./missing", "-c"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("ccache: error: cannot run "));
    let told = |words: &[&str]| {
        let output = house.run(words, &[]);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        text(&output.stderr).to_owned()
    };
    assert_eq!(told(&["-o", "=1"]), "ccache: error: missing equal sign in \"=1\"\n");
    let level = "ccache: error: compression level must be between -128 and 127\n";
    assert_eq!(told(&["-X", "200"]), level);
}

#[test]
fn a_clearing_is_a_cleanup() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    let cleanups = || {
        let output = house.run(&["--print-stats"], &[]);
        text(&output.stdout).lines().any(|row| row == "cleanups_performed\t1")
    };
    assert_good(&house.run(&["gcc", "-c", "a.c"], &[]));
    assert!(!cleanups());
    for _ in 0..2 {
        assert_good(&house.run(&["-C"], &[]));
        assert!(cleanups());
    }
}

#[test]
fn the_log_tells_what_was_counted() {
    let house = House::new();
    let log = house.at("log").display().to_string();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    assert_good(&house.run(&["gcc", "-c", "a.c"], &[("CCACHE_LOGFILE", &log)]));
    let told = fs::read_to_string(log).unwrap();
    assert!(told.contains("Result: cache_miss\n"), "{told}");
}
