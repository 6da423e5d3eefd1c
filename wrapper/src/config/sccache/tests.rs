//! What the settings of sccache mean, and what wrong ones do.

use std::fs;
use std::path::Path;

use super::*;

fn load(variables: &[(&str, &str)]) -> Config {
    let own = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    from_variables(&variables.iter().map(own).collect::<Vec<_>>())
}

/// The configuration with this text in a file, and some variables.
fn with_file(text: &str, variables: &[(&str, &str)]) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conf");
    fs::write(&path, text).unwrap();
    let named = [("HOME", "/home/me"), ("SCCACHE_CONF", path.to_str().unwrap())];
    load(&[&named[..], variables].concat())
}

fn unapplied(config: &Config) -> &[String] {
    &config.sccache.as_ref().unwrap().unapplied
}

#[test]
fn the_store_is_in_the_directory_of_sccache() {
    let dir = |variables: &[(&str, &str)]| load(variables).dir.value.unwrap();
    assert_eq!(dir(&[("HOME", "/h")]), Path::new("/h/.cache/sccache/larder"));
    let cache = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x")];
    assert_eq!(dir(&cache), Path::new("/x/sccache/larder"));
    assert_eq!(dir(&[("SCCACHE_DIR", "/s"), ("LARDER_DIR", "/l")]), Path::new("/s/larder"));
}

#[test]
fn variables_mean_settings_of_larder() {
    let config = load(&[
        ("SCCACHE_DIR", "/s"),
        ("SCCACHE_CACHE_SIZE", "3G"),
        ("SCCACHE_DIRECT", "off"),
        ("SCCACHE_LOCAL_RW_MODE", "read_only"),
        ("SCCACHE_CACHE_ZSTD_LEVEL", "9"),
        ("SCCACHE_BASEDIRS", "/a:/b/"),
        ("SCCACHE_RECACHE", ""),
        ("SCCACHE_NO_CACHE", "0"),
        ("SCCACHE_EXTRAFILES", "/x:/y"),
        ("SCCACHE_C_CUSTOM_CACHE_BUSTER", "two"),
        ("SCCACHE_ERROR_LOG", "/log"),
        ("SCCACHE_IDLE_TIMEOUT", "0"),
        ("LARDER_JANITOR", "off"),
        ("LARDER_RECACHE", "what"),
    ]);
    assert_eq!(config.problems, Vec::<String>::new());
    assert_eq!(config.max_size_bytes.value, 3 << 30);
    assert!(!config.direct_mode.value && config.readonly.value);
    assert!(config.recache.value && config.disable.value);
    assert_eq!(config.compression_level.value, 9);
    assert_eq!(config.base_dirs.value, ["/a", "/b"].map(PathBuf::from));
    assert_eq!(config.extra_files_to_hash.value, ["/x", "/y"].map(PathBuf::from));
    assert_eq!(config.namespace.value, "two");
    assert_eq!(config.log.value, Some("/log".into()));
    assert_eq!(config.janitor.value, super::super::Janitor::Off);
    assert!(config.is_of_another_cache() && unapplied(&config).is_empty());
    let off = load(&[("SCCACHE_ERROR_LOG", "/log"), ("SCCACHE_LOG", "off")]);
    assert_eq!(off.log.value, None);
}

#[test]
fn sizes_are_read_as_sccache_reads_them() {
    for (text, bytes) in [
        ("12", Some(12)),
        ("2k", Some(2 << 10)),
        ("3M", Some(3 << 20)),
        ("10G", Some(10 << 30)),
        ("1T", Some(1 << 40)),
        ("", None),
        ("G", None),
        ("1.5G", None),
        ("10GB", None),
        ("10GiB", None),
        ("-1", None),
        ("99999999999T", None),
    ] {
        assert_eq!(parse_size(text), bytes, "{text}");
    }
    // A store cannot be smaller.
    assert_eq!(load(&[("SCCACHE_CACHE_SIZE", "5M")]).max_size_bytes.value, 64 << 20);
}

