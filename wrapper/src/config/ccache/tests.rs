//! What ccache's settings come from, and what they mean.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Settings, is_assignment, parse_size, set_in_file, show_size};

/// A home with a project in it.
struct House(tempfile::TempDir);

impl House {
    fn new() -> House {
        let house = House(tempfile::tempdir().unwrap());
        fs::create_dir_all(house.at("project/src")).unwrap();
        house.write("etc.conf", "");
        house
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn load_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Result<Settings, String> {
        let mut all = vec![
            ("HOME".to_owned(), self.0.path().display().to_string()),
            ("CCACHE_CONFIGPATH2".to_owned(), self.at("etc.conf").display().to_string()),
        ];
        all.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let all: Vec<(OsString, OsString)> =
            all.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let settings = Settings::from_sources(&all, Some(&self.at("project/src")), &words);
        settings.map_err(|error| error.to_string().replace(self.0.path().to_str().unwrap(), "~"))
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Settings, String> {
        self.load_with(variables, &[])
    }

    /// Origin and value of a setting.
    fn row(&self, variables: &[(&str, &str)], words: &[&str], key: &str) -> (String, String) {
        let settings = self.load_with(variables, words).unwrap();
        let row = settings.rows().into_iter().find(|(_, name, _)| *name == key).unwrap();
        (row.0.replace(self.0.path().to_str().unwrap(), "~"), row.2)
    }
}

#[test]
fn keys_are_sorted_and_each_variable_stands_for_one() {
    assert!(super::KEYS.is_sorted_by_key(|key| key.name));
    let variables: std::collections::BTreeSet<_> =
        super::KEYS.iter().map(|key| key.variable).collect();
    assert_eq!(variables.len(), super::KEYS.len());
    for key in super::KEYS {
        let default = key.kind.check(key.default.into(), None);
        assert!(default.is_ok_and(|value| value == key.default), "{}", key.name);
    }
}

#[test]
fn every_setting_has_its_row_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ccache.md");
    let told = fs::read_to_string(path).unwrap();
    let table = told.split("\n## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
    let words = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let rows: Vec<Vec<String>> = table.lines().map(words).collect();
    let has = |name: &str, variable: &str| {
        rows.iter().any(|row| {
            let is_told = |wanted: &str| row.iter().any(|word| word == wanted);
            (name.is_empty() || is_told(name)) && is_told(variable)
        })
    };
    for key in super::KEYS {
        assert!(has(key.name, key.variable), "{}", key.name);
    }
    for alias in super::ALIASES {
        assert!(has(alias.name, alias.variable), "{}", alias.variable);
    }
}

#[test]
fn base_directories_are_told_without_detours() {
    let house = House::new();
    for (text, wanted) in [("/a/../b/", "/b"), ("/a//./c:/..", "/a/c:/"), ("", "")] {
        let row = house.row(&[("CCACHE_BASEDIR", text)], &[], "base_dir");
        assert_eq!(row.1, wanted);
    }
}

#[test]
fn a_setting_of_older_versions_is_read() {
    let house = House::new();
    for (text, wanted) in [("0.95", "0.9"), ("7", "1.0"), ("-1", "0.0"), (".5", "0.5")] {
        let row = house.row(&[("CCACHE_LIMIT_MULTIPLE", text)], &[], "limit_multiple");
        assert_eq!(row.1, wanted, "{text}");
    }
    for text in ["", "much", "nan"] {
        assert!(house.load(&[("CCACHE_LIMIT_MULTIPLE", text)]).is_err(), "{text}");
    }
}

#[test]
fn the_higher_source_wins() {
    let house = House::new();
    let told = |origin: &str, value: &str| (origin.to_owned(), value.to_owned());
    let row = |variables: &[(&str, &str)], words: &[&str]| house.row(variables, words, "namespace");
    assert_eq!(row(&[], &[]), told("default", ""));
    house.write("etc.conf", "namespace = system\n");
    assert_eq!(row(&[], &[]), told("~/etc.conf", "system"));
    house.write(".config/ccache/ccache.conf", "# mine\n\n namespace=user \n");
    assert_eq!(row(&[], &[]), told("~/.config/ccache/ccache.conf", "user"));
    house.write("project/ccache.conf", "namespace = project\n");
    assert_eq!(row(&[], &[]), told("~/project/ccache.conf", "project"));
    let variable = [("CCACHE_NAMESPACE", "variable")];
    assert_eq!(row(&variable, &[]), told("environment", "variable"));
    assert_eq!(row(&variable, &["namespace=word"]), told("command line", "word"));
    // Another file is the only one.
    house.write("other.conf", "max_files = 3\n");
    let other = house.at("other.conf");
    let named = [("CCACHE_CONFIGPATH", other.to_str().unwrap())];
    assert_eq!(row(&named, &[]), told("default", ""));
    assert_eq!(house.row(&named, &[], "max_files"), told("~/other.conf", "3"));
}

#[test]
fn the_cache_is_where_ccache_would_have_it() {
    let house = House::new();
    let dirs = |variables: &[(&str, &str)]| {
        let settings = house.load(variables).unwrap();
        let short =
            |path: &Path| path.display().to_string().replace(house.0.path().to_str().unwrap(), "~");
        (short(settings.config_file()), short(&settings.store_dir()))
    };
    let told = |file: &str, store: &str| (file.to_owned(), store.to_owned());
    assert_eq!(dirs(&[]), told("~/.config/ccache/ccache.conf", "~/.cache/ccache/larder"));
    let bases = [("XDG_CACHE_HOME", "/c"), ("XDG_CONFIG_HOME", "/f")];
    assert_eq!(dirs(&bases), told("/f/ccache/ccache.conf", "/c/ccache/larder"));
    assert_eq!(dirs(&[("CCACHE_DIR", "/d")]), told("/d/ccache.conf", "/d/larder"));
    house.write("etc.conf", "cache_dir = /e\n");
    assert_eq!(dirs(&[]), told("/e/ccache.conf", "/e/larder"));
    house.write("etc.conf", "");
    fs::create_dir(house.at(".ccache")).unwrap();
    assert_eq!(dirs(&bases), told("~/.ccache/ccache.conf", "~/.ccache/larder"));
    house.write(".ccache/ccache.conf", "cache_dir = /z\n");
    assert_eq!(dirs(&[]), told("~/.ccache/ccache.conf", "/z/larder"));
}

#[test]
fn switches_are_turned_by_their_variables() {
    let house = House::new();
    let direct = |name: &str, value: &str| {
        house.load(&[(name, value)]).map(|settings| settings.switch("direct_mode"))
    };
    assert_eq!(direct("CCACHE_NODIRECT", ""), Ok(false));
    assert_eq!(direct("CCACHE_DIRECT", "false x"), Ok(true));
    for (value, other) in [("0", "NODIRECT"), ("FALSE", "NODIRECT"), ("no", "NODIRECT")] {
        let wrong = direct("CCACHE_DIRECT", value).unwrap_err();
        assert!(wrong.contains(value) && wrong.contains(&format!("CCACHE_{other}=true")));
    }
    assert!(direct("CCACHE_NODIRECT", "Disable").unwrap_err().contains("\"CCACHE_DIRECT=true\""));
    // There is no such thing as no directory.
    assert_eq!(direct("CCACHE_NODIR", "0"), Ok(true));
}

#[test]
fn wrong_values_are_errors_that_name_their_place() {
    let house = House::new();
    for (name, value, wrong) in [
        ("CCACHE_MAXSIZE", "much", "CCACHE_MAXSIZE: invalid size: \"much\""),
        ("CCACHE_MAXFILES", "-1", "CCACHE_MAXFILES: invalid unsigned integer: \"-1\""),
        ("CCACHE_UMASK", "9", "CCACHE_UMASK: invalid unsigned octal integer: \"9\""),
        ("CCACHE_BASEDIR", "/a:b", "CCACHE_BASEDIR: not an absolute path: \"b\""),
        ("CCACHE_COMPRESSLEVEL", "x", "CCACHE_COMPRESSLEVEL: invalid integer: \"x\""),
        ("CCACHE_PATH", "$NIX", "CCACHE_PATH: environment variable \"NIX\" not set"),
        ("CCACHE_PATH", "${HOME", "CCACHE_PATH: syntax error: missing '}' after \"HOME\""),
    ] {
        assert_eq!(house.load(&[(name, value)]).unwrap_err(), wrong);
    }
    for (text, wrong) in [
        ("\nnonsense\n", "~/etc.conf:2: missing equal sign"),
        ("hash_dir = yes\n", "~/etc.conf:1: not a boolean value: \"yes\""),
        ("unknown = 1\nmax_size = \n", "~/etc.conf:2: invalid size: \"\""),
    ] {
        house.write("etc.conf", text);
        assert_eq!(house.load(&[]).unwrap_err(), wrong);
    }
    house.write("etc.conf", "unknown = 1\nsecondary_storage = file:/x\r\n");
    let settings = house.load(&[("CCACHE_NONSENSE", "x"), ("CCACHE_COMPILERTYPE", "x")]).unwrap();
    assert_eq!(settings.get("remote_storage").as_deref(), Some("file:/x"));
    assert_eq!(settings.get("compiler_type").as_deref(), Some("auto"));
    assert_eq!(settings.get("nonsense"), None);
}

#[test]
fn a_directory_says_only_what_it_may() {
    let house = House::new();
    let with = |text: &str| {
        house.write("project/ccache.conf", text);
        house.load(&[]).map(|_| ())
    };
    assert_eq!(with("base_dir = /a\ncompiler_check = content\n"), Ok(()));
    let place = "~/project/ccache.conf:1: ";
    for key in ["path = /a", "compiler_check = rm x", "log_file = x", "umask = 002"] {
        let wrong = with(key).unwrap_err();
        assert!(wrong.starts_with(place) && wrong.contains("safe_dirs"), "{wrong}");
        let safe = house.at("project");
        let safe = [("CCACHE_SAFE_DIRS", safe.to_str().unwrap())];
        assert!(house.load(&safe).is_ok(), "{key}");
    }
    for key in ["cache_dir = /a", "max_size = 1G", "safe_dirs = /", "ceiling_dirs = /"] {
        assert!(with(key).unwrap_err().contains("cannot be set for a directory"), "{key}");
    }
    let mode = |mode| fs::Permissions::from_mode(mode);
    house.write("project/ccache.conf", "namespace = n\n");
    fs::set_permissions(house.at("project/ccache.conf"), mode(0o646)).unwrap();
    assert_eq!(house.load(&[]).unwrap_err(), "~/project/ccache.conf: is world-writable");
    fs::set_permissions(house.at("project/ccache.conf"), mode(0o644)).unwrap();
    // Nothing above a marker is looked at, and nothing from the ceiling on.
    house.write("project/src/.git/config", "");
    assert_eq!(house.load(&[]).unwrap().string("namespace"), None);
    let seen = house.load(&[("CCACHE_CEILING_MARKERS", ".none")]).unwrap();
    assert_eq!(seen.string("namespace"), Some(OsStr::new("n")));
    let ceiling = house.at("project");
    let ceiling =
        [("CCACHE_CEILING_MARKERS", ""), ("CCACHE_CEILING_DIRS", ceiling.to_str().unwrap())];
    assert_eq!(house.load(&ceiling).unwrap().string("namespace"), None);
}

#[test]
fn sizes_are_read_and_told() {
    for (text, bytes, told) in [
        ("10", 10 << 30, "10.0 GiB"),
        ("10k", 10_000, "10.0 kB"),
        ("1.5Gi", 3 << 29, "1.5 GiB"),
        ("500M", 500_000_000, "500.0 MB"),
        ("500MB", 500_000_000, "500.0 MB"),
        ("3 GiB", 3 << 30, "3.0 GiB"),
        ("0", 0, "0"),
    ] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
        let house = House::new();
        assert_eq!(house.row(&[("CCACHE_MAXSIZE", text)], &[], "max_size").1, told);
        assert_eq!(parse_size(told), Some(bytes), "{told}");
    }
    assert!(["", "-3", "3g", "3Gx", "."].iter().all(|text| parse_size(text).is_none()));
    assert_eq!(show_size(5 << 30, false), "5.0 GiB");
}

#[test]
fn dollars_stand_for_variables() {
    let house = House::new();
    let log = |text: &str| {
        let settings = house.load(&[("CCACHE_LOGFILE", text), ("A_1", "x")]).unwrap();
        settings.get("log_file").unwrap()
    };
    assert_eq!(log("$A_1/${A_1}y$$z$ a$"), "x/xy$z$ a$");
}

#[test]
fn a_file_keeps_what_is_not_set() {
    let house = House::new();
    let path = house.at("new/ccache.conf");
    set_in_file(&path, "max_size", "3G").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "max_size = 3G\n");
    house.write("new/ccache.conf", "# mine\n\n  max_size=3G\nfoo = 1\nhash_dir = true");
    set_in_file(&path, "max_size", "4G").unwrap();
    set_in_file(&path, "base_dir", "$HOME").unwrap();
    let text = "# mine\n\nmax_size = 4G\nfoo = 1\nhash_dir = true\nbase_dir = $HOME\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    for (key, value) in [("hash_dir", "xyz"), ("nonsense", "1"), ("max_size", "")] {
        assert!(set_in_file(&path, key, value).is_err(), "{key}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_dir(house.at("new")).unwrap().count(), 1);
}

#[test]
fn an_assignment_has_a_key_that_is_known() {
    let is = |word: &str| is_assignment(OsStr::new(word));
    assert!(is("max_size=1G") && is("compiler=") && is("secondary_storage=x"));
    assert!(!is("max_size") && !is("gcc=1") && !is("=") && !is("./max_size=1"));
}

#[test]
fn settings_mean_for_larder_what_they_say() {
    let house = House::new();
    let config = house
        .load(&[
            ("CCACHE_DIR", "/d"),
            ("CCACHE_MAXSIZE", "1k"),
            ("CCACHE_UMASK", "002"),
            ("CCACHE_SLOPPINESS", "locale,pch_defines time_macros"),
            ("CCACHE_COMPILERCHECK", "%compiler% -v; cat x"),
            ("CCACHE_NOHASHDIR", "1"),
            ("CCACHE_BASEDIR", "/a:/b"),
            ("CCACHE_LOGFILE", "syslog"),
            ("CCACHE_DEPEND", "1"),
            ("CCACHE_NODIRECT", "1"),
        ])
        .unwrap()
        .larder();
    assert_eq!(config.dir.value.as_deref(), Some(Path::new("/d/larder")));
    assert_eq!((config.max_size_bytes.value, config.umask.value), (64 << 20, 0o002));
    assert_eq!(config.compiler_check.value.show(), "%compiler% -v; cat x");
    assert!(!config.hash_dir.value && !config.depend_mode.value && config.log.value.is_none());
    assert_eq!(config.base_dirs.value.len(), 2);
    let ccache = config.ccache.unwrap();
    assert!(ccache.is_sloppy("pch_defines") && !ccache.is_sloppy("modules"));
    assert!(ccache.logs_to_system);
    assert!(ccache.counts && ccache.temporary_dir.is_none() && ccache.debug_level == 0);
    assert_eq!(config.problems, Vec::<String>::new());
    let default = house.load(&[]).unwrap().larder();
    assert_eq!(default.compiler_check.value.show(), "content");
    assert_eq!(default.max_size_bytes.value, 5 << 30);
    assert!(!default.ccache.unwrap().logs_to_system);
    let unlimited = house.load(&[("CCACHE_MAXSIZE", "0")]).unwrap().larder();
    assert!(unlimited.max_size_bytes.value > 1 << 40);
}

#[test]
fn remote_storage_is_tiers_and_what_is_wrong_with_it_ends_nothing() {
    let house = House::new();
    let text = "file:/x|read-only tape://secret redis://h|layout=flat";
    let set = [("CCACHE_REMOTE_STORAGE", text), ("CCACHE_REMOTE_ONLY", "1")];
    let config = house.load(&set).unwrap().larder();
    let tiers: Vec<_> = config.tiers.value.iter().map(|tier| tier.display()).collect();
    assert_eq!(tiers, ["file:///x", "redis://h:6379/0"]);
    assert!(config.tiers.value[0].is_read_only() && !config.tiers.value[1].is_read_only());
    let [only, wrong, layout] = &config.problems[..] else { panic!("{:?}", config.problems) };
    assert_eq!(only, "remote_only is not applied");
    assert!(wrong.starts_with("place 2 of remote_storage cannot be used: begins with none of"));
    assert_eq!(layout, "place 3 of remote_storage: layout is not applied");
    assert!(!wrong.contains("secret"));
    // A checkout may not name the servers.
    house.write("project/ccache.conf", "remote_storage = file:/y\n");
    let config = house.load(&[]).map(|settings| settings.larder());
    assert!(config.is_err() || config.unwrap().tiers.value.is_empty());
}
