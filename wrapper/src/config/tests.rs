//! What texts become settings, and where they are looked for.

use std::fs;

use super::directory::FILE_NAME;
use super::*;

fn config(variables: &[(&str, &str)]) -> Config {
    Config::from_sources(
        |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()),
        None,
    )
}

#[test]
fn sizes_are_decimal_or_binary_as_written() {
    assert_eq!(parse_size("5G"), Some(5_000_000_000));
    assert_eq!(parse_size("5 GiB"), Some(5 << 30));
    assert_eq!(parse_size("1.5Mi"), Some(3 << 19));
    assert_eq!(parse_size("123"), Some(123));
    for wrong in ["", "G", "-1", "1X", "1.2.3", "99999999999T"] {
        assert_eq!(parse_size(wrong), None, "{wrong}");
    }
}

#[test]
fn the_directory_follows_the_xdg_rules() {
    let dir = |variables: &[(&str, &str)]| config(variables).dir.value;
    assert_eq!(dir(&[("HOME", "/h")]), Some("/h/.cache/larder".into()));
    assert_eq!(dir(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Some("/c/larder".into()));
    assert_eq!(dir(&[("HOME", "/h"), ("LARDER_DIR", "/l")]), Some("/l".into()));
    assert_eq!(dir(&[("XDG_CACHE_HOME", "relative")]), None);
    assert_eq!(dir(&[]), None);
}

/// `LARDER_MAX_SIZE=64M`, a little less than 64Mi, gave 10 GiB.
#[test]
fn a_size_that_is_too_small_is_the_smallest() {
    let size = |text| {
        let config = config(&[("LARDER_MAX_SIZE", text)]);
        (config.max_size_bytes.value, config.problems.join("; "))
    };
    assert_eq!(size("64Mi"), (64 << 20, String::new()));
    let told = "LARDER_MAX_SIZE \"64M\" is less than 64Mi; 64Mi is used";
    assert_eq!(size("64M"), (64 << 20, told.to_owned()));
    let told = "LARDER_MAX_SIZE \"0\" is no size; it is ignored";
    assert_eq!(size("0"), (MAX_SIZE_BYTES_DEFAULT, told.to_owned()));
}

#[test]
fn a_directory_that_is_wrong_is_no_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("larder.toml");
    let file = path.to_str().unwrap();
    for text in ["dir = \"store\"", "dir = 5", "dir = [1]", "= = =", "dir = \"/f\""] {
        fs::write(&path, text).unwrap();
        let is_right = text.contains('/');
        let of_file = config(&[("HOME", "/h"), ("LARDER_CONFIG", file)]);
        assert_eq!(of_file.dir.value, is_right.then(|| "/f".into()), "{text}");
        assert_eq!(of_file.dir_problem.is_none(), is_right, "{text}");
        assert_eq!(of_file.describe().contains("dir = unknown,"), !is_right, "{text}");
        let beaten = [("HOME", "/h"), ("LARDER_CONFIG", file), ("LARDER_DIR", "/v")];
        assert_eq!(config(&beaten).dir.value, Some("/v".into()), "{text}");
        assert_eq!(config(&beaten).dir_problem, None, "{text}");
        for wrong in ["./v", "v", ""] {
            let beaten = [("HOME", "/h"), ("LARDER_CONFIG", file), ("LARDER_DIR", wrong)];
            assert_eq!(config(&beaten).dir.value, None, "{text}");
            assert!(config(&beaten).dir_problem.unwrap().starts_with("LARDER_DIR "), "{text}");
        }
    }
}

#[test]
fn the_environment_beats_the_file_and_each_value_knows_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("larder.toml");
    let text = "max_size = \"1Gi\"\nreadonly = true\nfile_clone = true\ncompression_level = 3\n";
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let config = config(&[("LARDER_CONFIG", file), ("LARDER_MAX_SIZE", "2Gi")]);
    assert_eq!(config.max_size_bytes.value, 2 << 30);
    assert_eq!(config.max_size_bytes.origin, Origin::Environment("LARDER_MAX_SIZE"));
    assert!(config.readonly.value && config.file_clone.value);
    assert_eq!(config.readonly.origin, Origin::File(path));
    assert_eq!(config.compression_level.value, 3);
    assert_eq!(config.namespace.origin, Origin::Default);
    assert!(config.problems.is_empty(), "{:?}", config.problems);
}

