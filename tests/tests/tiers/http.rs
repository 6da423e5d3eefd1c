//! A tier of HTTP.

use std::thread;

use larder::tier::{TierErrorKind, Usage};

use super::servers::{Nginx, write_private};
use super::{body, check_all_calls, failure, key, open};

/// The method and status of a logged request.
fn brief(lines: &[String]) -> Vec<String> {
    let one = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {}", words[2], words[4])
    };
    lines.iter().map(one).collect()
}

/// The connections of logged requests, each once.
fn connections(lines: &[String]) -> Vec<&str> {
    let mut all: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn every_call_does_what_it_says() {
    let Some(nginx) = Nginx::start() else { return };
    check_all_calls(&*open(&format!("http://{}", nginx.place("dav/a/"))));
    let tier = open(&format!("http://{}|prefix=b/c-", nginx.place("dav")));
    check_all_calls(&*tier);
    assert_eq!(tier.usage(), Ok(Usage::default()));
    tier.put(&key(1), b"body").unwrap();
    let digits = key(1).to_string();
    let file = format!("www/dav/b/c-{}/{}", &digits[..2], &digits[2..]);
    assert_eq!(nginx.file(&file), "body");
}

#[test]
fn a_call_is_one_request_on_a_kept_connection() {
    let Some(nginx) = Nginx::start() else { return };
    let tier = open(&format!("http://{}", nginx.place("dav")));
    nginx.forget();
    for _ in 0..2 {
        tier.put(&key(1), &body(100_000)).unwrap();
        assert!(tier.get(&key(1)).unwrap().unwrap() == body(100_000));
        assert_eq!(tier.exists(&key(1)), Ok(true));
        assert_eq!(tier.remove(&key(1)), Ok(true));
        assert_eq!(tier.get(&key(1)), Ok(None));
        assert_eq!(tier.exists(&key(1)), Ok(false));
        assert_eq!(tier.remove(&key(1)), Ok(false));
    }
    let heard = nginx.heard();
    let round =
        ["PUT 201", "GET 200", "HEAD 200", "DELETE 204", "GET 404", "HEAD 404", "DELETE 404"];
    assert_eq!(brief(&heard), [round, round].concat());
    assert_eq!(connections(&heard).len(), 1, "{heard:#?}");
}

#[test]
fn missing_collections_are_made_once() {
    let Some(nginx) = Nginx::start() else { return };
    let tier = open(&format!("http://{}|prefix=a/b/", nginx.place("strict")));
    nginx.forget();
    tier.put(&key(1), b"body").unwrap();
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
    let heard = nginx.heard();
    let (briefly, first) = (brief(&heard), &heard[1]);
    assert_eq!(briefly[..2], ["PUT 500", "MKCOL 409"], "first the last one: {first}");
    assert!(briefly[2].starts_with("MKCOL"), "/strict/ is there: {}", briefly[2]);
    let made = ["MKCOL 201", "MKCOL 201", "MKCOL 201", "PUT 201", "GET 200"];
    assert_eq!(briefly[3..], made);
    // The same folder has room for another key, without further questions.
    nginx.forget();
    tier.put(&key(1), b"other").unwrap();
    assert_eq!(brief(&nginx.heard()), ["PUT 204"]);
    // In the next one only the last collection is missing.
    nginx.forget();
    let next = (2..).find(|n| key(*n).to_string()[..2] != key(1).to_string()[..2]).unwrap();
    tier.put(&key(next), b"body").unwrap();
    assert_eq!(brief(&nginx.heard()), ["PUT 500", "MKCOL 201", "PUT 201"]);
    check_all_calls(&*open(&format!("http://{}|prefix=all/", nginx.place("strict"))));
}

#[test]
fn credentials_are_shown_to_the_server_only() {
    let Some(nginx) = Nginx::start() else { return };
    let folder = larder_tests::temp_dir();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        write_private(&path, text);
        path.display().to_string()
    };
    let netrc = file("netrc", "machine 127.0.0.1 login me password hunter2\n");
    let secret = file("secret", "hunter2\n");
    let place = |path: &str| nginx.place(path);
    let good = [
        format!("http://me:hunter2@{}", place("locked")),
        format!("http://{}|username=me|password-file={secret}", place("locked")),
        format!("http://{}|netrc={netrc}", place("locked")),
        format!("http://{}|bearer-token=hunter2", place("bearer")),
        format!("http://{}|bearer-token-file={secret}", place("bearer")),
        format!("http://{}|header=X-Key: open sesame", place("header")),
    ];
    good.iter().for_each(|url| check_all_calls(&*open(url)));
    let wrong = [
        format!("http://{}", place("locked")),
        format!("http://me:hunter22@{}", place("locked")),
        format!("http://you:hunter2@{}", place("locked")),
        format!("http://{}|bearer-token=hunter22", place("bearer")),
        format!("http://{}", place("header")),
    ];
    for url in wrong {
        let tier = open(&url);
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied, "{url}");
        assert_eq!(failure(|| tier.exists(&key(1))), TierErrorKind::Denied, "{url}");
        assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Denied, "{url}");
        assert_eq!(failure(|| tier.remove(&key(1))), TierErrorKind::Denied, "{url}");
    }
    let reader = open(&format!("http://{}", place("readonly")));
    assert_eq!(reader.get(&key(1)), Ok(None));
    assert_eq!(failure(|| reader.put(&key(1), b"x")), TierErrorKind::Denied);
    assert_eq!(failure(|| reader.remove(&key(1))), TierErrorKind::Denied);
}

