//! A tier of S3: against a server that checks signatures, and against scripts.

use std::fs;

use larder::tier::{Tier, TierErrorKind, Usage};
use larder_tests::temp_dir;

use super::machine::{Machine, Sources};
use super::script::{Heard, Script, reply};
use super::servers::s3::{ID, S3, SECRET, profile};
use super::servers::write_private;
use super::{body, check_calls, failure, key, open};

/// A tier at a script, with keys of its own.
fn at(script: &Script, attributes: &str) -> (Box<dyn Tier>, larder_tests::TempDir) {
    let folder = temp_dir();
    let path = folder.path().join("credentials");
    write_private(&path, &profile("default", "ID1", SECRET));
    let (port, path) = (script.port, path.display());
    let url = format!("s3://bucket?endpoint=http://127.0.0.1:{port}|credentials-file={path}");
    (open(&format!("{url}|timeout=20000|connect-timeout=10000{attributes}")), folder)
}

fn error(status: &str, headers: &str, code: &str) -> Vec<u8> {
    let text = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
    reply(status, headers, &text)
}

fn methods(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(Heard::method).collect()
}

#[test]
fn every_call_does_what_it_says() {
    let Some(s3) = S3::start() else { return };
    check_calls(&*open(&s3.url("")));
    let tier = open(&format!("{}|prefix=b/c-", s3.url("/a/d")));
    check_calls(&*tier);
    assert_eq!(tier.usage(), Ok(Usage::default()));
    tier.put(&key(1), b"body").unwrap();
    let digits = key(1).to_string();
    let file = s3.file(&format!("a/d/b/c-{}/{}", &digits[..2], &digits[2..]));
    assert_eq!(fs::read(file).unwrap(), b"body");
}

/// Where the system's resolver knows names below `localhost`.
#[test]
fn a_bucket_can_be_a_part_of_the_name() {
    use std::net::ToSocketAddrs;
    let Some(s3) = S3::start() else { return };
    if ("bucket.localhost", s3.port).to_socket_addrs().is_err() {
        eprintln!("skipped: this machine does not know bucket.localhost");
        return;
    }
    let url = s3.url("/a").replace("127.0.0.1", "localhost");
    check_calls(&*open(&format!("{url}|host-style")));
}

#[test]
fn only_who_may_is_let_in() {
    let Some(s3) = S3::start() else { return };
    let more = [profile("wrong", ID, "hunter22"), profile("other", "AKIAOTHER", SECRET)].concat();
    let team = profile("team", ID, SECRET);
    let file = s3.credentials("more", &format!("{more}\n{team}"));
    let with = |more: &str| open(&format!("{}{more}", s3.place("")));
    check_calls(&*with(&format!("|credentials-file={file}|profile=team")));
    for login in [
        format!("|credentials-file={file}|profile=wrong"),
        format!("|credentials-file={file}|profile=other"),
        format!("|credentials-file={file}|profile=nobody"),
    ] {
        let tier = with(&login);
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied, "{login}");
        assert_eq!(failure(|| tier.exists(&key(1))), TierErrorKind::Denied, "{login}");
        assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Denied, "{login}");
        assert_eq!(failure(|| tier.remove(&key(1))), TierErrorKind::Denied, "{login}");
    }
    // To nobody S3 does not say what is missing.
    let nobody = with("|anonymous");
    assert_eq!(nobody.get(&key(1)), Ok(None));
    assert_eq!(nobody.exists(&key(1)), Ok(false));
    assert_eq!(failure(|| nobody.put(&key(1), b"x")), TierErrorKind::Denied);
    assert_eq!(failure(|| nobody.remove(&key(1))), TierErrorKind::Denied);
    let Some(open_to_all) = S3::without_keys() else { return };
    check_calls(&*open(&format!("{}|anonymous", open_to_all.place("/a"))));
    let parts = open(&format!("{}|anonymous|multipart-bytes=5Mi", open_to_all.place("/b")));
    parts.put(&key(1), &body(6_000_000)).unwrap();
    assert!(parts.get(&key(1)).unwrap().unwrap() == body(6_000_000));
}

