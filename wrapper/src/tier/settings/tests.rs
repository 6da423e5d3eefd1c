//! Tiers as they are written: what is read from them, every error, and what they never show.

use super::*;
use crate::tier::address::Node;

fn parse(text: &str) -> TierSettings {
    TierSettings::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match TierSettings::parse(text) {
        Ok(settings) => panic!("{text} is {settings:?}"),
        Err(error) => error,
    }
}

fn node(host: &str, port: u16) -> Node {
    Node { host: host.to_owned(), port }
}

fn text(secret: &Option<Secret>) -> Option<&str> {
    match secret {
        Some(Secret::Text(text)) => Some(text),
        _ => None,
    }
}

#[test]
fn a_url_of_redis_has_user_password_host_port_and_database() {
    let settings = parse("redis://me:p%40ss%3Aw%7C%2525@cache.example:6380/3");
    let expected = Address::Redis { node: node("cache.example", 6380), is_tls: false, database: 3 };
    assert_eq!(settings.address, expected);
    assert_eq!(settings.user.as_deref(), Some("me"));
    assert_eq!(text(&settings.password), Some("p@ss:w|%25"));
    assert_eq!(settings.prefix, "larder:");
    assert_eq!(settings.display(), "redis://cache.example:6380/3");

    let settings = parse("rediss://:pass:with:colons@[2001:db8::1]");
    let expected = Address::Redis { node: node("2001:db8::1", 6379), is_tls: true, database: 0 };
    assert_eq!(settings.address, expected);
    assert_eq!(settings.user, None);
    assert_eq!(text(&settings.password), Some("pass:with:colons"));
    assert_eq!(settings.display(), "rediss://[2001:db8::1]:6379/0");
    assert_eq!(text(&parse("redis://u:a@b@host").password), Some("a@b"));
}

#[test]
fn a_url_of_a_cluster_has_several_nodes() {
    let settings = parse("rediss+cluster://u:p@a:7000,[::1]:7001,c");
    let nodes = vec![node("a", 7000), node("::1", 7001), node("c", 6379)];
    assert_eq!(settings.address, Address::RedisCluster { nodes, is_tls: true });
    assert_eq!(settings.display(), "rediss+cluster://a:7000,[::1]:7001,c:6379");
}

#[test]
fn a_url_of_a_socket_has_a_path_and_a_database() {
    let settings = parse("redis+unix://:p@/run/my%20redis.sock?db=2");
    let path = PathBuf::from("/run/my redis.sock");
    assert_eq!(settings.address, Address::RedisUnix { path, database: 2 });
    assert_eq!(text(&settings.password), Some("p"));
    let path = PathBuf::from("/s");
    assert_eq!(parse("redis+unix:///s").address, Address::RedisUnix { path, database: 0 });
}

#[test]
fn a_url_of_memcached_has_servers() {
    let settings =
        parse("memcached://a,[::1]:7,c.d:11211/|item-bytes=16Mi|expire=7|prefix=x|name=n");
    let nodes = vec![node("a", 11_211), node("::1", 7), node("c.d", 11_211)];
    assert_eq!(settings.address, Address::Memcached { nodes });
    assert_eq!(settings.display(), "memcached://a:11211,[::1]:7,c.d:11211");
    assert_eq!((settings.item_bytes, settings.expire_seconds), (16 << 20, Some(7)));
    assert_eq!(settings.prefix, "x");
    let plain = parse("memcached://h");
    assert_eq!((plain.item_bytes, plain.prefix.as_str()), (1 << 20, "larder:"));
    assert_eq!(parse(&format!("memcached://h|prefix={}", "x".repeat(128))).prefix.len(), 128);
    assert!(error(&format!("memcached://h|prefix={}", "x".repeat(129))).contains("up to 128"));
}

#[test]
fn a_url_of_http_keeps_its_path_as_it_is() {
    let settings = parse("https://u@host/a%20b/c/");
    let (node, path) = (node("host", 443), "/a%20b/c".to_owned());
    assert_eq!(settings.address, Address::Http { node, is_tls: true, path });
    assert_eq!(settings.user.as_deref(), Some("u"));
    assert_eq!(settings.prefix, "larder/");
    assert_eq!(settings.display(), "https://host/a%20b/c");
    assert_eq!(parse("http://[::1]:8080").display(), "http://[::1]:8080");
}