#[test]
fn redirects_are_followed_without_credentials() {
    let Some(nginx) = Nginx::start() else { return };
    open(&format!("http://{}", nginx.place("dav"))).put(&key(1), b"body").unwrap();
    let login = "|bearer-token=hunter2|header=X-Key:%20open%20sesame";
    for (path, credentials) in
        [("moved", "\"Bearer hunter2\" \"open sesame\""), ("away", "\"-\" \"-\"")]
    {
        let tier = open(&format!("http://{}{login}", nginx.place(path)));
        nginx.forget();
        assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())), "{path}");
        assert_eq!(tier.exists(&key(1)), Ok(true), "{path}");
        assert_eq!(tier.get(&key(2)), Ok(None), "{path}");
        let heard = nginx.heard();
        assert_eq!(heard.len(), 6, "{heard:#?}");
        for pair in heard.chunks(2) {
            assert!(pair[0].ends_with("\"Bearer hunter2\" \"open sesame\""), "{path}: {}", pair[0]);
            assert!(pair[1].ends_with(credentials), "{path}: {}", pair[1]);
        }
        let port = if path == "away" { nginx.other_port } else { nginx.port };
        assert!(heard[1].contains(&format!(" {port} GET /dav/")), "{}", heard[1]);
        assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Protocol, "not followed");
    }
    let tier = open(&format!("http://{}", nginx.place("loop")));
    nginx.forget();
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Protocol);
    assert_eq!(nginx.heard().len(), 4, "one and three redirects");
}

#[test]
fn tls_is_checked() {
    let Some((nginx, authority)) = Nginx::with_tls() else { return };
    let with = format!("|ca-file={}|connect-timeout=10000|timeout=10000", authority.display());
    let place = nginx.place("dav");
    check_all_calls(&*open(&format!("https://{place}{with}")));
    check_all_calls(&*open(&format!("https://{}{with}", place.replace("127.0.0.1", "localhost"))));
    let stranger = open(&format!("https://{place}|connect-timeout=10000|timeout=10000"));
    assert_eq!(failure(|| stranger.get(&key(1))), TierErrorKind::Protocol, "an unknown authority");
    let plain = open(&format!("http://{place}|timeout=10000"));
    assert!(failure(|| plain.get(&key(1))).is_of_the_tier(), "no TLS");
}

#[test]
fn limits_hold_both_ways() {
    let Some(nginx) = Nginx::start() else { return };
    let url = format!("http://{}|timeout=20000", nginx.place("dav"));
    let (large, small) = (open(&url), open(&format!("{url}|max-bytes=1000")));
    large.put(&key(1), &body(1001)).unwrap();
    small.put(&key(2), &body(1000)).unwrap();
    nginx.forget();
    assert_eq!(failure(|| small.put(&key(2), &body(1001))), TierErrorKind::TooLarge);
    assert_eq!(failure(|| small.get(&key(1))), TierErrorKind::TooLarge);
    assert!(small.get(&key(2)).unwrap().unwrap() == body(1000));
    assert_eq!(nginx.heard().len(), 2, "it was not sent");
    // The server has its own limits.
    nginx.forget();
    assert_eq!(failure(|| large.put(&key(3), &body(4_200_000))), TierErrorKind::Full);
    large.put(&key(3), &body(4_000_000)).unwrap();
    assert!(large.get(&key(3)).unwrap().unwrap() == body(4_000_000));
    assert_eq!(brief(&nginx.heard()), ["PUT 413", "PUT 201", "GET 200"]);
    let place = |path: &str| open(&format!("http://{}", nginx.place(path)));
    assert_eq!(failure(|| place("full").put(&key(1), b"x")), TierErrorKind::Full);
    assert_eq!(failure(|| place("busy").get(&key(1))), TierErrorKind::Unreachable);
}

#[test]
fn a_server_that_goes_or_stands_still_is_noticed() {
    let Some(mut nginx) = Nginx::start() else { return };
    let url = format!("http://{}|timeout=20000|connect-timeout=10000", nginx.place("dav"));
    let (tier, hasty) = (open(&url), open(&url.replace("timeout=20000", "timeout=300")));
    tier.put(&key(1), b"body").unwrap();
    assert_eq!(hasty.get(&key(1)), Ok(Some(b"body".to_vec())));
    nginx.process.as_ref().unwrap().pause();
    assert_eq!(failure(|| hasty.get(&key(1))), TierErrorKind::TimedOut, "kept");
    assert_eq!(failure(|| hasty.put(&key(1), &body(20_000_000))), TierErrorKind::TimedOut, "new");
    nginx.process.as_ref().unwrap().go_on();
    nginx.restart();
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())), "a kept connection was closed");
    nginx.process = None;
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Unreachable);
    nginx.restart();
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
}

#[test]
fn threads_share_connections() {
    let Some(nginx) = Nginx::start() else { return };
    let tier = open(&format!("http://{}|timeout=20000", nginx.place("dav")));
    nginx.forget();
    thread::scope(|scope| {
        for thread in 0..4 {
            let tier = &tier;
            scope.spawn(move || {
                for round in 0..10 {
                    let (key, text) = (key(thread * 100 + round), format!("{thread} {round}"));
                    tier.put(&key, text.as_bytes()).unwrap();
                    assert_eq!(tier.get(&key), Ok(Some(text.into_bytes())));
                }
            });
        }
    });
    let heard = nginx.heard();
    assert_eq!(heard.len(), 80);
    let count = connections(&heard).len();
    assert!(count <= 4, "{count} connections for four threads");
}