#[test]
fn a_missing_bucket_is_no_miss() {
    let Some(s3) = S3::start() else { return };
    let tier = open(&s3.url("").replace("s3://bucket", "s3://other"));
    let told = tier.remove(&key(1)).unwrap_err();
    assert!(
        told.kind() == TierErrorKind::Unreachable && told.to_string().contains("no such bucket")
    );
    let script = Script::start(|_| error("404 Not Found", "", "NoSuchBucket"));
    let (tier, _folder) = at(&script, "");
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Unreachable);
    let script = Script::start(|_| error("404 Not Found", "", "NoSuchKey"));
    let (tier, _folder) = at(&script, "");
    assert_eq!(tier.get(&key(1)), Ok(None));
}

#[test]
fn large_bodies_go_in_parts() {
    let Some(s3) = S3::start() else { return };
    let tier = open(&format!("{}|multipart-bytes=5Mi", s3.url("")));
    for bytes in [5 << 20, (5 << 20) + 1, 12_345_678] {
        tier.put(&key(1), &body(bytes)).unwrap();
        assert!(tier.get(&key(1)).unwrap().unwrap() == body(bytes), "{bytes} bytes are others");
    }
}

/// Parts as a server of S3 takes them; `fails` may say otherwise.
fn uploads(fails: impl Fn(&Heard) -> Option<Vec<u8>> + Send + Sync + 'static) -> Script {
    Script::start(move |heard| {
        let last = &heard[heard.len() - 1];
        if let Some(said) = fails(last) {
            return said;
        }
        let root = |name: &str, inner: &str| {
            reply("200 OK", "", &format!("<{name} xmlns=\"x\">{inner}</{name}>"))
        };
        match (last.method(), last.query("uploadId")) {
            ("POST", None) => {
                root("InitiateMultipartUploadResult", "<UploadId>a&amp;b/c</UploadId>")
            }
            ("PUT", Some(_)) => {
                let number = last.query("partNumber").unwrap();
                reply("200 OK", &format!("ETag: \"tag{number}\"\r\n"), "")
            }
            ("POST", Some(_)) => root("CompleteMultipartUploadResult", "<ETag>x</ETag>"),
            _ => reply("204 No Content", "", ""),
        }
    })
}

#[test]
fn parts_are_told_once_what_the_object_is() {
    let script = uploads(|_| None);
    let attributes =
        "|multipart-bytes=5Mi|storage-class=STANDARD_IA|sse=aws:kms|sse-kms-key-id=k/1";
    let (tier, _folder) = at(&script, attributes);
    tier.put(&key(1), &body(11_000_000)).unwrap();
    let heard = script.heard();
    assert_eq!(methods(&heard), ["POST", "PUT", "PUT", "PUT", "POST"]);
    let sizes: Vec<usize> = heard[1..4].iter().map(|part| part.body.len()).collect();
    assert_eq!(sizes, [5 << 20, 5 << 20, 11_000_000 - (10 << 20)]);
    assert!(heard[1..].iter().all(|one| one.query("uploadId") == Some("a%26b%2Fc")), "{heard:?}");
    let end = String::from_utf8_lossy(&heard[4].body).into_owned();
    assert!(end.contains("<PartNumber>3</PartNumber><ETag>&quot;tag3&quot;</ETag>"), "{end}");
    // The same in one piece.
    tier.put(&key(1), &body(1000)).unwrap();
    for first in [&heard[0], &script.heard()[0]] {
        let signed = first.query("X-Amz-SignedHeaders").unwrap();
        for (name, value) in [
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k/1"),
        ] {
            assert_eq!(first.header(name), Some(value));
            assert!(signed.contains(name), "{signed}");
        }
    }
    assert!(heard[1..].iter().all(|one| one.header("x-amz-storage-class").is_none()));
}