#[test]
fn a_url_of_files_is_a_directory() {
    let settings = parse("file:///mnt/my%20tier/");
    assert_eq!(settings.address, Address::File { directory: "/mnt/my tier".into() });
    assert_eq!(settings.prefix, "");
}

#[test]
fn attributes_have_defaults_and_values() {
    let settings = parse("redis://h");
    assert!(!settings.is_read_only());
    assert_eq!(settings.bytes_max(), 512_000_000);
    assert_eq!(settings.timeout(), Duration::from_secs(2));
    assert_eq!(settings.connect_timeout, Duration::from_millis(500));
    assert_eq!(settings.name(), "redis://h:6379/0");

    let settings = parse(
        "redis://h|read-only|prefix=a%7Cb|connect-timeout=20|timeout=30|max-bytes=2Mi|expire=60\
         |username=u|password=p=q|name=near",
    );
    assert!(settings.is_read_only());
    assert_eq!(settings.prefix, "a|b");
    assert_eq!(settings.connect_timeout, Duration::from_millis(20));
    assert_eq!(settings.timeout(), Duration::from_millis(30));
    assert_eq!(settings.bytes_max(), 2 << 20);
    assert_eq!(settings.expire_seconds, Some(60));
    assert_eq!(settings.user.as_deref(), Some("u"));
    assert_eq!(text(&settings.password), Some("p=q"));
    assert_eq!(settings.name(), "near");

    let settings = parse("https://h|netrc=/n|header=X-A:%20b|header=x-c:d|ca-file=/ca");
    assert!(settings.netrc == Some(Netrc::File("/n".into())));
    let headers = [("X-A", "b"), ("x-c", "d")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(settings.headers, headers);
    assert_eq!(settings.ca_file, Some("/ca".into()));
    assert!(parse("http://h|netrc").netrc == Some(Netrc::Usual));
    assert!(parse("http://h|bearer-token-file=/t").bearer == Some(Secret::File("/t".into())));
    let sizes = ["1", "3k", "64M", "1G", "4Ki"].map(|text| size(text).unwrap());
    assert_eq!(sizes, [1, 3_000, 64_000_000, 1_000_000_000, 4096]);
}

/// What is written, and a part of what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    ("", "begins with none of"),
    ("redis:/h", "begins with none of"),
    ("gopher://h", "begins with none of redis://"),
    ("redis://", "its host is none"),
    ("redis://h h", "no blanks"),
    ("redis://a,b", "its host is none"),
    ("redis://::1", "its host is none"),
    ("redis://[::1", "a bracket of its host is open"),
    ("redis://[h]", "no address of IPv6"),
    ("redis://[::1]6379", "only a port follows a bracket"),
    ("redis://h:", "its port is no number"),
    ("redis://h:0", "its port is no number"),
    ("redis://h:65536", "its port is no number"),
    ("redis://h:+1", "its port is no number"),
    ("redis://h/one", "no number of a database"),
    ("redis://h?db=1", "? and # have no meaning"),
    ("redis://u:%zz@h", "a % without two hexadecimal digits"),
    ("redis://u:%0a@h", "control characters"),
    ("redis://u:%ff@h", "not UTF-8"),
    ("redis://u@h", "a user of Redis has a password"),
    ("redis+cluster://a,b/1", "one database only"),
    ("redis+cluster://a,,b", "its host is none"),
    ("redis+unix://run/s", "is absolute"),
    ("redis+unix:///", "is absolute"),
    ("redis+unix:///s?db=x", "only ?db=NUMBER"),
    ("redis+unix:///s?x=1", "only ?db=NUMBER"),
    ("memcached://", "its host is none"),
    ("memcached://a,,b", "its host is none"),
    ("memcached://a/1", "memcached has no databases"),
    ("memcached://u:p@a", "memcached is used without user and password"),
    ("memcached://a|password=p", "\"password\" is no attribute of memcached://"),
    ("memcached://a,b,a:11211", "it names a server twice"),
    ("memcached://a|prefix=a%20b", "\"prefix\" is no ASCII without blanks"),
    ("memcached://a|prefix=\u{e9}", "\"prefix\" is no ASCII without blanks"),
    ("memcached://a|item-bytes=4095", "\"item-bytes\" is no size from 4Ki to 1Gi"),
    ("memcached://a|item-bytes=2Gi", "\"item-bytes\" is no size from 4Ki to 1Gi"),
    ("redis://h|item-bytes=1Mi", "\"item-bytes\" is no attribute of redis://"),
    ("http://h/a?b=c", "? and # have no meaning"),
    ("http://h/%2", "a % without two"),
    ("http://h/é", "is ASCII"),
    ("http://a%3Ab@h", "a user of HTTP has no colon"),
    ("file://host/dir", "a directory is absolute"),
    ("file:///", "a directory is absolute"),
    ("redis://h|", "no attribute of redis://; these are: read-only, name, prefix"),
    ("redis://h|timout=1", "\"timout\" is no attribute of redis://; these are: "),
    ("redis://h|netrc", "\"netrc\" is no attribute of redis://"),
    ("http://h|expire=1", "\"expire\" is no attribute of http://"),
    ("file:///d|timeout=1", "\"timeout\" is no attribute of file://"),
    ("redis://h|read-only=1", "\"read-only\" takes no value"),
    ("redis://h|timeout", "\"timeout\" needs a value"),
    ("redis://h|timeout=0", "\"timeout\" is no number of milliseconds"),
    ("redis://h|timeout=600001", "\"timeout\" is no number of milliseconds"),
    ("redis://h|connect-timeout=1s", "\"connect-timeout\" is no number"),
    ("redis://h|timeout=1|timeout=2", "\"timeout\" stands twice"),
    ("redis://h|max-bytes=0", "\"max-bytes\" is no size"),
    ("redis://h|max-bytes=1X", "\"max-bytes\" is no size"),
    ("redis://h|max-bytes=99999999999G", "\"max-bytes\" is no size"),
    ("redis://h|expire=0", "\"expire\" is no number of seconds"),
    ("redis://h|name=", "\"name\" is no name"),
    ("redis://h|prefix=%01", "\"prefix\": control characters"),
    ("http://h|prefix=../x", "\"prefix\" has what is no part of a relative path"),
    ("file:///d|prefix=/x", "\"prefix\" has what is no part"),
    ("redis://h|ca-file=/x", "\"ca-file\" is for rediss://"),
    ("rediss://h|ca-file=x", "\"ca-file\" is no absolute path"),
    ("redis://:a@h|password=b", "\"password\" is a second password"),
    ("redis://h|password=b|password-file=/f", "\"password-file\" is a second password"),
    ("redis://u:p@h|username=v", "\"username\" a user stands in the URL, too"),
    ("http://h|bearer-token=a|bearer-token-file=/f", "is a second token"),
    ("http://u:p@h|bearer-token=a", "more than one way to log in"),
    ("http://u:p@h|netrc", "more than one way to log in"),
    ("http://h|header=novalue", "\"header\" is not as Name: value"),
    ("http://h|header=a b:c", "\"header\" names no header"),
    ("http://h|header=host:x", "\"header\" names no header that can be set"),
    ("http://h|header=X:%0d%0aY:z", "\"header\": control characters"),
    ("redis://u:p|x@h", "its port is no number"),
    ("redis://u:1|secret@h", "a | in a user or a password is written %7C"),
];