#[test]
fn wrong_values_are_told_and_the_default_stands() {
    for (name, value, told) in [
        ("SCCACHE_CACHE_SIZE", "10GB", "is \"10GB\", which is no number with K, M, G or T"),
        ("SCCACHE_DIRECT", "perhaps", "is neither 1/true/yes/on nor 0/false/no/off"),
        ("SCCACHE_LOCAL_RW_MODE", "RO", "is \"RO\", which is neither READ_ONLY nor READ_WRITE"),
        ("SCCACHE_CACHE_ZSTD_LEVEL", "23", "is no number from 1 to 22"),
        ("SCCACHE_BASEDIRS", "/a:b", "\"b\" is not an absolute path"),
    ] {
        let config = load(&[("HOME", "/h"), (name, value)]);
        let [problem] = config.problems.as_slice() else { panic!("{:?}", config.problems) };
        assert!(problem.starts_with(name) && problem.contains(told), "{problem}");
        assert!(config.dir.value.is_some() && config.base_dirs.value.is_empty());
        assert_eq!(config.max_size_bytes.value, 10 << 30);
    }
}

const FILE: &str = "\
server_startup_timeout_ms = 10
basedirs = [\"/one\"]
[cache.disk]
dir = \"/f\"
size = 4294967296
rw_mode = \"READ_ONLY\"
[cache.disk.preprocessor_cache_mode]
use_preprocessor_cache_mode = false
ignore_time_macros = true
skip_system_headers = true
hash_working_directory = false
[cache.gha]
cache_to = \"x\"
[dist]
scheduler_url = \"http://h\"
";

#[test]
fn the_environment_wins_over_the_file_setting_by_setting() {
    let config = with_file(FILE, &[]);
    assert_eq!(config.problems, Vec::<String>::new());
    assert_eq!(config.dir.value.as_deref(), Some(Path::new("/f/larder")));
    assert_eq!(config.max_size_bytes.value, 4 << 30);
    assert_eq!(config.base_dirs.value, ["/one"].map(PathBuf::from));
    assert!(config.readonly.value && !config.direct_mode.value && config.hash_dir.value);
    let both = Sloppiness::TIME_MACROS.bits() | Sloppiness::SYSTEM_HEADERS.bits();
    assert_eq!(config.sloppiness.value.bits(), both);
    let names: Vec<_> = unapplied(&config).iter().map(|it| it.split(' ').next()).collect();
    assert_eq!(names, [Some("cache.gha"), Some("dist")]);
    let config = with_file(FILE, &[("SCCACHE_CACHE_SIZE", "2G"), ("SCCACHE_DIRECT", "1")]);
    assert_eq!(config.dir.value.as_deref(), Some(Path::new("/f/larder")));
    assert!(config.max_size_bytes.value == 2 << 30 && config.direct_mode.value);
    let config = with_file(FILE, &[("SCCACHE_DIR", "/e"), ("SCCACHE_LOCAL_RW_MODE", "READ_WRITE")]);
    assert_eq!(config.dir.value.as_deref(), Some(Path::new("/e/larder")));
    assert!(!config.readonly.value);
    let text = with_file("[cache.disk]\nsize = \"3G\"\n", &[]);
    assert_eq!(text.max_size_bytes.value, 3 << 30);
}

#[test]
fn without_knowing_the_store_there_is_none() {
    for text in ["not TOML", "[cache.disk]\ndir = 5\n[x", "[cache.disk]\ndir = [1]\n"] {
        let config = with_file(text, &[]);
        assert!(config.dir.value.is_none() && config.dir_problem.is_some(), "{text}");
        // The environment says which one.
        let config = with_file(text, &[("SCCACHE_DIR", "/e")]);
        assert_eq!(config.dir.value.as_deref(), Some(Path::new("/e/larder")), "{text}");
        assert!(config.dir_problem.is_none() && config.problems.len() == 1, "{text}");
    }
    // sccache goes on without a file that is not there, and passes over no key.
    let config = load(&[("HOME", "/h"), ("SCCACHE_CONF", "/nonexistent/conf")]);
    assert!(config.dir.value.is_some() && config.problems.len() == 1);
    let config = with_file("colour = 1\n[cache.disk]\nzize = 1\n", &[]);
    assert!(config.dir.value.is_some() && config.problems.len() == 2, "{:?}", config.problems);
}

#[test]
fn what_names_other_places_is_noted() {
    let config = load(&[
        ("SCCACHE_DIR", "/s"),
        ("SCCACHE_AZURE_CONNECTION_STRING", "secret"),
        ("SCCACHE_OSS_BUCKET", "b"),
        ("SCCACHE_GHA_ENABLED", "true"),
        ("SCCACHE_IDLE_TIMEOUT", "0"),
    ]);
    let wanted = ["SCCACHE_AZURE_CONNECTION_STRING", "SCCACHE_GHA_ENABLED", "SCCACHE_OSS_BUCKET"];
    // Only the names: values may be secret.
    assert_eq!(unapplied(&config), wanted);
    assert!(config.problems.is_empty());
}

#[test]
fn every_name_has_its_row_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sccache.md");
    let told = fs::read_to_string(path).unwrap();
    let applied = VARIABLES.iter().chain(KEYS).map(|(name, _)| *name);
    let remote = remote::ROWS.iter().flat_map(|row| [row.variable, row.key]);
    let applied = applied.chain(remote);
    for name in applied.chain(NOTHING.iter().copied()).chain(ELSEWHERE.iter().copied()) {
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        let short = short.strip_prefix("cache.disk.preprocessor_cache_mode.").unwrap_or(short);
        let rows = told.lines().filter(|line| line.starts_with("| "));
        let has = |line: &str| {
            let quoted = line.split('`').skip(1).step_by(2);
            quoted.map(|word| word.trim_end_matches('*')).any(|word| word == short)
        };
        assert!(rows.into_iter().any(has), "{name}");
    }
}

