//! The URL of a bucket: `s3://BUCKET[/PATH][?region=REGION&endpoint=URL]`.
//!
//! 1. Values behind the `?` are percent-decoded. Only those two are known, each at most once.
//! 2. An endpoint is `https://HOST[:PORT][/PATH]` or `http://`; without a scheme it has TLS.
//! 3. There is no place for credentials: they would stand in every list of tiers.

use super::{Address, Node, UserInfo, http_port, percent_decode, split_path};

/// Bytes of a bucket's name; AWS has 63, and had 255.
const BUCKET_BYTES_MAX: usize = 255;
/// Bytes of a region's name.
const REGION_BYTES_MAX: usize = 64;

/// A server that speaks as S3 does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::tier) struct Endpoint {
    pub(in crate::tier) node: Node,
    pub(in crate::tier) is_tls: bool,
    /// Begins with a slash and ends with none, or is empty.
    pub(in crate::tier) path: String,
}

impl Endpoint {
    /// Reads a URL of one.
    pub(in crate::tier) fn parse(text: &str) -> Result<Endpoint, String> {
        let (is_tls, rest) = match text.split_once("://") {
            None => (true, text),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err("an endpoint is https://HOST:PORT, or http://".to_owned()),
        };
        let (authority, path) = split_path(rest)?;
        if authority.contains('@') {
            return Err("an endpoint has no user and no password".to_owned());
        }
        let path = path.trim_matches('/');
        check_path(path)?;
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Endpoint { node: Node::parse(authority, http_port(is_tls))?, is_tls, path })
    }

    pub(in crate::tier) fn display(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.node.display_unless(http_port(self.is_tls)), self.path)
    }
}

/// Reads what stands behind `s3://`.
pub(super) fn parse(rest: &str) -> Result<(Address, UserInfo), String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, path) = split_path(rest)?;
    if bucket.contains('@') {
        return Err("a URL of S3 has no user and no password: AWS_ACCESS_KEY_ID and \
                    AWS_SECRET_ACCESS_KEY, a profile, or what the instance has are used"
            .to_owned());
    }
    check_bucket(bucket)?;
    let path = path.trim_matches('/');
    check_path(path)?;
    let (mut region, mut endpoint) = (None, None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = percent_decode(value)?;
        let is_second = match name {
            "region" => region.replace(checked_region(value)?).is_some(),
            "endpoint" => endpoint.replace(Endpoint::parse(&value)?).is_some(),
            _ => return Err("only region= and endpoint= may follow the ?".to_owned()),
        };
        if is_second {
            return Err(format!("{name}= stands twice"));
        }
    }
    let (bucket, path) = (bucket.to_owned(), path.to_owned());
    Ok((Address::S3 { bucket, path, region, endpoint }, UserInfo::default()))
}

/// The URL as [`parse`] reads it, behind `s3://`.
pub(super) fn display(
    bucket: &str,
    path: &str,
    region: Option<&str>,
    endpoint: Option<&Endpoint>,
) -> String {
    let slash = if path.is_empty() { "" } else { "/" };
    let region = region.map(|region| format!("region={region}"));
    let endpoint = endpoint.map(|endpoint| format!("endpoint={}", endpoint.display()));
    let query = region.into_iter().chain(endpoint).collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{bucket}{slash}{path}{mark}{query}")
}

/// A region, which becomes a part of a host's name.
pub(in crate::tier) fn checked_region(text: String) -> Result<String, String> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_good = (1..=REGION_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_name);
    if is_good { Ok(text) } else { Err("its region is none".to_owned()) }
}

fn check_bucket(name: &str) -> Result<(), String> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let is_good = (3..=BUCKET_BYTES_MAX).contains(&bytes.len())
        && name.bytes().all(is_of_name)
        && is_end(bytes.first())
        && is_end(bytes.last())
        && !name.contains("..");
    if is_good { Ok(()) } else { Err("its bucket is none: s3://BUCKET/PATH".to_owned()) }
}

/// Signatures are made of a path as it is written, so nothing in it needs an encoding.
fn check_path(path: &str) -> Result<(), String> {
    let is_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-/".contains(&byte);
    let is_good = path.bytes().all(is_of_path)
        && !path.split('/').any(|part| part == "." || part == "..")
        && !path.contains("//");
    if is_good {
        Ok(())
    } else {
        Err("its path has more than letters, digits, . _ ~ - /".to_owned())
    }
}
