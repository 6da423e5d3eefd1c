//! A tier of one server of Redis.

use std::thread;

use larder::tier::{TierErrorKind, TierSettings, Usage};

use super::servers::{Redis, client_of, command_of, write_private};
use super::{body, check_all_calls, failure, key, open};

fn url(redis: &Redis) -> String {
    format!("redis://127.0.0.1:{}", redis.port)
}

/// The names of the commands, without those of redis-cli.
fn names(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| command_of(line)).collect()
}

#[test]
fn every_call_does_what_it_says() {
    let Some(redis) = Redis::start(&[]) else { return };
    check_all_calls(&*open(&url(&redis)));
    check_all_calls(&*open(&format!("redis+unix://{}?db=3", redis.socket().display())));
    check_all_calls(&*open(&format!(
        "{}/5|prefix=a%20b",
        url(&redis).replace("127.0.0.1", "localhost")
    )));
}

#[test]
fn a_call_is_one_command_on_a_kept_connection() {
    let Some(redis) = Redis::start(&[]) else { return };
    let tier = open(&format!("{}/2", url(&redis)));
    let monitor = redis.monitor();
    let (body, name) = (body(100_000), format!("larder:{}", key(1)));
    for _ in 0..2 {
        tier.put(&key(1), &body).unwrap();
        assert!(tier.get(&key(1)).unwrap().unwrap() == body);
        assert_eq!(tier.exists(&key(1)), Ok(true));
        assert_eq!(tier.remove(&key(1)), Ok(true));
        assert_eq!(tier.get(&key(1)), Ok(None));
    }
    let heard = redis.heard(&monitor);
    let round = ["SET", "GET", "EXISTS", "DEL", "GET"];
    let expected: Vec<&str> = ["SELECT"].into_iter().chain(round).chain(round).collect();
    assert_eq!(names(&heard), expected);
    assert!(heard[1..].iter().all(|line| line.contains(&name)), "the key has its prefix");
    let client = client_of(&heard[1]);
    assert!(client.starts_with("2 "), "the database of the URL: {client}");
    assert!(heard[1..].iter().all(|line| client_of(line) == client), "one connection");
}

#[test]
fn a_put_sets_when_it_expires() {
    let Some(redis) = Redis::start(&[]) else { return };
    let monitor = redis.monitor();
    let (tier, name) =
        (open(&format!("{}|expire=1000", url(&redis))), format!("larder:{}", key(1)));
    tier.put(&key(1), b"body").unwrap();
    let heard = redis.heard(&monitor);
    assert_eq!(names(&heard), ["SET"]);
    assert!(heard[0].ends_with("\"body\" \"EX\" \"1000\""), "{}", heard[0]);
    let left: u32 = redis.ask(&["TTL", &name]).trim().parse().unwrap();
    assert!((900..=1000).contains(&left), "{left}");
    open(&url(&redis)).put(&key(1), b"body").unwrap();
    assert_eq!(redis.ask(&["TTL", &name]).trim(), "-1", "without it, never");
}

#[test]
fn credentials_are_shown_to_the_server_only() {
    let Some(redis) = Redis::with_password("hunter2", &[]) else { return };
    let user = ["ACL", "SETUSER", "reader", "on", ">open sesame", "~larder:*", "+get", "+exists"];
    assert_eq!(redis.ask(&user).trim(), "OK");
    let place = format!("127.0.0.1:{}", redis.port);
    let full = open(&format!("redis://:hunter2@{place}"));
    check_all_calls(&*full);

    let file = tempfile_with("hunter2\n");
    check_all_calls(&*open(&format!("redis://{place}|password-file={}", file.1)));
    full.put(&key(1), b"body").unwrap();

    let reader = open(&format!("redis://reader:open%20sesame@{place}"));
    assert_eq!(reader.get(&key(1)), Ok(Some(b"body".to_vec())));
    assert_eq!(reader.exists(&key(1)), Ok(true));
    assert_eq!(failure(|| reader.put(&key(1), b"other")), TierErrorKind::Denied);
    assert_eq!(failure(|| reader.remove(&key(1))), TierErrorKind::Denied);
    assert_eq!(reader.usage(), Ok(Usage::default()), "what is forbidden is unknown");
    assert_eq!(full.get(&key(1)), Ok(Some(b"body".to_vec())));

    let wrong =
        ["redis://PLACE", "redis://:hunter22@PLACE", "redis://PLACE|username=u|password=hunter2"];
    for url in wrong {
        let tier = open(&url.replace("PLACE", &place));
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied, "{url}");
        assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Denied, "{url}");
    }
}