fn tiers(config: &Config) -> Vec<String> {
    config.tiers.value.iter().map(crate::tier::TierSettings::text).collect()
}

#[test]
fn redis_memcached_and_webdav_are_tiers() {
    for (variables, tier) in [
        (&[("SCCACHE_REDIS", "redis://u:pw@h:7/?db=3")][..], "redis://u:pw@h:7/3"),
        (&[("SCCACHE_REDIS", "rediss://:pw@h/2")], "rediss://:pw@h/2"),
        (&[("SCCACHE_REDIS_ENDPOINT", "h:7")], "redis://h:7/0"),
        (&[("SCCACHE_REDIS_ENDPOINT", "tcp://@h")], "redis://h/0"),
        (&[("SCCACHE_REDIS_ENDPOINT", "unix://localhost/tmp/s")], "redis+unix:///tmp/s?db=0"),
        (
            &[
                ("SCCACHE_REDIS_ENDPOINT", "redis://h"),
                ("SCCACHE_REDIS_USERNAME", "me"),
                ("SCCACHE_REDIS_PASSWORD", "a|b c"),
                ("SCCACHE_REDIS_DB", "4"),
                ("SCCACHE_REDIS_KEY_PREFIX", "/team/x/"),
                ("SCCACHE_REDIS_EXPIRATION", "60"),
                ("SCCACHE_REDIS_RW_MODE", "READ_ONLY"),
            ],
            "redis://h/4|username=me|password=a%7Cb%20c|prefix=team/x/larder:|expire=60|read-only",
        ),
        (
            &[
                ("SCCACHE_REDIS_CLUSTER_ENDPOINTS", "redis://a:1,redis://b"),
                ("SCCACHE_REDIS_TTL", "0"),
            ],
            "redis+cluster://a:1,b",
        ),
        (&[("SCCACHE_MEMCACHED", "tcp://h:7")], "memcached://h:7|expire=86400"),
        (&[("SCCACHE_MEMCACHED_ENDPOINT", "h")], "memcached://h|expire=86400"),
        (
            &[
                ("SCCACHE_MEMCACHED_ENDPOINT", "tcp://a:1, tcp://[::1]:2"),
                ("SCCACHE_MEMCACHED_KEY_PREFIX", "/team/"),
                ("SCCACHE_MEMCACHED_EXPIRATION", "60"),
                ("SCCACHE_MEMCACHED_RW_MODE", "READ_ONLY"),
            ],
            "memcached://a:1,[::1]:2|prefix=team/larder:|expire=60|read-only",
        ),
        (
            &[("SCCACHE_MEMCACHED_ENDPOINT", "tcp://h"), ("SCCACHE_MEMCACHED_EXPIRATION", "0")],
            "memcached://h",
        ),
        (
            &[("SCCACHE_WEBDAV_ENDPOINT", "https://h/d"), ("SCCACHE_WEBDAV_TOKEN", "t")],
            "https://h/d|bearer-token=t",
        ),
        (
            &[
                ("SCCACHE_WEBDAV_ENDPOINT", "http://h"),
                ("SCCACHE_WEBDAV_USERNAME", "me"),
                ("SCCACHE_WEBDAV_PASSWORD", "p"),
                ("SCCACHE_WEBDAV_KEY_PREFIX", "x"),
                ("SCCACHE_WEBDAV_RW_MODE", "READ_WRITE"),
            ],
            "http://h|username=me|password=p|prefix=x/larder/",
        ),
    ] {
        check_tier(variables, tier);
    }
}

