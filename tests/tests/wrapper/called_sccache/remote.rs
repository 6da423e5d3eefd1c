//! Redis, memcached, S3 and the chain of a larder that is called `sccache`.

use super::*;
use crate::tiers::servers::s3::{ID, S3, SECRET};
use crate::tiers::servers::{Memcached, Redis};

fn run(house: &House, cache: &str, words: &[&str], variables: &[(&str, &str)]) -> Output {
    fs::create_dir_all(house.at("run")).unwrap();
    let mut command = house.command(&house.sccache());
    command.env("SCCACHE_DIR", house.at(cache)).env("XDG_RUNTIME_DIR", house.at("run"));
    command.env("LARDER_AGENT_IDLE_SECS", "1").envs(variables.iter().copied()).args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

#[test]
fn a_chain_with_redis_answers_an_empty_cache_and_its_levels_are_told() {
    let Some(redis) = Redis::start(&[]) else { return };
    let house = House::new();
    let endpoint = format!("redis://127.0.0.1:{}", redis.port);
    let variables = [
        ("SCCACHE_REDIS_ENDPOINT", endpoint.as_str()),
        ("SCCACHE_REDIS_KEY_PREFIX", "team"),
        ("SCCACHE_MULTILEVEL_CHAIN", "disk,redis"),
    ];
    let compile = ["gcc", "-c", "a.c"];
    run(&house, "one", &compile, &variables);
    let compiled = fs::read(house.at("work/a.o")).unwrap();
    // It is written behind; who stops the server waits for that.
    run(&house, "one", &["--stop-server"], &variables);
    let read_only = [&variables[..], &[("SCCACHE_REDIS_RW_MODE", "READ_ONLY")]].concat();
    let stats = ["--show-stats", "--stats-format=json"];
    let cache = "two";
    fs::remove_file(house.at("work/a.o")).unwrap();
    run(&house, cache, &compile, &read_only);
    assert_eq!(fs::read(house.at("work/a.o")).unwrap(), compiled);
    let said = run(&house, cache, &stats, &read_only);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(json["stats"]["cache_hits"]["counts"]["C/C++"], 1, "{json}");
    let levels = json["stats"]["multi_level"].as_array().unwrap();
    let [disk, far] = &levels[..] else { panic!("{levels:?}") };
    assert_eq!((&disk["name"], &far["name"]), (&"L0 (disk)".into(), &"L1 (redis)".into()));
    assert_eq!(far["location"], format!("{endpoint}/0"));
    assert_eq!((&disk["hits"], &disk["misses"]), (&0.into(), &1.into()));
    assert!(far["hits"].as_u64().unwrap() > 0 && far["backfills_from"] == far["hits"], "{far}");
    assert_eq!((&far["writes"], &far["write_failures"]), (&0.into(), &0.into()));
    let said = run(&house, cache, &["--show-stats"], &read_only);
    let said = text(&said.stdout);
    assert!(
        said.contains("  L1 (redis) hits ") && said.contains("Multi-level (2 levels)"),
        "{said}"
    );
    let keys = redis.ask(&["KEYS", "*"]);
    assert!(!keys.trim().is_empty() && keys.lines().all(|key| key.starts_with("team/larder:")));
    // Without a chain there are no levels to tell of.
    let said = run(&house, cache, &stats, &variables[..1]);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(json["stats"]["multi_level"].is_null());
    run(&house, cache, &["--stop-server"], &read_only);
}

#[test]
fn memcached_answers_an_empty_cache() {
    let Some(server) = Memcached::start(&[]) else { return };
    let house = House::new();
    let endpoint = format!("tcp://127.0.0.1:{}", server.port);
    let variables = [
        ("SCCACHE_MEMCACHED_ENDPOINT", endpoint.as_str()),
        ("SCCACHE_MEMCACHED_KEY_PREFIX", "team"),
    ];
    let compile = ["gcc", "-c", "a.c"];
    run(&house, "one", &compile, &variables);
    let compiled = fs::read(house.at("work/a.o")).unwrap();
    run(&house, "one", &["--stop-server"], &variables);
    fs::remove_file(house.at("work/a.o")).unwrap();
    run(&house, "two", &compile, &variables);
    assert_eq!(fs::read(house.at("work/a.o")).unwrap(), compiled);
    let said = run(&house, "two", &["--show-stats", "--stats-format=json"], &variables);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(json["stats"]["cache_hits"]["counts"]["C/C++"], 1, "{json}");
    let keys = server.keys();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("team/larder:")), "{keys:?}");
    // As sccache does, unless it is told otherwise.
    let left = server.ask(&format!("mg {} t", keys[0]));
    assert!(left.starts_with("HD t86"), "{left}");
    run(&house, "two", &["--stop-server"], &variables);
}

#[test]
fn a_bucket_answers_an_empty_cache() {
    let Some(s3) = S3::start() else { return };
    let house = House::new();
    let endpoint = format!("127.0.0.1:{}", s3.port);
    let variables = [
        ("SCCACHE_BUCKET", "bucket"),
        ("SCCACHE_ENDPOINT", endpoint.as_str()),
        ("SCCACHE_REGION", "auto"),
        ("SCCACHE_S3_KEY_PREFIX", "team"),
        ("SCCACHE_MULTILEVEL_CHAIN", "disk,s3"),
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    let compile = ["gcc", "-c", "a.c"];
    run(&house, "one", &compile, &variables);
    let compiled = fs::read(house.at("work/a.o")).unwrap();
    run(&house, "one", &["--stop-server"], &variables);
    assert!(s3.file("team/larder").is_dir());
    fs::remove_file(house.at("work/a.o")).unwrap();
    run(&house, "two", &compile, &variables);
    assert_eq!(fs::read(house.at("work/a.o")).unwrap(), compiled);
    let said = run(&house, "two", &["--show-stats", "--stats-format=json"], &variables);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(json["stats"]["cache_hits"]["counts"]["C/C++"], 1, "{json}");
    let far = &json["stats"]["multi_level"][1];
    assert_eq!(far["name"], "L1 (s3)");
    assert_eq!(far["location"], format!("s3://bucket?region=auto&endpoint=http://{endpoint}"));
    run(&house, "two", &["--stop-server"], &variables);
}