#[test]
fn an_upload_that_fails_is_aborted() {
    let is_second = |heard: &Heard| heard.query("partNumber") == Some("2");
    let is_end = |heard: &Heard| heard.method() == "POST" && heard.query("uploadId").is_some();
    type Fails = Box<dyn Fn(&Heard) -> Option<Vec<u8>> + Send + Sync>;
    let cases: [(Fails, TierErrorKind, usize); 4] = [
        (
            Box::new(move |it| is_second(it).then(|| error("403 Forbidden", "", "AccessDenied"))),
            TierErrorKind::Denied,
            4,
        ),
        (
            // A part without its tag.
            Box::new(move |it| is_second(it).then(|| reply("200 OK", "", ""))),
            TierErrorKind::Protocol,
            4,
        ),
        (
            Box::new(move |it| is_end(it).then(|| error("200 OK", "", "InternalError"))),
            TierErrorKind::Unreachable,
            5,
        ),
        (
            Box::new(move |it| is_end(it).then(|| reply("200 OK", "", "<CompleteMultipart"))),
            TierErrorKind::Protocol,
            5,
        ),
    ];
    for (fails, expected, requests) in cases {
        let script = uploads(fails);
        let (tier, _folder) = at(&script, "|multipart-bytes=5Mi");
        assert_eq!(failure(|| tier.put(&key(1), &body(6_000_000))), expected);
        let heard = script.heard();
        assert_eq!(heard.len(), requests, "{:?}", methods(&heard));
        let last = &heard[heard.len() - 1];
        assert_eq!((last.method(), last.query("uploadId")), ("DELETE", Some("a%26b%2Fc")));
    }
    let script = Script::start(|_| reply("200 OK", "", "<UploadId></UploadId>"));
    let (tier, _folder) = at(&script, "|multipart-bytes=5Mi");
    assert_eq!(failure(|| tier.put(&key(1), &body(6_000_000))), TierErrorKind::Protocol);
    assert_eq!(script.heard().len(), 1, "there is nothing to abort");
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy = || error("503 Slow Down", "", "SlowDown");
    let script = Script::start(move |heard| match heard.len() {
        1 => busy(),
        2 => Vec::new(),
        _ => reply("200 OK", "", "body"),
    });
    let (tier, _folder) = at(&script, "");
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
    assert_eq!(script.heard().len(), 3);
    for (status, code) in
        [("500 Oh", "InternalError"), ("429 Many", "x"), ("502 Bad", ""), ("503 No", "SlowDown")]
    {
        let script = Script::start(move |_| error(status, "", code));
        let (tier, _folder) = at(&script, "");
        assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Unreachable);
        assert_eq!(script.heard().len(), 3, "{status}");
    }
    let script = Script::start(|_| error("400 Bad Request", "", "InvalidArgument"));
    let (tier, _folder) = at(&script, "");
    assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Protocol);
    assert_eq!(script.heard().len(), 1);
}

#[test]
fn the_time_of_the_server_is_taken_over() {
    // A Saturday far away: whoever is signed for another day is refused.
    const DATE: &str = "Date: Sat, 01 Jan 2022 10:00:30 GMT\r\n";
    let is_then = |heard: &Heard| heard.query("X-Amz-Date").unwrap().starts_with("20220101T10");
    let answer = move |heard: &[Heard]| match is_then(&heard[heard.len() - 1]) {
        true => reply("200 OK", DATE, ""),
        false => error("403 Forbidden", DATE, "RequestTimeTooSkewed"),
    };
    for is_head in [false, true] {
        let script = Script::start(answer);
        let (tier, _folder) = at(&script, "");
        for expected in [2, 1, 1] {
            match is_head {
                true => assert_eq!(tier.exists(&key(1)), Ok(true)),
                false => assert_eq!(tier.get(&key(1)), Ok(Some(Vec::new()))),
            }
            let heard = script.heard();
            assert_eq!(heard.len(), expected, "{heard:#?}");
            let scope = heard[expected - 1].query("X-Amz-Credential").unwrap();
            assert!(scope.starts_with("ID1%2F20220101%2Fus-east-1%2Fs3%2F"), "{scope}");
        }
    }
    // Once only, and only if the clocks differ.
    for (date, requests) in [(DATE, 2), ("", 1)] {
        let script = Script::start(move |_| error("403 Forbidden", date, "AccessDenied"));
        let (tier, _folder) = at(&script, "");
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied);
        assert_eq!(script.heard().len(), requests);
    }
}