#[test]
fn a_bucket_is_a_tier() {
    for (variables, tier) in [
        (&[("SCCACHE_BUCKET", "abc")][..], "s3://abc"),
        (
            &[("SCCACHE_BUCKET", "abc"), ("SCCACHE_ENDPOINT", "10.0.0.1:9000")],
            "s3://abc?endpoint=http://10.0.0.1:9000",
        ),
        (
            &[
                ("SCCACHE_BUCKET", "abc"),
                ("SCCACHE_REGION", "auto"),
                ("SCCACHE_ENDPOINT", "http://h"),
                ("SCCACHE_S3_USE_SSL", "true"),
                ("SCCACHE_S3_KEY_PREFIX", "/x/"),
                ("SCCACHE_S3_NO_CREDENTIALS", "1"),
                ("SCCACHE_S3_SERVER_SIDE_ENCRYPTION", "true"),
                ("SCCACHE_S3_ENABLE_VIRTUAL_HOST_STYLE", "on"),
                ("SCCACHE_S3_RW_MODE", "READ_ONLY"),
            ],
            "s3://abc?region=auto&endpoint=https://h|prefix=x/larder/|host-style|anonymous\
             |sse=AES256|read-only",
        ),
        (
            &[
                ("SCCACHE_BUCKET", "abc"),
                ("SCCACHE_S3_NO_CREDENTIALS", "false"),
                ("SCCACHE_S3_ENABLE_VIRTUAL_HOST_STYLE", "false"),
            ],
            "s3://abc|path-style",
        ),
    ] {
        check_tier(variables, tier);
    }
}