#[test]
fn wrong_values_and_unknown_keys_are_told_and_the_default_stands() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("larder.toml");
    fs::write(&path, "max_size = \"a lot\"\ncolour = 1\nlog = [1]\n").unwrap();
    let file = path.to_str().unwrap();
    let mut config = config(&[("LARDER_CONFIG", file), ("LARDER_DISABLE", "maybe")]);
    assert_eq!(config.max_size_bytes.value, MAX_SIZE_BYTES_DEFAULT);
    assert!(!config.disable.value);
    assert_eq!(config.problems.len(), 4, "{:?}", config.problems);
    config.check_variable_names(["LARDER_DIRR".into(), "LARDER_LOG".into()].into_iter());
    assert_eq!(config.problems.len(), 5, "{:?}", config.problems);
    assert!(config.describe().contains("# LARDER_DISABLE \"maybe\" is neither"));
}

#[test]
fn a_file_that_is_no_toml_or_missing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("larder.toml");
    let file = path.to_str().unwrap();
    assert_eq!(config(&[("LARDER_CONFIG", file)]).problems.len(), 1);
    fs::write(&path, "= = =").unwrap();
    assert_eq!(config(&[("LARDER_CONFIG", file)]).problems.len(), 1);
    assert!(config(&[("HOME", dir.path().to_str().unwrap())]).problems.is_empty());
}

fn config_in(directory: &Path, variables: &[(&str, &str)]) -> Config {
    let variable =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    Config::from_sources(variable, Some(directory))
}

#[test]
fn the_nearest_file_of_a_directory_counts_up_to_a_ceiling() {
    let top = tempfile::tempdir().unwrap();
    let top = top.path().canonicalize().unwrap();
    let deep = top.join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    let space = |variables: &[(&str, &str)]| config_in(&deep, variables).namespace.value;
    fs::write(top.join(FILE_NAME), "namespace = \"top\"").unwrap();
    assert_eq!(space(&[]), "top");
    assert_eq!(space(&[("LARDER_CEILING_DIRS", top.to_str().unwrap())]), "");
    assert_eq!(space(&[("HOME", top.to_str().unwrap())]), "");
    assert_eq!(space(&[("HOME", "/h"), ("LARDER_NAMESPACE", "mine")]), "mine");
    assert_eq!(space(&[("HOME", "/h"), ("LARDER_CONFIG", "/dev/null/none")]), "");
    fs::create_dir(top.join("a/b/.git")).unwrap();
    assert_eq!(space(&[]), "");
    assert_eq!(space(&[("LARDER_CEILING_MARKERS", ".hg")]), "top");
    fs::write(top.join("a/b").join(FILE_NAME), "namespace = \"project\"").unwrap();
    assert_eq!(space(&[]), "project");
    fs::write(deep.join(FILE_NAME), "disable = true").unwrap();
    assert_eq!(space(&[]), "");
}

#[test]
fn a_file_of_a_directory_is_about_no_store_and_starts_no_program_unless_it_is_safe() {
    let top = tempfile::tempdir().unwrap();
    let top = top.path().canonicalize().unwrap();
    let text = "dir = \"/elsewhere\"\nmax_size = \"1G\"\nsafe_dirs = [\"/\"]\nlog = \"/l\"\n\
                prefix_command = \"p q\"\nbase_dirs = [\".\", \"sub\"]\n\
                ignore_options = \"-a -b\"\n";
    fs::write(top.join(FILE_NAME), text).unwrap();
    let safe = top.parent().unwrap().to_str().unwrap();
    for is_safe in [false, true] {
        let variables = [("HOME", "/h"), ("LARDER_SAFE_DIRS", safe)];
        let config = config_in(&top, &variables[..1 + usize::from(is_safe)]);
        assert_eq!(config.dir.value, Some("/h/.cache/larder".into()));
        assert_eq!(config.max_size_bytes.value, MAX_SIZE_BYTES_DEFAULT);
        assert_eq!(config.log.value.is_some(), is_safe);
        assert_eq!(config.prefix_command.value.len(), if is_safe { 2 } else { 0 });
        assert_eq!(config.base_dirs.value, [top.clone(), top.join("sub")]);
        assert_eq!(config.ignore_options.value, ["-a", "-b"]);
        assert_eq!(config.problems.len(), if is_safe { 3 } else { 5 }, "{:?}", config.problems);
    }
    fs::rename(top.join(FILE_NAME), top.join("real")).unwrap();
    std::os::unix::fs::symlink("real", top.join(FILE_NAME)).unwrap();
    let config = config_in(&top, &[]);
    assert!(config.base_dirs.value.is_empty() && config.problems.len() == 1, "{config:?}");
}

