//! `larder convert` from and to servers, with what the real ccache and sccache made and look for.

use super::*;
use crate::tiers::servers::s3::{ID, S3, SECRET};
use crate::tiers::servers::{Cluster, Memcached, Nginx, Redis, free_port};
use larder_tests::find_or_skip;

/// Sources, one with a header that ccache has in a manifest.
const SOURCES: [(&str, &str); 3] = [
    ("one.c", "int one(void) { return 1; }\n"),
    ("two.c", "#include \"two.h\"\nint two(void) { return TWO; }\n"),
    ("two.h", "#define TWO 2\n"),
];
const UNITS: [&str; 2] = ["one", "two"];

/// The bytes of the entries, whatever servers make of their times and modes.
pub(super) fn bytes_of(top: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_remote = |path: &String| {
        let is_kept = !path.starts_with("preprocessor/") && !path.starts_with("tmp/");
        is_kept && !path.ends_with(".lock")
    };
    let entries = entries_of(&tree(top)).into_iter().filter(|(path, _)| is_remote(path));
    entries.map(|(path, kept)| (path, kept.bytes)).collect()
}

fn write_sources(house: &House) {
    SOURCES.iter().for_each(|(name, text)| write(&house.at(name), text.as_bytes()));
}

/// Compiles everything by the real ccache with this cache and this remote storage; what it counts.
fn ccache(house: &House, cache: &str, storage: &str) -> String {
    let real = find_or_skip("ccache").expect("it was there");
    let run = |words: &[&str]| {
        let mut command = house.command(&real);
        command.env("CCACHE_DIR", house.at(cache)).env("CCACHE_REMOTE_STORAGE", storage);
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}\n{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    for unit in UNITS {
        run(&["gcc", "-c", &format!("{unit}.c"), "-o", &format!("{unit}.o")]);
    }
    run(&["--print-stats"])
}

fn counted(stats: &str, name: &str) -> u64 {
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
    line.unwrap_or_else(|| panic!("no {name} in {stats}")).parse().unwrap()
}

#[track_caller]
fn assert_ccache_hits(house: &House, storage: &str, what: &str) {
    let cache = format!("empty-{what}");
    let stats = ccache(house, &cache, storage);
    let found = ["direct_cache_hit", "cache_miss", "remote_storage_hit", "remote_storage_error"]
        .map(|name| counted(&stats, name));
    assert_eq!(found, [2, 0, 2, 0], "{what}: {stats}");
}

/// There, again, and back.
#[track_caller]
fn round(house: &House, from: &str, there: &str, back: (&str, &str), keys: &[&str]) {
    let wanted = bytes_of(&house.at(from));
    assert!(!wanted.is_empty());
    let page = house.convert_all(&[from, there]);
    assert_eq!(page["entries"], wanted.len(), "{there}\n{page:#}");
    let page = house.convert_all(&[from, there]);
    assert_eq!((&page["entries"], &page["present"]), (&0.into(), &wanted.len().into()), "{there}");
    let (back, layout) = back;
    let words = [&[there, back, "--to", layout], keys].concat();
    let page = house.convert_all(&words);
    assert_eq!((&page["entries"], &page["strangers_count"]), (&wanted.len().into(), &0.into()));
    assert!(bytes_of(&house.at(back)) == wanted, "{there}: the way back");
    // What a server does not tell, the first bytes do.
    let page = house.convert_all(&words);
    assert_eq!((&page["entries"], &page["present"]), (&0.into(), &wanted.len().into()), "{there}");
}

#[test]
fn ccache_finds_on_redis_what_was_in_a_directory() {
    let Some(redis) = Redis::start(&[]) else { return };
    if find_or_skip("ccache").is_none() {
        return;
    }
    let house = House::new();
    write_sources(&house);
    ccache(&house, "cache", "");
    let url = format!("redis://127.0.0.1:{}", redis.port);
    // What is no string is no object.
    redis.ask(&["RPUSH", &format!("ccache:{}", "0".repeat(40)), "x"]);
    round(&house, "cache", &url, ("back", "ccache"), &[]);
    let socket = format!("redis+unix://{}", redis.socket().display());
    house.convert_all(&[&socket, "other", "--to", "ccache"]);
    assert!(bytes_of(&house.at("other")) == bytes_of(&house.at("back")));
    assert_ccache_hits(&house, &url, "redis");
    // And the other way round: what ccache wrote there itself.
    redis.ask(&["FLUSHALL"]);
    ccache(&house, "own", &url);
    house.convert_all(&[&url, "own-back", "--to", "ccache"]);
    assert!(bytes_of(&house.at("own-back")) == bytes_of(&house.at("own")));
    // Expiry is that of the settings.
    redis.ask(&["FLUSHALL"]);
    house.convert_all(&["cache", &format!("{url}|expire=1000")]);
    let key = redis.ask(&["RANDOMKEY"]);
    let left: u64 = redis.ask(&["TTL", key.trim()]).trim().parse().unwrap();
    assert!((1..=1000).contains(&left), "{left}");
}

#[test]
fn ccache_finds_on_http_what_was_in_a_directory() {
    let Some(nginx) = Nginx::start() else { return };
    if !Nginx::can_list() || find_or_skip("ccache").is_none() {
        return;
    }
    let house = House::new();
    write_sources(&house);
    ccache(&house, "cache", "");
    for layout in ["subdirs", "flat", "bazel"] {
        let url = format!("http://{}|layout={layout}", nginx.place(&format!("listed/{layout}")));
        round(&house, "cache", &url, (&format!("back-{layout}"), "ccache"), &[]);
        assert_ccache_hits(&house, &url, layout);
        let own = format!("http://{}|layout={layout}", nginx.place(&format!("listed/own{layout}")));
        let (cache, back) = (format!("own-{layout}"), format!("own-back-{layout}"));
        ccache(&house, &cache, &own);
        house.convert_all(&[&own, &back, "--to", "ccache"]);
        assert!(bytes_of(&house.at(&back)) == bytes_of(&house.at(&cache)), "{layout}");
    }
}

#[test]
fn a_server_that_cannot_list_is_told_the_names() {
    let Some(nginx) = Nginx::start() else { return };
    if find_or_skip("ccache").is_none() {
        return;
    }
    let house = House::new();
    write_sources(&house);
    ccache(&house, "cache", "");
    let url = format!("http://{}", nginx.place("dav/c"));
    house.convert_all(&["cache", &url]);
    let output = house.run(&["convert", &url, "back", "--to", "ccache"]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("--keys FILE"), "{}", text_of(&output));
    let wanted = bytes_of(&house.at("cache"));
    let name = |path: &String| {
        let text: String = path.trim_end_matches(['R', 'M']).split('/').collect();
        format!("{}/{}\n", &text[..2], &text[2..])
    };
    let names: String = wanted.keys().map(name).collect();
    write(&house.at("names"), names.as_bytes());
    let page = house.convert_all(&[&url, "back", "--to", "ccache", "--keys", "names"]);
    assert_eq!(page["entries"], wanted.len());
    assert!(bytes_of(&house.at("back")) == wanted);
}

/// The real sccache with its server, which ends with the value.
struct Sccache<'a> {
    house: &'a House,
    real: PathBuf,
    variables: Vec<(String, String)>,
}