#[test]
fn every_mistake_is_named() {
    for (text, expected) in MISTAKES {
        let error = error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn nothing_that_is_shown_has_a_credential() {
    let texts = [
        "redis://hunter2user:hunter2@h:1/2|timeout=5",
        "redis://h|username=u|password=hunter2",
        "redis+unix://:hunter2@/s",
        "redis+cluster://:hunter2@a,b",
        "http://hunter2user:hunter2@h/p",
        "http://h|bearer-token=hunter2|header=X-Key:hunter2",
    ];
    for text in texts {
        let settings = parse(text);
        for shown in [settings.display(), settings.name(), format!("{settings:?}")] {
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
    }
    let wrong = [
        "redis://:hunter2",
        "redis://u:hunter2@",
        "redis://u:hunter2@h:x",
        "redis://u:hunter2%@h",
        "memcached://u:hunter2@h",
        "redis://u:hunter2/x@h",
        "redis://u:hunter2?x@h",
        "redis://u:hunter2#x@h",
        "redis://u:12|hunter2@h",
        "redis://u:12|hunter|x@h",
        "redis://u:hunter2@h|nonsense",
        "redis://h|password=hunter2%",
        "redis://h|hunter2hunter2",
        "redis://h|timeout=hunter2",
        "redis://h|read-only=hunter2",
        "http://h|header=hunter2",
        "http://h|header=hunter2 x:y",
        "hunter2://h",
        "hunter2",
    ];
    for text in wrong {
        let error = error(text);
        assert!(!error.contains("hunter"), "{text}: {error}");
    }
}

#[test]
fn odd_characters_anywhere_are_read_or_refused() {
    let texts = [
        "redis://u:p%40@[::1]:6379/0|prefix=a%20b|timeout=5|read-only",
        "redis+unix://:p@/run/s?db=2|expire=7",
        "rediss+cluster://u:p@a:1,[::1]:2|ca-file=/c",
        "https://u:p@h:1/a%20b|header=X-A:b|max-bytes=1Ki",
        "file:///d%20e|name=x",
        "memcached://a:1,[::1]:2|prefix=x|item-bytes=4Ki|expire=7",
    ];
    let odd =
        ["", "%", "%4", "|", "@", ":", "\u{e9}", "\0", "[", "]", "?", "#", "/", "=", ",", " "];
    let (mut read, mut refused) = (0, 0);
    for text in texts {
        for (index, _) in text.char_indices() {
            for odd in odd {
                let (before, behind) = text.split_at(index);
                match TierSettings::parse(&format!("{before}{odd}{behind}")) {
                    Ok(settings) => read += usize::from(!settings.display().is_empty()),
                    Err(error) => refused += usize::from(!error.is_empty()),
                }
            }
        }
    }
    assert!(read > 200 && refused > 200, "{read} were read, {refused} refused");
}

#[test]
fn an_identity_is_of_all_that_was_written() {
    let texts = [
        "redis://h",
        "redis://h/1",
        "redis://:p@h",
        "redis://u:p@h",
        "redis://:q@h",
        "redis://h|password-file=/p",
        "redis://h|read-only",
        "redis://h|prefix=x",
        "redis://h|timeout=1",
        "redis://h|connect-timeout=1",
        "redis://h|max-bytes=1",
        "redis://h|expire=1",
        "redis://h|name=x",
        "memcached://h",
        "memcached://h|item-bytes=4Ki",
        "memcached://h,i",
        "memcached://i,h",
        "rediss://h",
        "rediss://h|ca-file=/c",
        "http://h",
        "http://h:6379",
        "http://u@h",
        "http://u:@h",
        "http://h|netrc",
        "http://h|netrc=/n",
        "http://h|bearer-token=a",
        "http://h|bearer-token-file=/a",
        "http://h|header=a:b",
        "http://h|header=a:b|header=a:b",
    ];
    let mut identities: Vec<_> = texts.iter().map(|text| parse(text).identity()).collect();
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), texts.len());
    assert_eq!(parse("redis://u:p@h:6379/0").identity(), {
        parse("redis://h|password=p|username=u").identity()
    });
}

#[test]
fn a_list_has_blanks_between_tiers() {
    let tiers = parse_list("  redis://a|timeout=5 \n\thttp://b/c  file:///d|read-only").unwrap();
    let shown: Vec<_> = tiers.iter().map(TierSettings::display).collect();
    assert_eq!(shown, ["redis://a:6379/0", "http://b/c", "file:///d"]);
    assert!(parse_list("").unwrap().is_empty());
    let error = parse_list("redis://a redis://b|x").unwrap_err();
    assert!(error.starts_with("tier 2: \"x\" is no attribute"), "{error}");
}