#[test]
fn credentials_that_were_replaced_are_read_again() {
    let is_old = |heard: &Heard| heard.query("X-Amz-Credential").unwrap().starts_with("ID1%2F");
    let script = Script::start(move |heard| match is_old(&heard[heard.len() - 1]) {
        true => error("400 Bad Request", "", "ExpiredToken"),
        false => reply("200 OK", "", "body"),
    });
    let (tier, folder) = at(&script, "");
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Unreachable);
    assert_eq!(script.heard().len(), 1, "they are the same");
    let newer = profile("default", "ID2", SECRET) + "aws_session_token = open+sesame\n";
    write_private(&folder.path().join("credentials"), &newer);
    for expected in [2, 1] {
        assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
        let heard = script.heard();
        assert_eq!(heard.len(), expected);
        let last = &heard[expected - 1];
        assert_eq!(last.query("X-Amz-Security-Token"), Some("open%2Bsesame"));
    }
}

/// To who may read and not list, S3 says 403 of what is missing.
#[test]
fn a_refusal_is_a_miss_to_who_has_read() {
    let is_first = |heard: &Heard| heard.line.contains(&key(1).to_string()[2..]);
    let script = Script::start(move |heard| match is_first(&heard[heard.len() - 1]) {
        true => reply("200 OK", "", "body"),
        false => error("403 Forbidden", "", "AccessDenied"),
    });
    let (tier, _folder) = at(&script, "");
    assert_eq!(failure(|| tier.get(&key(2))), TierErrorKind::Denied);
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
    assert_eq!(tier.get(&key(2)), Ok(None));
    assert_eq!(failure(|| tier.put(&key(2), b"x")), TierErrorKind::Denied);
    let script = Script::start(move |heard| match is_first(&heard[heard.len() - 1]) {
        true => reply("200 OK", "", "body"),
        false => error("403 Forbidden", "", "SignatureDoesNotMatch"),
    });
    let (tier, _folder) = at(&script, "");
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
    assert_eq!(failure(|| tier.get(&key(2))), TierErrorKind::Denied);
}

#[test]
fn another_region_is_told() {
    let script = Script::start(|_| {
        let headers = "x-amz-bucket-region: ap-south-2\r\nLocation: http://127.0.0.1:1/\r\n";
        error("301 Moved Permanently", headers, "PermanentRedirect")
    });
    let (tier, _folder) = at(&script, "");
    let told = tier.get(&key(1)).unwrap_err();
    assert_eq!(told.kind(), TierErrorKind::Protocol);
    assert!(told.to_string().ends_with("the bucket is in another region, ap-south-2"), "{told}");
    assert_eq!(script.heard().len(), 1, "it is not followed");
}

#[test]
fn what_a_server_says_is_not_believed() {
    // Cut off, and never read.
    for (length, sent, expected) in
        [(1000, 500, TierErrorKind::Protocol), (1_000_001, 1, TierErrorKind::TooLarge)]
    {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}");
        let said = format!("{head}\r\n\r\n{}", "x".repeat(sent));
        let script = Script::start(move |_| said.clone().into_bytes());
        let (tier, _folder) = at(&script, "|max-bytes=1M");
        assert_eq!(failure(|| tier.get(&key(1))), expected);
        assert_eq!(script.heard().len(), 1);
    }
    let nested = "<Error><Code>".repeat(5000);
    for text in [
        "",
        "<Error><Code>hunter2 said</Code></Error>",
        "<Error><Code>&hunter2;</Code></Error>",
        "<Error><Code>AccessDenied",
        "<!DOCTYPE x [<!ENTITY a \"hunter2\">]><Error><Code>&a;</Code></Error>",
        "<Error><Message>hunter2</Message></Error>",
        nested.as_str(),
        &"x".repeat(100_000),
        "\u{0}<Error\u{0}><Code>\u{e9}</Code></Error>",
    ] {
        let said = reply("403 Forbidden", "", text);
        let script = Script::start(move |_| said.clone());
        let (tier, _folder) = at(&script, "");
        assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied, "{text:.40}");
        assert_eq!(failure(|| tier.put(&key(1), b"x")), TierErrorKind::Denied, "{text:.40}");
    }
}

