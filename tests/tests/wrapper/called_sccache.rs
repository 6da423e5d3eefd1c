//! larder called `sccache`: masquerading, its commands and what they say, its configuration, and
//! that nothing of it stops a build.

mod builds;
mod remote;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use larder_tests::{TempDir, larder_binary};
use serde_json::Value;

/// A cache, a directory to work in, and `bin/sccache`, a link to larder.
struct House {
    dir: TempDir,
}

impl House {
    fn new() -> House {
        let house = House { dir: larder_tests::temp_dir() };
        for name in ["bin", "work"] {
            fs::create_dir(house.at(name)).unwrap();
        }
        symlink(larder_binary(), house.sccache()).unwrap();
        house.write("work/a.c", "int f(void) { return 1; }\n");
        house
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sccache(&self) -> PathBuf {
        self.at("bin/sccache")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `PATH` with this directory first.
    fn path(&self, first: &str) -> String {
        format!("{}:{}", self.at(first).display(), std::env::var("PATH").unwrap_or_default())
    }

    /// A program in the working directory, with the cache and nothing else in its environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.at("work")).env_clear().env("HOME", self.dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("SCCACHE_DIR", self.at("cache")).env("LARDER_JANITOR", "off");
        command
    }

    fn run(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(&self.sccache());
        command.args(words).envs(variables.iter().copied()).output().unwrap()
    }

    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words, &[]);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    /// The whole of the JSON statistics.
    fn json(&self) -> Value {
        let said = self.good(&["--show-stats", "--stats-format=json"]);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Hits and misses of a language.
    fn counts(&self, language: &str) -> (u64, u64) {
        let json = self.json();
        let count = |name: &str| json["stats"][name]["counts"][language].as_u64().unwrap_or(0);
        (count("cache_hits"), count("cache_misses"))
    }

    fn compile(&self) {
        let _ = fs::remove_file(self.at("work/a.o"));
        self.good(&["gcc", "-c", "a.c"]);
        assert!(self.at("work/a.o").exists());
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_store_stands_in_the_directory_of_sccache_and_nothing_else_does() {
    let house = House::new();
    house.write("work/.larder.toml", "disable = true\n");
    house.write(".config/larder/larder.toml", "disable = true\n");
    let elsewhere = house.at("elsewhere").display().to_string();
    let own = [("LARDER_DIR", elsewhere.as_str()), ("LARDER_RECACHE", "1")];
    for _ in 0..2 {
        assert!(house.run(&["sccache", "gcc", "-c", "a.c"], &own).status.success());
    }
    assert_eq!(house.counts("C/C++"), (1, 1));
    let names = |directory: &str| {
        let entries = fs::read_dir(house.at(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("cache"), ["larder"]);
    assert_eq!(names(""), [".config", "bin", "cache", "work"]);
    // A larder in front has asked already.
    assert!(house.run(&["gcc", "-c", "a.c"], &[("LARDER_DISABLE", "1")]).status.success());
    assert_eq!(house.json()["stats"]["compile_requests"], 2);
    let mut command = house.command(&house.sccache());
    assert!(
        command.env_remove("SCCACHE_DIR").args(["gcc", "-c", "a.c"]).status().unwrap().success()
    );
    assert!(house.at(".cache/sccache/larder/superblock").exists());
}

#[test]
fn links_and_copies_are_sccache() {
    let house = House::new();
    for name in ["links", "hard", "copy"] {
        fs::create_dir(house.at(name)).unwrap();
    }
    symlink("../bin/sccache", house.at("links/gcc")).unwrap();
    fs::copy(larder_binary(), house.at("hard/sccache")).unwrap();
    fs::hard_link(house.at("hard/sccache"), house.at("hard/gcc")).unwrap();
    fs::copy(larder_binary(), house.at("copy/sccache")).unwrap();
    for (program, first) in [("links/gcc", None), ("hard/gcc", None), ("copy/sccache", Some("gcc"))]
    {
        let _ = fs::remove_dir_all(house.at("cache"));
        let directory = program.split('/').next().unwrap();
        for _ in 0..2 {
            let mut command = house.command(&house.at(program));
            command.args(first).args(["-c", "a.c"]).env("PATH", house.path(directory));
            assert!(command.status().unwrap().success(), "{program}");
        }
        assert_eq!(house.counts("C/C++"), (1, 1), "{program}");
    }
    // A link that does not lead over the name is larder's own.
    fs::create_dir(house.at("own")).unwrap();
    symlink(larder_binary(), house.at("own/gcc")).unwrap();
    let mut command = house.command(&house.at("own/gcc"));
    command.env("LARDER_DIR", house.at("own-store")).args(["-c", "a.c"]);
    assert!(command.status().unwrap().success());
    assert!(house.at("own-store/superblock").exists());
    assert_eq!(house.counts("C/C++"), (1, 1));
}

/// What the action of a CI calls, and what it reads.
#[test]
fn the_sequence_of_the_ci_action_works() {
    let house = House::new();
    assert!(house.good(&["--version"]).starts_with("sccache 0.19.0"));
    let started = house.good(&["--start-server"]);
    assert!(started.starts_with("sccache: Starting the server...\n"), "{started}");
    house.compile();
    house.compile();
    let shown = house.good(&["--show-stats"]);
    let number = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name} in {shown}")).split_whitespace().last().unwrap()
    };
    for (name, value) in [
        ("Compile requests  ", "2"),
        ("Cache hits (C/C++)", "1"),
        ("Cache misses (C/C++)", "1"),
        ("Cache errors", "0"),
        ("Version (client)", "0.19.0"),
    ] {
        assert_eq!(number(name), value, "{shown}");
    }
    let json = house.json();
    let stats = &json["stats"];
    for name in ["cache_hits", "cache_misses", "cache_errors"] {
        assert!(stats[name]["counts"].is_object() && stats[name]["adv_counts"].is_object());
    }
    for name in ["cache_write_duration", "cache_read_hit_duration", "compiler_write_duration"] {
        let part = |part: &str| stats[name][part].as_u64().unwrap();
        assert!(part("secs") < 600 && part("nanos") < 1_000_000_000, "{name}");
    }
    assert!(stats["compiler_write_duration"]["nanos"].as_u64().unwrap() > 0);
    assert_eq!((&stats["compile_requests"], &stats["requests_executed"]), (&2.into(), &2.into()));
    assert_eq!(stats["cache_writes"], 1);
    let stopped = house.good(&["--stop-server"]);
    assert_eq!(stopped, format!("Stopping sccache server...\n{shown}"));
    // As with a server that is gone.
    assert_eq!(house.counts("C/C++"), (0, 0));
    house.good(&["--stop-server"]);
}

#[test]
fn the_json_has_every_field_of_sccache() {
    let house = House::new();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // Of a store that is not there, too.
    for round in 0..2 {
        let json = house.json();
        let mut wanted = "basedirs cache_location cache_size effective_cache_mode max_cache_size \
                          stats use_preprocessor_cache_mode version"
            .split_whitespace()
            .collect::<Vec<_>>();
        wanted.sort_unstable();
        assert_eq!(fields(&json), wanted);
        let mut wanted = "cache_errors cache_hits cache_misses cache_read_errors \
                          cache_read_hit_duration cache_timeouts cache_write_duration \
                          cache_write_errors cache_writes compilations compile_fails \
                          compile_requests compiler_write_duration dist_compiles dist_errors \
                          forced_recaches multi_level non_cacheable_compilations not_cached \
                          requests_executed requests_not_cacheable requests_not_compile \
                          requests_unsupported_compiler"
            .split_whitespace()
            .collect::<Vec<_>>();
        wanted.sort_unstable();
        assert_eq!(fields(&json["stats"]), wanted);
        let location = format!("Local disk: {:?}", house.at("cache/larder"));
        assert_eq!(json["cache_location"], location);
        assert_eq!(
            (&json["max_cache_size"], &json["version"]),
            (&(10u64 << 30).into(), &"0.19.0".into())
        );
        assert_eq!(json["effective_cache_mode"], "ReadWrite");
        assert_eq!(json["cache_size"].as_u64().unwrap() > 0, round > 0);
        assert_eq!(house.at("cache").exists(), round > 0);
        house.compile();
    }
}

#[test]
fn calls_are_counted_by_language_and_reason() {
    let house = House::new();
    house.write("work/b.cc", "int g() { return 1; }\n");
    house.write("work/c.s", ".globl h\nh:\n");
    house.write("work/broken.c", "int f(\n");
    for _ in 0..2 {
        for file in ["a.c", "b.cc", "c.s"] {
            house.good(&["gcc", "-c", file]);
        }
    }
    house.good(&["gcc", "-E", "a.c"]);
    house.good(&["gcc", "-shared", "a.c", "-o", "a.so"]);
    assert_eq!(house.run(&["gcc", "-c", "broken.c"], &[]).status.code(), Some(1));
    house.run(&["gcc", "-c", "a.c"], &[("SCCACHE_RECACHE", "")]);
    let json = house.json();
    let stats = &json["stats"];
    for name in ["cache_hits", "cache_misses"] {
        let more = u64::from(name == "cache_misses");
        assert_eq!(stats[name]["counts"]["C/C++"], 2 + more, "{stats}");
        assert_eq!(stats[name]["counts"]["Assembler"], 1);
        assert_eq!(stats[name]["adv_counts"]["c [gcc]"], 1 + more);
        assert_eq!(stats[name]["adv_counts"]["c++ [gcc]"], 1);
        assert_eq!(stats[name]["adv_counts"]["assembler [gcc]"], 1);
    }
    assert_eq!(stats["compile_requests"], 10);
    assert_eq!(stats["requests_not_cacheable"], 2);
    assert_eq!(stats["not_cached"]["called_for_preprocessing"], 1);
    assert_eq!(stats["not_cached"]["called_for_link"], 1);
    assert_eq!((&stats["compile_fails"], &stats["forced_recaches"]), (&1.into(), &1.into()));
    assert_eq!(stats["compilations"], 5);
    let shown = house.good(&["--show-adv-stats"]);
    assert!(shown.contains("Cache hits (c++ [gcc])") && shown.contains("Effective cache mode"));
}

#[test]
fn statistics_count_from_the_last_start() {
    let house = House::new();
    house.compile();
    house.compile();
    assert_eq!(house.counts("C/C++"), (1, 1));
    for _ in 0..2 {
        house.good(&["--start-server"]);
        assert_eq!(house.counts("C/C++"), (0, 0));
        house.compile();
        assert_eq!(house.counts("C/C++"), (1, 0));
    }
    let zeroed = house.run(&["-z"], &[]);
    assert_eq!((zeroed.status.code(), text(&zeroed.stderr)), (Some(0), "Statistics zeroed.\n"));
    house.compile();
    assert_eq!(house.counts("C/C++"), (1, 0));
    // How sccache is told to be the server.
    let alone = house.run(&[], &[("SCCACHE_START_SERVER", "1"), ("SCCACHE_NO_DAEMON", "1")]);
    assert!(alone.status.success());
    assert_eq!(house.counts("C/C++"), (0, 0));
}

#[test]
fn commands_end_as_those_of_sccache() {
    let house = House::new();
    for (words, status) in [
        (&["--help"][..], 0),
        (&["--dist-status"], 0),
        (&["--debug-preprocessor-cache"], 0),
        (&["--dist-auth"], 2),
        (&["--package-toolchain", "gcc", "out"], 2),
        (&["--no-such-option"], 2),
        (&["-s", "-z"], 2),
        (&[], 2),
        (&["no-such-compiler", "-c", "a.c"], 2),
    ] {
        let output = house.run(words, &[]);
        assert_eq!(output.status.code(), Some(status), "{words:?}");
        let (said, told) = if status == 0 {
            (&output.stdout, &output.stderr)
        } else {
            (&output.stderr, &output.stdout)
        };
        assert!(!said.is_empty() && told.is_empty(), "{words:?}: {}", text(&output.stderr));
    }
    let status: Value = serde_json::from_str(&house.good(&["--dist-status"])).unwrap();
    assert!(status["Disabled"].is_string());
    // What is in the way of the compiler's own status is nothing.
    assert_eq!(house.run(&["gcc", "-c", "none.c"], &[]).status.code(), Some(1));
}

#[test]
fn what_is_wrong_in_the_configuration_does_not_stop_a_build() {
    let house = House::new();
    house.write("conf", "[cache.disk\n");
    let conf = house.at("conf").display().to_string();
    let log = house.at("log").display().to_string();
    for (variable, value, is_store_known) in [
        ("SCCACHE_CACHE_SIZE", "lots", true),
        ("SCCACHE_DIRECT", "perhaps", true),
        ("SCCACHE_CONF", conf.as_str(), false),
    ] {
        let run = |words: &[&str]| {
            let mut command = house.command(&house.sccache());
            command.env(variable, value).env("SCCACHE_ERROR_LOG", &log).args(words);
            if !is_store_known {
                command.env_remove("SCCACHE_DIR");
            }
            command.output().unwrap()
        };
        let _ = (fs::remove_file(house.at("work/a.o")), fs::remove_file(&log));
        let built = run(&["gcc", "-c", "a.c"]);
        assert!(built.status.success() && built.stderr.is_empty(), "{variable}");
        assert!(house.at("work/a.o").exists());
        let told = fs::read_to_string(&log).unwrap();
        assert!(told.contains("configuration: ") && told.contains(value), "{told}");
        for words in ["--start-server", "--stop-server"] {
            let output = run(&[words]);
            assert!(output.status.success() && text(&output.stderr).contains(value), "{variable}");
        }
        let shown = run(&["--show-stats"]);
        assert_eq!(shown.status.success(), is_store_known, "{variable}");
        assert!(text(&shown.stderr).contains(value), "{variable}");
    }
    // A store that cannot be made.
    house.write("file", "");
    let nowhere = house.at("file/below").display().to_string();
    let nowhere = [("SCCACHE_DIR", nowhere.as_str())];
    assert!(house.run(&["gcc", "-c", "a.c"], &nowhere).status.success());
    let output = house.run(&["--start-server"], &nowhere);
    assert!(output.status.success() && !output.stderr.is_empty());
}

#[test]
fn the_file_is_read_and_the_environment_wins() {
    let house = House::new();
    let disk = |name: &str| house.at(name).display().to_string();
    let text = format!("[cache.disk]\ndir = \"{}\"\nsize = \"2G\"\n", disk("named"));
    house.write(".config/sccache/config", &text);
    house.write("other", &format!("[cache.disk]\ndir = \"{}\"\n", disk("other-cache")));
    let asked = |variables: &[(&str, &str)]| {
        let mut command = house.command(&house.sccache());
        command.env_remove("SCCACHE_DIR").envs(variables.iter().copied());
        let output = command.args(["-s", "--stats-format", "json"]).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let location = json["cache_location"].as_str().unwrap().to_owned();
        (location, json["max_cache_size"].as_u64().unwrap())
    };
    let local = |name: &str| format!("Local disk: {:?}", house.at(name).join("larder"));
    assert_eq!(asked(&[]), (local("named"), 2 << 30));
    assert_eq!(asked(&[("SCCACHE_CACHE_SIZE", "3G")]), (local("named"), 3 << 30));
    assert_eq!(asked(&[("SCCACHE_CONF", &disk("other"))]), (local("other-cache"), 10 << 30));
    let both = [("SCCACHE_CONF", &*disk("other")), ("SCCACHE_DIR", &*disk("third"))];
    assert_eq!(asked(&both), (local("third"), 10 << 30));
}

#[test]
fn variables_change_what_is_stored_and_looked_for() {
    let house = House::new();
    let compile = |variables: &[(&str, &str)]| {
        assert!(house.run(&["gcc", "-c", "a.c"], variables).status.success());
        house.counts("C/C++")
    };
    assert_eq!(compile(&[("SCCACHE_NO_CACHE", "1")]), (0, 0));
    assert_eq!(compile(&[("SCCACHE_LOCAL_RW_MODE", "READ_ONLY")]), (0, 0));
    assert_eq!(compile(&[]), (0, 1));
    assert_eq!(compile(&[("SCCACHE_RECACHE", "1")]), (0, 2));
    assert_eq!(compile(&[("SCCACHE_C_CUSTOM_CACHE_BUSTER", "x")]), (0, 3));
    house.write("extra", "1");
    let extra = house.at("extra").display().to_string();
    assert_eq!(compile(&[("SCCACHE_EXTRAFILES", &extra)]), (0, 4));
    house.write("extra", "2");
    assert_eq!(compile(&[("SCCACHE_EXTRAFILES", &extra)]), (0, 5));
    assert_eq!(compile(&[]), (1, 5));
}

/// Credentials must not be told.
#[test]
fn settings_of_other_places_are_told_once() {
    let house = House::new();
    let log = house.at("log").display().to_string();
    let variables = [
        ("SCCACHE_ERROR_LOG", log.as_str()),
        ("SCCACHE_AZURE_CONNECTION_STRING", "key=secret"),
        ("SCCACHE_GCS_BUCKET", "b"),
    ];
    for _ in 0..3 {
        assert!(house.run(&["gcc", "-c", "a.c"], &variables).status.success());
    }
    let told = fs::read_to_string(&log).unwrap();
    assert_eq!(told.matches("not applied").count(), 1, "{told}");
    let names = ": SCCACHE_AZURE_CONNECTION_STRING, SCCACHE_GCS_BUCKET\n";
    assert!(told.contains(names) && !told.contains("secret"), "{told}");
    assert!(house.run(&["gcc", "-c", "a.c"], &variables[..2]).status.success());
    assert_eq!(fs::read_to_string(&log).unwrap().matches("not applied").count(), 2);
}
