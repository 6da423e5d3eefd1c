//! Tiers of S3 as they are written: URLs, attributes, and what the environment adds.

use crate::tier::TierSettings;
use crate::tier::address::s3::Endpoint;
use crate::tier::address::{Address, Node};

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<TierSettings, String> {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
    TierSettings::parse_in(text, |name| value(name).map(|(_, value)| (*value).to_owned()))
}

fn parsed(text: &str, variables: &[(&str, &str)]) -> TierSettings {
    parse(text, variables).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match parse(text, &[]) {
        Ok(settings) => panic!("{text} is {settings:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_url_has_a_bucket_and_perhaps_a_path_region_and_endpoint() {
    let settings = parsed("s3://my-bucket", &[]);
    let (bucket, path) = ("my-bucket".to_owned(), String::new());
    assert_eq!(settings.address, Address::S3 { bucket, path, region: None, endpoint: None });
    assert_eq!((settings.prefix.as_str(), settings.display().as_str()), {
        ("larder/", "s3://my-bucket")
    });
    let url = "s3://b.c_d/team/x/?region=eu-west-1&endpoint=http://h:9000/s3/";
    let settings = parsed(url, &[]);
    let node = Node { host: "h".to_owned(), port: 9000 };
    let endpoint = Endpoint { node, is_tls: false, path: "/s3".to_owned() };
    let expected = Address::S3 {
        bucket: "b.c_d".to_owned(),
        path: "team/x".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(endpoint),
    };
    assert_eq!(settings.address, expected);
    assert_eq!(settings.display(), {
        "s3://b.c_d/team/x?region=eu-west-1&endpoint=http://h:9000/s3"
    });
    for (endpoint, shown) in [
        ("h", "https://h"),
        ("https%3A%2F%2Fh:443", "https://h"),
        ("http://[::1]:80", "http://[::1]"),
    ] {
        let settings = parsed(&format!("s3://abc?endpoint={endpoint}"), &[]);
        assert_eq!(settings.display(), format!("s3://abc?endpoint={shown}"));
        assert_eq!(settings.address.is_tls(), shown.starts_with("https"));
    }
}

#[test]
fn attributes_are_those_of_a_bucket() {
    let settings = parsed(
        "s3://abc|host-style|profile=me|credentials-file=/c|storage-class=STANDARD_IA|sse=aws:kms\
         |sse-kms-key-id=arn:aws:kms:x:1:key/2|multipart-bytes=8Mi|read-only|prefix=p/\
         |max-bytes=1G",
        &[],
    );
    let s3 = settings.s3.as_ref().unwrap();
    assert_eq!((s3.is_path_style, s3.is_anonymous, s3.part_bytes), (Some(false), false, 8 << 20));
    assert_eq!((s3.profile.as_deref(), s3.credentials_file.as_deref()), {
        (Some("me"), Some("/c".as_ref()))
    });
    assert_eq!(s3.storage_class.as_deref(), Some("STANDARD_IA"));
    assert_eq!(s3.encryption_key.as_deref(), Some("arn:aws:kms:x:1:key/2"));
    assert!(
        settings.is_read_only() && settings.prefix == "p/" && settings.bytes_max == 1_000_000_000
    );
    let settings = parsed("s3://abc|anonymous|path-style", &[]);
    let s3 = settings.s3.unwrap();
    assert_eq!((s3.is_path_style, s3.is_anonymous, s3.part_bytes), (Some(true), true, 16 << 20));
}

/// What is written, and a part of what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    ("s3://", "its bucket is none"),
    ("s3://ab", "its bucket is none"),
    ("s3://-abc", "its bucket is none"),
    ("s3://a..b", "its bucket is none"),
    ("s3://abc:9000/x", "its bucket is none"),
    ("s3://AKIA:hunter2@abc", "AWS_ACCESS_KEY_ID"),
    ("s3://abc/a b", "no blanks"),
    ("s3://abc/../x", "its path has more"),
    ("s3://abc/a//b", "its path has more"),
    ("s3://abc/a%20b", "its path has more"),
    ("s3://abc#x", "? and # have no meaning"),
    ("s3://abc?region=", "its region is none"),
    ("s3://abc?region=a.b", "its region is none"),
    ("s3://abc?region=a&region=b", "region= stands twice"),
    ("s3://abc?secret=hunter2", "only region= and endpoint= may follow"),
    ("s3://abc?endpoint=ftp://h", "an endpoint is https://HOST:PORT"),
    ("s3://abc?endpoint=http://u:hunter2@h", "no user and no password"),
    ("s3://abc?endpoint=http://", "its host is none"),
    ("s3://abc?endpoint=http://h:x", "its port is no number"),
    ("s3://abc?endpoint=http://h/..", "its path has more"),
    ("s3://abc|username=hunter2", "\"username\" is no attribute of s3://; these are: read-only"),
    ("redis://h|anonymous", "\"anonymous\" is no attribute of redis://"),
    ("s3://abc|path-style|host-style", "\"host-style\" is a second style"),
    ("s3://abc|anonymous=1", "\"anonymous\" takes no value"),
    ("s3://abc|anonymous|profile=x", "\"anonymous\" needs no credentials"),
    ("s3://abc|profile=a b", "\"profile\" is none"),
    ("s3://abc|credentials-file=x", "\"credentials-file\" is no absolute path"),
    ("s3://abc|storage-class=standard", "\"storage-class\" is none"),
    ("s3://abc|sse=hunter2", "\"sse\" is none of AES256, aws:kms, aws:kms:dsse"),
    ("s3://abc|sse=AES256|sse-kms-key-id=x", "\"sse-kms-key-id\" is for sse=aws:kms"),
    ("s3://abc|multipart-bytes=4Mi", "\"multipart-bytes\" is no size from 5Mi to 5Gi"),
    ("s3://abc?endpoint=http://h|ca-file=/c", "\"ca-file\" is for rediss://"),
    ("s3://abc|prefix=../x", "\"prefix\" has what is no part of a relative path"),
];

#[test]
fn every_mistake_is_named() {
    for (text, expected) in MISTAKES {
        let error = error(text);
        assert!(error.contains(expected) && !error.contains("hunter"), "{text}: {error}");
    }
}

#[test]
fn an_endpoint_of_the_environment_counts_where_the_url_has_none() {
    let all = [("AWS_ENDPOINT_URL", "http://all:1"), ("AWS_ENDPOINT_URL_S3", "http://s3:2")];
    assert_eq!(parsed("s3://abc", &all).display(), "s3://abc?endpoint=http://s3:2");
    assert_eq!(parsed("s3://abc", &all[..1]).display(), "s3://abc?endpoint=http://all:1");
    let own = parsed("s3://abc?endpoint=http://own", &all);
    assert_eq!(own.display(), "s3://abc?endpoint=http://own");
    let wrong = parse("s3://abc", &[("AWS_ENDPOINT_URL_S3", "http://u:hunter2@h")]).unwrap_err();
    assert!(wrong.starts_with("AWS_ENDPOINT_URL_S3: ") && !wrong.contains("hunter2"), "{wrong}");
    assert_eq!(parsed("redis://h", &all).display(), "redis://h:6379/0");
}

/// Nobody is answered by an agent that has other rights.
#[test]
fn an_identity_is_also_of_the_environment() {
    let texts = [
        "s3://abc",
        "s3://abc/x",
        "s3://abc?region=x",
        "s3://abc?endpoint=h",
        "s3://abc|path-style",
        "s3://abc|host-style",
        "s3://abc|anonymous",
        "s3://abc|profile=x",
        "s3://abc|credentials-file=/x",
        "s3://abc|storage-class=X",
        "s3://abc|sse=AES256",
        "s3://abc|sse=aws:kms",
        "s3://abc|sse=aws:kms|sse-kms-key-id=x",
        "s3://abc|multipart-bytes=5Mi",
    ];
    let mut identities: Vec<_> = texts.iter().map(|text| parsed(text, &[]).identity()).collect();
    for name in super::VARIABLES {
        for value in ["http://h", "http://i"] {
            identities.push(parsed("s3://abc?endpoint=j", &[(*name, value)]).identity());
        }
    }
    let count = identities.len();
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), count);
    let unset = parsed("s3://abc", &[("AWS_PROFILE", "")]).identity();
    assert_eq!(unset, parsed("s3://abc", &[("PATH", "/bin")]).identity());
    let secret = parsed("s3://abc", &[("AWS_SECRET_ACCESS_KEY", "hunter2")]);
    assert!(!format!("{secret:?} {} {}", secret.display(), secret.name()).contains("hunter2"));
}