/// These variables mean this one tier.
fn check_tier(variables: &[(&'static str, &str)], tier: &str) {
    let config = load(&[&[("HOME", "/h")], variables].concat());
    assert_eq!(config.problems, Vec::<String>::new(), "{variables:?}");
    assert_eq!(tiers(&config), [tier]);
    assert!(unapplied(&config).is_empty());
    assert_eq!(config.tiers.origin, Origin::Environment(variables[0].0));
    assert_eq!(config.write_policy.value, super::super::WritePolicy::Ignore);
}

#[test]
fn a_place_that_cannot_be_used_is_a_problem_without_its_secret() {
    for variables in [
        &[("SCCACHE_REDIS", "redis://u:secret@h#insecure")][..],
        &[("SCCACHE_REDIS", "ftp://u:secret@h")],
        &[("SCCACHE_REDIS", "redis://u:secret@h/secret")],
        &[("SCCACHE_REDIS_ENDPOINT", "redis://h"), ("SCCACHE_REDIS_DB", "secret")],
        &[("SCCACHE_REDIS_ENDPOINT", "redis://h"), ("SCCACHE_REDIS_RW_MODE", "RO")],
        &[("SCCACHE_REDIS_ENDPOINT", "redis://h"), ("SCCACHE_REDIS_USERNAME", "secret")],
        &[("SCCACHE_REDIS_ENDPOINT", "redis://h"), ("SCCACHE_REDIS_EXPIRATION", "soon")],
        &[("SCCACHE_REDIS_ENDPOINT", "redis://h"), ("SCCACHE_REDIS", "redis://i")],
        &[("SCCACHE_REDIS_CLUSTER_ENDPOINTS", "redis://a,rediss://b")],
        &[("SCCACHE_REDIS_CLUSTER_ENDPOINTS", "a,b"), ("SCCACHE_REDIS_DB", "1")],
        &[("SCCACHE_MEMCACHED_ENDPOINT", "tcp://u:secret@h")],
        &[("SCCACHE_MEMCACHED_ENDPOINT", "unix:///secret")],
        &[("SCCACHE_MEMCACHED_ENDPOINT", "tcp://h"), ("SCCACHE_MEMCACHED_USERNAME", "secret")],
        &[("SCCACHE_MEMCACHED_ENDPOINT", "tcp://h"), ("SCCACHE_MEMCACHED_PASSWORD", "secret")],
        &[("SCCACHE_MEMCACHED_ENDPOINT", "tcp://h"), ("SCCACHE_MEMCACHED", "tcp://h")],
        &[("SCCACHE_MEMCACHED", "h"), ("SCCACHE_MEMCACHED_KEY_PREFIX", "a b")],
        &[("SCCACHE_BUCKET", "secret@b")],
        &[("SCCACHE_BUCKET", "abc/secret")],
        &[("SCCACHE_BUCKET", "abc"), ("SCCACHE_ENDPOINT", "http://u:secret@h")],
        &[("SCCACHE_BUCKET", "abc"), ("SCCACHE_REGION", "secret/x")],
        &[("SCCACHE_BUCKET", "abc"), ("SCCACHE_S3_USE_SSL", "secret")],
        &[("SCCACHE_BUCKET", "abc"), ("SCCACHE_S3_RW_MODE", "RO")],
        &[("SCCACHE_WEBDAV_ENDPOINT", "redis+http://u:secret@h")],
        &[("SCCACHE_WEBDAV_ENDPOINT", "http://h"), ("SCCACHE_WEBDAV_KEY_PREFIX", "a b")],
    ] {
        let config = load(&[&[("HOME", "/h")], variables].concat());
        let [problem] = config.problems.as_slice() else { panic!("{variables:?}") };
        assert!(problem.starts_with("SCCACHE_") && !problem.contains("secret"), "{problem}");
        assert!(config.tiers.value.is_empty() && config.dir.value.is_some());
    }
}

const SERVERS: [(&str, &str); 4] = [
    ("HOME", "/h"),
    ("SCCACHE_MEMCACHED_ENDPOINT", "tcp://m"),
    ("SCCACHE_REDIS_ENDPOINT", "redis://r"),
    ("SCCACHE_WEBDAV_ENDPOINT", "http://w"),
];

#[test]
fn the_chain_has_its_order_and_tells_what_is_not_there() {
    let chained = |chain: &[(&str, &str)]| load(&[&SERVERS, chain].concat());
    let levels = |config: &Config| config.sccache.as_ref().unwrap().levels.clone();
    // Without one there is one remote place.
    let config = chained(&[]);
    assert_eq!(tiers(&config), ["redis://r/0"]);
    assert_eq!(unapplied(&config), ["SCCACHE_MEMCACHED_ENDPOINT", "SCCACHE_WEBDAV_ENDPOINT"]);
    assert!(levels(&config).is_empty());
    let config = load(&[SERVERS[0], SERVERS[1], SERVERS[3]]);
    assert_eq!(tiers(&config), ["memcached://m|expire=86400"]);
    assert_eq!(unapplied(&config), ["SCCACHE_WEBDAV_ENDPOINT"]);
    let config = chained(&[("SCCACHE_MULTILEVEL_CHAIN", "disk, WebDAV,redis,redis,Memcached")]);
    assert_eq!(tiers(&config), ["http://w", "redis://r/0", "memcached://m|expire=86400"]);
    assert_eq!(levels(&config), ["disk", "webdav", "redis", "memcached"]);
    assert!(config.problems.is_empty() && unapplied(&config).is_empty());
    let config = chained(&[("SCCACHE_MULTILEVEL_CHAIN", "redis,gcs,tape")]);
    assert_eq!(tiers(&config), ["redis://r/0"]);
    let wanted = [
        "SCCACHE_MEMCACHED_ENDPOINT",
        "SCCACHE_WEBDAV_ENDPOINT",
        "gcs in SCCACHE_MULTILEVEL_CHAIN",
    ];
    assert_eq!(unapplied(&config), wanted);
    assert!(config.problems[0].contains("\"tape\", which is no level"), "{:?}", config.problems);
    // A bucket comes before the others.
    let with_s3 = [&SERVERS[..], &[("SCCACHE_BUCKET", "abc")]].concat();
    assert_eq!(tiers(&load(&with_s3)), ["s3://abc"]);
    let chain = [&with_s3[..], &[("SCCACHE_MULTILEVEL_CHAIN", "redis,S3")]].concat();
    assert_eq!(tiers(&load(&chain)), ["redis://r/0", "s3://abc"]);
    let config = load(&[("HOME", "/h"), ("SCCACHE_MULTILEVEL_CHAIN", "disk,redis")]);
    assert!(config.problems[0].contains("\"redis\", of which nothing is set"));
    for (text, policy) in [("ignore", "Ignore"), ("l0", "Local"), ("all", "All"), ("x", "Ignore")] {
        let config = chained(&[
            ("SCCACHE_MULTILEVEL_CHAIN", "redis,webdav"),
            ("SCCACHE_MULTILEVEL_WRITE_ERROR_POLICY", text),
        ]);
        assert_eq!(format!("{:?}", config.write_policy.value), policy);
        assert_eq!(config.problems.len(), usize::from(text == "x"));
    }
}

/// What a file says of one server is not said to another.
#[test]
fn a_server_is_taken_as_a_whole_from_one_source() {
    let text = "[cache.redis]\nendpoint = \"redis://f\"\npassword = \"pf\"\ndb = 2\n\
                rw_mode = \"READ_ONLY\"\n[cache.webdav]\nendpoint = \"http://w\"\n\
                [cache.multilevel]\nchain = [\"disk\", \"redis\", \"webdav\"]\n";
    let config = with_file(text, &[]);
    assert_eq!(config.problems, Vec::<String>::new());
    assert_eq!(tiers(&config), ["redis://f/2|password=pf|read-only", "http://w"]);
    let config = with_file(text, &[("SCCACHE_REDIS_ENDPOINT", "redis://e")]);
    assert_eq!(tiers(&config), ["redis://e/0", "http://w"]);
    let config = with_file(text, &[("SCCACHE_REDIS_PASSWORD", "pe")]);
    assert_eq!(tiers(&config), ["redis://f/2|password=pf|read-only", "http://w"]);
    assert_eq!(unapplied(&config), ["SCCACHE_REDIS_PASSWORD"]);
    let text = "[cache.memcached]\nurl = \"tcp://f:1\"\nexpiration = 7\nkey_prefix = \"k\"\n";
    assert_eq!(tiers(&with_file(text, &[])), ["memcached://f:1|prefix=k/larder:|expire=7"]);
    let config = with_file("[cache.redis]\nendpoint = 5.5\ncolour = 1\n", &[]);
    assert!(config.problems.len() == 2 && config.tiers.value.is_empty(), "{:?}", config.problems);
}
