//! The parts of a client of S3 that no server shows: who we are, where buckets are, and for how
//! long something is tried again.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use super::super::TierErrorKind;
use super::credentials::Known;
use super::*;

fn settings(text: &str, variables: &[(&str, &str)]) -> TierSettings {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
    TierSettings::parse_in(text, |name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
}

/// The client for a text in an environment without metadata.
fn client(text: &str, variables: &[(&str, &str)]) -> Result<S3Tier, TierError> {
    let variables = [&[("AWS_EC2_METADATA_DISABLED", "true")], variables].concat();
    S3Tier::new(&settings(text, &variables))
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Key, secret and token.
fn keys(text: &str, variables: &[(&str, &str)]) -> Result<[String; 3], TierErrorKind> {
    let client = client(text, variables).map_err(|error| error.kind())?;
    let found = client.keyring.credentials(deadline()).map_err(|error| error.kind())?;
    let found = found.expect("it is somebody");
    Ok([found.id.clone(), found.secret.clone(), found.token.clone().unwrap_or_default()])
}

const VARIABLES: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "I"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_SESSION_TOKEN", "T")];

#[test]
fn variables_go_before_files_and_attributes_before_both() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let text = "[default]\naws_access_key_id=D\naws_secret_access_key=SD\n\
                [team]\naws_access_key_id=M\naws_secret_access_key=SM\n[none]\nx=y\n";
    let file = home.path().join(".aws/credentials");
    fs::write(&file, text).unwrap();
    let home = [("HOME", home.path().to_str().unwrap())];
    let with = |more: &[(&'static str, &'static str)]| [&home[..], more].concat();
    let all = |id: &str, secret: &str, token: &str| Ok([id, secret, token].map(str::to_owned));
    assert_eq!(keys("s3://abc", &VARIABLES), all("I", "S", "T"));
    assert_eq!(keys("s3://abc", &with(&VARIABLES)), all("I", "S", "T"));
    assert_eq!(keys("s3://abc", &home), all("D", "SD", ""));
    assert_eq!(keys("s3://abc", &with(&[("AWS_PROFILE", "team")])), all("M", "SM", ""));
    assert_eq!(keys("s3://abc|profile=team", &with(&VARIABLES)), all("M", "SM", ""));
    let own = format!("s3://abc|credentials-file={}", file.display());
    assert_eq!(keys(&own, &VARIABLES), all("D", "SD", ""));
    let tilde = with(&[("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")]);
    assert_eq!(keys("s3://abc", &tilde), all("D", "SD", ""));
    for (text, variables) in [
        ("s3://abc", &VARIABLES[..1]),
        ("s3://abc", &[]),
        ("s3://abc", &with(&[("AWS_PROFILE", "none")])),
        ("s3://abc|profile=other", &with(&VARIABLES)),
        ("s3://abc|credentials-file=/no/such/file", &VARIABLES),
        ("s3://abc", &[("AWS_SHARED_CREDENTIALS_FILE", "relative")]),
        ("s3://abc", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://elsewhere/x")]),
        ("s3://abc", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "file:///x")]),
    ] {
        assert_eq!(keys(text, variables), Err(TierErrorKind::Denied), "{text} {variables:?}");
    }
    let nobody = client("s3://abc|anonymous", &VARIABLES).unwrap();
    assert!(nobody.keyring.credentials(deadline()).unwrap().is_none());
}

#[test]
fn credentials_are_asked_for_again_before_their_end() {
    let known = |minutes: i64, asked_secs: u64| {
        let expires = Timestamp::now() + SignedDuration::from_mins(minutes);
        let (id, secret) = ("I".to_owned(), "S".to_owned());
        let credentials = Credentials { id, secret, token: None, expires: Some(expires) };
        let asked = Instant::now().checked_sub(Duration::from_secs(asked_secs)).unwrap();
        let known = Known { credentials: Arc::new(credentials), asked };
        known.good().map(|(_, is_enough)| is_enough)
    };
    assert_eq!(known(60, 60), Some(true));
    assert_eq!(known(4, 60), Some(false));
    assert_eq!(known(4, 1), Some(true), "they were just asked for");
    assert_eq!(known(-1, 1), None);
}

