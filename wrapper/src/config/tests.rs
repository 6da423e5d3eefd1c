//! What texts become settings, and where they are looked for.

use std::fs;

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