#[test]
fn lower_stores_are_the_users_matter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("larder.toml");
    fs::write(&path, "lower = [\"/a\", \"/b\"]\nlower_promote = true\n").unwrap();
    let file = path.to_str().unwrap();
    let of_file = config(&[("LARDER_CONFIG", file)]);
    assert_eq!(of_file.lower.value, ["/a", "/b"].map(PathBuf::from));
    assert!(of_file.lower_promote.value);
    let of_both = config(&[("LARDER_CONFIG", file), ("LARDER_LOWER", "/c:/d")]);
    assert_eq!(of_both.lower.value, ["/c", "/d"].map(PathBuf::from));
    let none = config(&[("LARDER_CONFIG", file), ("LARDER_LOWER", "")]);
    assert!(none.lower.value.is_empty() && none.problems.is_empty(), "{none:?}");
    let wrong = config(&[("LARDER_LOWER", "c")]);
    assert!(wrong.lower.value.is_empty() && wrong.problems.len() == 1, "{wrong:?}");
    fs::rename(&path, dir.path().join(FILE_NAME)).unwrap();
    let of_directory = config_in(dir.path(), &[("HOME", "/h")]);
    assert!(of_directory.lower.value.is_empty() && !of_directory.lower_promote.value);
    assert_eq!(of_directory.problems.len(), 2, "{of_directory:?}");
}

#[test]
fn settings_that_exclude_each_other_and_odd_values_are_told() {
    let config = config(&[
        ("LARDER_DEPEND_MODE", "1"),
        ("LARDER_DIRECT_MODE", "0"),
        ("LARDER_BASE_DIRS", "/a/one/:/:/b/../c:/d\"e:/f"),
        ("LARDER_SLOPPINESS", "time_macros,everything locale"),
        ("LARDER_UMASK", "9"),
        ("LARDER_COMPILER_CHECK", ""),
    ]);
    assert!(!config.depend_mode.value);
    assert_eq!(config.base_dirs.value, [PathBuf::from("/a/one"), "/f".into()]);
    assert_eq!(config.umask.value, 0o077);
    assert_eq!(config.compiler_check.value, CompilerCheck::Content);
    assert!(config.sloppiness.value.has(Sloppiness::TIME_MACROS));
    let told = config.problems.join("\n");
    assert!(told.contains("has everything, which larder does not know; the rest counts"), "{told}");
    assert_eq!(config.problems.len(), 7, "{told}");
    assert!(config.describe().contains("sloppiness = \"locale,time_macros\"  (environment"));
}

#[test]
fn each_setting_is_shown_with_its_origin() {
    let shown = config(&[]).describe();
    for key in KEYS {
        assert_eq!(key.variable, format!("LARDER_{}", key.name.to_uppercase()));
        assert!(shown.contains(&format!("{} = ", key.name)), "{}", key.name);
    }
    assert_eq!(shown.lines().filter(|line| line.ends_with("(default)")).count(), KEYS.len());
}

/// README has a row for each setting.
#[test]
fn each_setting_is_documented() {
    let text = include_str!("../../../docs/settings.md");
    for key in KEYS {
        assert!(text.contains(&format!("| `{}` |", key.name)), "{}", key.name);
    }
}