#[test]
fn buckets_are_where_their_style_says() {
    let url = |text: &str, variables: &[(&str, &str)]| {
        let client = client(text, &[&VARIABLES[..2], variables].concat()).unwrap();
        let url = client.url(&Order::of(Method::GET, "a/b"), None, Timestamp::now());
        (url, client.bucket.region().to_owned())
    };
    let of = |url: &str, region: &str| (url.to_owned(), region.to_owned());
    let aws = "https://my-bucket.s3.us-east-1.amazonaws.com/a/b";
    assert_eq!(url("s3://my-bucket", &[]), of(aws, "us-east-1"));
    let path = "https://s3.us-east-1.amazonaws.com/my.bucket/a/b";
    assert_eq!(url("s3://my.bucket", &[]), of(path, "us-east-1"));
    let china = "https://abc.s3.cn-north-1.amazonaws.com.cn/a/b";
    assert_eq!(url("s3://abc?region=cn-north-1", &[]), of(china, "cn-north-1"));
    let region = [("AWS_DEFAULT_REGION", "eu-west-2")];
    let west = "https://s3.eu-west-2.amazonaws.com/abc/a/b";
    assert_eq!(url("s3://abc|path-style", &region), of(west, "eu-west-2"));
    let own = "s3://abc?endpoint=http://host:9000/s3";
    assert_eq!(url(own, &region), of("http://host:9000/s3/abc/a/b", "eu-west-2"));
    let host = "http://abc.host:9000/s3/a/b";
    assert_eq!(url(&format!("{own}|host-style"), &region), of(host, "eu-west-2"));
    let wrong = client("s3://abc?endpoint=http://127.0.0.1|host-style", &VARIABLES);
    assert_eq!(wrong.err().map(|error| error.kind()), Some(TierErrorKind::Denied));
    let wrong = client("s3://abc", &[("AWS_REGION", "a.b/c")]);
    assert_eq!(wrong.err().map(|error| error.kind()), Some(TierErrorKind::Denied));
}

#[test]
fn a_signature_is_of_its_time_and_headers() {
    let client = client("s3://abc|storage-class=X", &VARIABLES).unwrap();
    let order = Order { headers: &client.headers, ..Order::of(Method::PUT, "a/b") };
    let somebody = client.keyring.credentials(deadline()).unwrap();
    let at =
        |secs: i64| client.url(&order, somebody.as_deref(), Timestamp::from_second(secs).unwrap());
    let url = at(1_369_353_600);
    for part in [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=I%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
        "X-Amz-Date=20130524T000000Z",
        "X-Amz-Expires=900",
        "X-Amz-Security-Token=T",
        "X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-storage-class",
    ] {
        assert!(url.contains(part), "{part}: {url}");
    }
    assert_ne!(url, at(1_369_353_601));
}

#[test]
fn another_try_ends_with_the_time_and_the_number() {
    let mut tries = 1;
    while back_off(&mut tries, deadline()) {}
    assert_eq!(tries, TRIES_MAX);
    let over = Deadline::after(Duration::ZERO);
    assert!(!back_off(&mut 1, over), "there is no time left");
}

#[test]
fn only_a_word_of_an_error_is_repeated() {
    let code = |text: &str| code_of(&format!("<Error><Code>{text}</Code></Error>"));
    assert_eq!(code("SlowDown"), "SlowDown");
    let long = "x".repeat(CODE_BYTES_MAX + 1);
    for text in ["", "two words", "&x;", "a<b>", "\u{e9}", long.as_str()] {
        assert_eq!(code(text), "", "{text}");
    }
    assert_eq!(code_of("<Code>SlowDown</Code>"), "");
}