/// A machine whose keys are those of the environment.
fn machine(tiers: &str, variables: &[(&str, &str)]) -> Machine {
    let mut machine = Machine::new(tiers);
    // Nobody here asks the metadata of a real instance.
    machine.set("AWS_EC2_METADATA_DISABLED", "true");
    variables.iter().for_each(|(name, value)| machine.set(name, value));
    machine
}

#[test]
fn machines_share_a_bucket() {
    let Some(s3) = S3::start() else { return };
    let sources = Sources::new();
    let place = s3.place("/team");
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let one = machine(&place, &keys);
    let made = one.compile(&sources, "a");
    assert_eq!(made.status, Some(0));
    one.flush();
    let two = machine(&place, &keys);
    assert_eq!(two.compile(&sources, "a"), made);
    assert_eq!(two.counts(), (1, 0), "{}", two.log());
    assert_eq!(two.of_tier(0, "hits"), 2);
    // Whoever has another key is not let in, and asks another agent.
    let mut three = machine(&place, &[keys[0], ("AWS_SECRET_ACCESS_KEY", "hunter22")]);
    assert_eq!(three.compile(&sources, "a").status, Some(0));
    assert_eq!(three.counts(), (0, 1), "{}", three.log());
    assert!(!three.log().contains("hunter2"), "{}", three.log());
    let first = three.agent();
    assert!(first.is_some());
    three.set("AWS_SECRET_ACCESS_KEY", SECRET);
    assert_eq!(three.agent(), None);
    three.set("AWS_SECRET_ACCESS_KEY", "hunter22");
    assert_eq!(three.agent(), first);
}

#[test]
fn the_machine_may_say_who_we_are() {
    let Some(s3) = S3::start() else { return };
    let sources = Sources::new();
    let json = format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{ID}\",\"SecretAccessKey\":\"{SECRET}\",\
         \"Token\":\"t\\/1\",\"Expiration\":\"2222-01-01T00:00:00Z\"}}"
    );
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    let role = format!("{roles}my-role");
    let script = Script::start(move |heard| {
        let last = &heard[heard.len() - 1];
        let has_token = last.header("x-aws-ec2-metadata-token") == Some("token-of-the-instance");
        let life = last.header("x-aws-ec2-metadata-token-ttl-seconds");
        match last.line.as_str() {
            "PUT /latest/api/token" if life.is_some() => {
                reply("200 OK", "", "token-of-the-instance")
            }
            line if line == roles && has_token => reply("200 OK", "", "my-role\n"),
            line if line == role && has_token => reply("200 OK", "", &json),
            "GET /keys" if last.header("authorization") == Some("open sesame") => {
                reply("200 OK", "", &json)
            }
            _ => reply("401 Unauthorized", "", ""),
        }
    });
    let place = format!("http://127.0.0.1:{}", script.port);
    let of_instance = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", place.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "false"),
    ];
    let url = format!("{place}/keys");
    let of_container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "open sesame"),
    ];
    for (path, variables, requests) in [("/i", of_instance, 3), ("/c", of_container, 1)] {
        let machine = machine(&s3.place(path), &variables);
        assert_eq!(machine.compile(&sources, "a").status, Some(0));
        machine.flush();
        assert!(machine.of_tier(0, "writes") >= 2, "{}", machine.log());
        // Calls at one time may each ask.
        let heard = script.heard();
        assert!(heard.len() >= requests, "{heard:#?}");
    }
}

#[test]
fn without_credentials_nothing_is_asked() {
    let script = Script::start(|_| reply("404 Not Found", "", ""));
    let place = format!("s3://bucket?endpoint=http://127.0.0.1:{}", script.port);
    let machine = machine(&place, &[]);
    let sources = Sources::new();
    assert_eq!(machine.compile(&sources, "a").status, Some(0));
    assert_eq!(machine.counts(), (0, 1));
    assert!(script.heard().is_empty());
}