fn tempfile_with(text: &str) -> (larder_tests::TempDir, String) {
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("secret");
    write_private(&path, text);
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn tls_is_checked() {
    let Some((redis, authority)) = Redis::with_tls() else { return };
    let url = |host: &str| format!("rediss://{host}:{}", redis.port);
    let with = format!("|ca-file={}|connect-timeout=10000|timeout=10000", authority.display());
    let tier = open(&format!("{}{with}", url("localhost")));
    check_all_calls(&*tier);
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    check_all_calls(&*tier);
    check_all_calls(&*open(&format!("{}{with}", url("127.0.0.1"))));
    let stranger = open(&format!("{}|connect-timeout=10000", url("localhost")));
    assert_eq!(failure(|| stranger.get(&key(1))), TierErrorKind::Protocol, "an unknown authority");
    let other = open(&format!("{}{with}", url("127.0.0.2")));
    assert!(failure(|| other.get(&key(1))).is_of_the_tier(), "another name");
    let plain = open(&format!("redis://127.0.0.1:{}|timeout=1000", redis.port));
    assert!(failure(|| plain.get(&key(1))).is_of_the_tier(), "no TLS");

    let missing = TierSettings::parse("rediss://localhost|ca-file=/no/such/file").unwrap();
    assert_eq!(missing.open().err().unwrap().kind(), TierErrorKind::Denied);
}

#[test]
fn threads_share_connections() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (tier, monitor) = (open(&format!("{}|timeout=20000", url(&redis))), redis.monitor());
    thread::scope(|scope| {
        for thread in 0..8 {
            let tier = &tier;
            scope.spawn(move || {
                for round in 0..20 {
                    let key = key(thread * 100 + round);
                    tier.put(&key, format!("{thread} {round}").as_bytes()).unwrap();
                    let body = tier.get(&key).unwrap().unwrap();
                    assert_eq!(body, format!("{thread} {round}").into_bytes());
                }
            });
        }
    });
    let heard = redis.heard(&monitor);
    assert_eq!(heard.len(), 8 * 20 * 2);
    let mut clients: Vec<&str> = heard.iter().map(|line| client_of(line)).collect();
    clients.sort_unstable();
    clients.dedup();
    assert!(clients.len() <= 8, "{} connections for eight threads", clients.len());
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let tier = open(&format!("{}|timeout=20000|connect-timeout=10000", url(&redis)));
    // Two are kept.
    thread::scope(|scope| {
        for number in 0..2 {
            let tier = &tier;
            scope.spawn(move || tier.put(&key(number), &body(300_000)).unwrap());
        }
    });
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    let monitor = redis.monitor();
    assert!(tier.get(&key(1)).unwrap().unwrap() == body(300_000));
    assert_eq!(tier.exists(&key(0)), Ok(true));
    let heard = redis.heard(&monitor);
    assert_eq!(names(&heard), ["GET", "EXISTS"]);
    assert_eq!(client_of(&heard[0]), client_of(&heard[1]), "the other dead one was dropped, too");

    redis.restart();
    assert_eq!(tier.get(&key(1)), Ok(None), "a new server has nothing");
    tier.put(&key(1), b"again").unwrap();
    redis.process = None;
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Unreachable);
    redis.restart();
    tier.put(&key(1), b"again").unwrap();
}

#[test]
fn limits_hold_both_ways() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (large, small) = (open(&url(&redis)), open(&format!("{}|max-bytes=1000", url(&redis))));
    large.put(&key(1), &body(1_000_001)).unwrap();
    small.put(&key(2), &body(1000)).unwrap();
    let monitor = redis.monitor();
    assert_eq!(failure(|| small.put(&key(2), &body(1001))), TierErrorKind::TooLarge);
    assert_eq!(failure(|| small.get(&key(1))), TierErrorKind::TooLarge);
    assert!(small.get(&key(2)).unwrap().unwrap() == body(1000), "the next call is not harmed");
    assert_eq!(names(&redis.heard(&monitor)), ["GET", "GET"], "it was not sent");
}

#[test]
fn a_full_server_says_so() {
    let Some(redis) = Redis::start(&["--maxmemory", "3mb"]) else { return };
    let tier = open(&url(&redis));
    let usage = tier.usage().unwrap();
    assert_eq!(usage.bytes_max, Some(3 << 20));
    assert!(usage.used_bytes.unwrap() > 100_000);
    tier.put(&key(1), b"first").unwrap();
    let full = (2..40).find_map(|number| tier.put(&key(number), &body(500_000)).err()).unwrap();
    assert_eq!(full.kind(), TierErrorKind::Full);
    assert!(!full.is_of_the_tier());
    assert_eq!(tier.get(&key(1)), Ok(Some(b"first".to_vec())), "reading goes on");
    assert!(tier.usage().unwrap().used_bytes > usage.used_bytes);
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(tier.usage().unwrap().bytes_max, None);
}

#[test]
fn a_server_that_stands_still_times_out() {
    let Some(redis) = Redis::start(&[]) else { return };
    let urls = [url(&redis), format!("redis+unix://{}", redis.socket().display())];
    let tiers = urls.clone().map(|url| open(&format!("{url}|timeout=300")));
    tiers.iter().for_each(|tier| tier.put(&key(1), b"body").unwrap());
    redis.process().pause();
    for tier in &tiers {
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::TimedOut, "kept");
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::TimedOut, "new");
        assert_eq!(failure(|| tier.put(&key(1), &body(30_000_000))), TierErrorKind::TimedOut);
    }
    redis.process().go_on();
    let patient = open(&format!("{}|timeout=20000", urls[0]));
    assert_eq!(patient.get(&key(1)), Ok(Some(b"body".to_vec())));
}

#[test]
fn what_is_no_string_is_a_miss() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (tier, name) = (open(&url(&redis)), format!("larder:{}", key(1)));
    assert_eq!(redis.ask(&["LPUSH", &name, "x"]).trim(), "1");
    assert_eq!(tier.get(&key(1)), Ok(None));
    tier.put(&key(1), b"body").unwrap();
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
}