impl<'a> Sccache<'a> {
    fn new(house: &'a House, variables: &[(&str, &str)]) -> Sccache<'a> {
        let real = find_or_skip("sccache").expect("it was there");
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables: Vec<_> = variables.iter().map(own).collect();
        variables.push(("SCCACHE_SERVER_PORT".to_owned(), free_port().to_string()));
        Sccache { house, real, variables }
    }

    fn run(&self, words: &[&str]) -> String {
        let mut command = self.house.command(&self.real);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let output = command.envs(variables).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}\n{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Compiles everything; hits and errors of the cache.
    fn compile(&self) -> (u64, u64) {
        for unit in UNITS {
            self.run(&["gcc", "-c", &format!("{unit}.c"), "-o", &format!("{unit}.o")]);
        }
        let said = self.run(&["--show-stats", "--stats-format=json"]);
        let json: Value = serde_json::from_str(&said).unwrap();
        let hits = json["stats"]["cache_hits"]["counts"]["C/C++"].as_u64().unwrap_or(0);
        (hits, json["stats"]["cache_write_errors"].as_u64().unwrap())
    }
}

impl Drop for Sccache<'_> {
    fn drop(&mut self) {
        let mut command = self.house.command(&self.real);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let _ = command.envs(variables).arg("--stop-server").output();
    }
}

/// A house in which sccache has a local cache called `cache`; `None` without sccache.
fn sccache_house() -> Option<House> {
    find_or_skip("sccache")?;
    let house = House::new();
    write_sources(&house);
    let cache = house.at("cache").display().to_string();
    // With its preprocessor cache, which no server has, sccache calls its results otherwise.
    Sccache::new(&house, &[("SCCACHE_DIR", &cache), ("SCCACHE_DIRECT", "false")]).compile();
    Some(house)
}

#[track_caller]
fn assert_sccache_hits(house: &House, variables: &[(&str, &str)]) {
    let sccache = Sccache::new(house, variables);
    assert_eq!(sccache.compile(), (2, 0), "{variables:?}");
}

#[test]
fn sccache_finds_on_redis_what_was_in_a_directory() {
    let Some(redis) = Redis::start(&[]) else { return };
    let Some(house) = sccache_house() else { return };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let teams = format!("{url}|prefix=te*am/");
    // Prefixes keep two of them apart; what stands elsewhere is not shown.
    redis.ask(&["SET", "te_am/x", "y"]);
    round(&house, "cache", &teams, ("back", "sccache"), &[]);
    let variables =
        [("SCCACHE_REDIS_ENDPOINT", url.as_str()), ("SCCACHE_REDIS_KEY_PREFIX", "te*am")];
    assert_sccache_hits(&house, &variables);
    // It left its own mark by now, which is none of a stranger.
    let page = house.convert_all(&[&teams, "again", "--to", "sccache"]);
    assert_eq!((&page["strangers_count"], &page["passing"]), (&0.into(), &1.into()), "{page:#}");
}

#[test]
fn every_node_of_a_cluster_is_asked() {
    let Some(cluster) = Cluster::start() else { return };
    let house = House::new();
    let Some(made) = sccache_house() else { return };
    let wanted = bytes_of(&made.at("cache"));
    for (path, bytes) in &wanted {
        write(&house.at("cache").join(path), bytes);
        // The same bytes are as good under any other name.
        for digit in 0..16 {
            let leaf = format!("{digit:x}{}", &path.rsplit('/').next().unwrap()[1..]);
            let path = format!("{}/{}/{leaf}", &leaf[..1], &leaf[1..2]);
            write(&house.at("cache").join(path), bytes);
        }
    }
    round(&house, "cache", &cluster.url(), ("back", "sccache"), &[]);
    let counts: Vec<String> = cluster.nodes.iter().map(|node| node.ask(&["DBSIZE"])).collect();
    assert!(counts.iter().all(|count| count.trim() != "0"), "{counts:?}");
}

#[test]
fn sccache_finds_on_memcached_what_was_in_a_directory() {
    let Some(server) = Memcached::start(&[]) else { return };
    let Some(house) = sccache_house() else { return };
    let place = format!("127.0.0.1:{}", server.port);
    // As sccache writes a blank.
    let url = format!("memcached://{place}|prefix=our%2520team/");
    round(&house, "cache", &url, ("back", "sccache"), &[]);
    assert!(server.keys().iter().all(|key| key.starts_with("our%2520team/")));
    let endpoint = format!("tcp://{place}");
    let variables = [
        ("SCCACHE_MEMCACHED_ENDPOINT", endpoint.as_str()),
        ("SCCACHE_MEMCACHED_KEY_PREFIX", "our team"),
    ];
    assert_sccache_hits(&house, &variables);
}

#[test]
fn sccache_finds_in_a_bucket_what_was_in_a_directory() {
    let Some(s3) = S3::start() else { return };
    let Some(house) = sccache_house() else { return };
    round(&house, "cache", &s3.url("/team"), ("back", "sccache"), &[]);
    let endpoint = format!("http://127.0.0.1:{}", s3.port);
    let variables = [
        ("SCCACHE_BUCKET", "bucket"),
        ("SCCACHE_ENDPOINT", endpoint.as_str()),
        ("SCCACHE_REGION", "eu-west-1"),
        ("SCCACHE_S3_KEY_PREFIX", "team"),
        ("SCCACHE_S3_USE_SSL", "false"),
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    assert_sccache_hits(&house, &variables);
}

#[test]
fn sccache_finds_on_webdav_what_was_in_a_directory() {
    let Some(nginx) = Nginx::start() else { return };
    let Some(house) = sccache_house() else { return };
    if !Nginx::can_list() {
        return;
    }
    let url = format!("http://{}", nginx.place("listed/"));
    round(&house, "cache", &format!("{url}|prefix=team/"), ("back", "sccache"), &[]);
    let variables = [("SCCACHE_WEBDAV_ENDPOINT", &*url), ("SCCACHE_WEBDAV_KEY_PREFIX", "team")];
    assert_sccache_hits(&house, &variables);
}
