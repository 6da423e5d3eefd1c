//! A tier of S3: a bucket at AWS, or of a server that speaks as it does.
//!
//! 1. A body is the object `PATH/PREFIX<2 digits>/<62 digits>` of its key.
//! 2. A call is one request, GET, HEAD, PUT or DELETE; a body of `multipart-bytes` and more is sent
//!    in parts ([`multipart`]). A signature (version 4) stands in the query of each request and is
//!    good for [`SIGNATURE_SECS`]. It covers the host and all headers that S3 gives a meaning, not
//!    the body: that has checksums of its own.
//! 3. 404 is a miss, unless the body says that there is no such bucket; HEAD has no body. To who
//!    may read and not list, S3 says 403 of what is missing: a miss to nobody (`anonymous`), and to
//!    others once they have read something. DELETE does not tell whether there was anything.
//! 4. A server that is busy (429, 500, 502, 503) or closes the connection is asked again, at most
//!    [`TRIES_MAX`] times in all, after a time that is chosen at random and doubles in the mean.
//! 5. Where a request is refused (403) and the server's clock is another than ours, it is signed
//!    once more with that time, and so are all that follow. Where the credentials are no longer
//!    good, and there are others by now, it is signed once more with these. Else the tier is not
//!    reached: whoever has new ones goes on where these have ended.
//! 6. Of what the server says only the code of its error is repeated, if it is a word.

mod credentials;
mod metadata;
mod multipart;
mod objects;
mod profile;
mod xml;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use larder_engine::Key;
use rusty_s3::signing::sign;
use rusty_s3::{Bucket, UrlStyle};
use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

use super::address::Address;
use super::address::s3::Endpoint;
use super::deadline::Deadline;
use super::settings::S3Settings;
use super::web::{self, Call, Web};
use super::{Objects, Tier, TierError, TierErrorKind, TierSettings, Usage};
use credentials::{Credentials, Keyring};

/// How long a signature is good: as long as S3 believes those in headers.
const SIGNATURE_SECS: u64 = 15 * 60;
/// Clocks that differ by less are never the reason for a refusal.
const SKEW_SECS_MIN: i64 = 5 * 60;
/// Requests of one kind in one call.
const TRIES_MAX: u32 = 3;
/// The longest time before the second one.
const BACKOFF: Duration = Duration::from_millis(100);
/// Bytes of an error's code; the longest one of S3 has about forty.
const CODE_BYTES_MAX: usize = 64;
/// Where buckets are if nobody says it.
const REGION: &str = "us-east-1";

/// The client.
pub(super) struct S3Tier {
    web: Web,
    bucket: Bucket,
    /// What stands before the digits of a key.
    folder: String,
    timeout: Duration,
    part_bytes: usize,
    /// What a new object is told, sorted by name.
    headers: Vec<(String, String)>,
    keyring: Keyring,
    /// Seconds that the server's clock is ahead of ours, where that has mattered.
    skew_secs: AtomicI64,
    /// Whether a refusal to read may hide that there is nothing.
    may_hide: AtomicBool,
}

/// A request for an object.
struct Order<'a> {
    method: Method,
    object: &'a str,
    /// Sorted by name.
    query: &'a [(&'a str, &'a str)],
    /// Sorted by name, in small letters.
    headers: &'a [(String, String)],
    body: Option<&'a [u8]>,
}

/// What became of a request.
enum Answer {
    Good(Response<Body>),
    Bad(Refusal),
}

/// A reply that is no success.
struct Refusal {
    status: StatusCode,
    /// The word of the error; empty if there is none.
    code: String,
    /// Where the bucket is, if the server says so.
    region: Option<String>,
}

impl S3Tier {
    /// The client of a tier.
    ///
    /// # Errors
    /// If a file that the settings name cannot be used, or if the bucket cannot be a part of the
    /// endpoint's name.
    pub(super) fn new(settings: &TierSettings) -> Result<S3Tier, TierError> {
        let name = settings.display();
        let error = |text: &str| TierError::new(TierErrorKind::Denied, format!("{name}: {text}"));
        let (Address::S3 { bucket, path, region, endpoint }, Some(s3)) =
            (&settings.address, &settings.s3)
        else {
            return Err(error("is no tier of S3"));
        };
        let keyring = Keyring::new(settings, s3)?;
        let region = match region {
            Some(region) => region.clone(),
            None => keyring.region()?.unwrap_or_else(|| REGION.to_owned()),
        };
        let style = if is_path_style(s3, bucket, endpoint.as_ref()) {
            UrlStyle::Path
        } else {
            UrlStyle::VirtualHost
        };
        let url = endpoint.as_ref().map_or_else(|| of_aws(&region), Endpoint::display);
        let url = url.parse().map_err(|_| error("its endpoint is none"))?;
        let bucket = Bucket::new(url, style, bucket.clone(), region)
            .map_err(|_| error("its bucket is no part of this host's name: path-style"))?;
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(S3Tier {
            web: Web::new(settings, settings.address.is_tls())?,
            bucket,
            folder: format!("{path}{slash}{}", settings.prefix),
            timeout: settings.timeout,
            part_bytes: usize::try_from(s3.part_bytes).unwrap_or(usize::MAX),
            headers: headers_of_objects(s3),
            keyring,
            skew_secs: AtomicI64::new(0),
            may_hide: AtomicBool::new(s3.is_anonymous),
        })
    }

    /// The object of a name.
    fn object(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Sends a request until there is an answer to it.
    fn ask(&self, order: &Order<'_>, deadline: Deadline) -> Result<Answer, TierError> {
        let (mut tries, mut may_correct, mut may_renew) = (1, true, true);
        let mut credentials = self.keyring.credentials(deadline)?;
        loop {
            let now = self.now();
            let url = self.url(order, credentials.as_deref(), now);
            let headers = order.headers;
            let call = Call { method: &order.method, url: &url, headers, body: order.body };
            let response = match self.web.try_send(&call, deadline)? {
                Ok(response) => response,
                Err(error) if web::is_closed(&error) && back_off(&mut tries, deadline) => continue,
                Err(error) => return Err(self.web.failed(&error, false)),
            };
            let status = response.status();
            if status.is_success() {
                return Ok(Answer::Good(response));
            }
            let server_time = date_of(&response);
            let refusal = self.refusal(response);
            if is_busy(status) && back_off(&mut tries, deadline) {
                continue;
            }
            if status == StatusCode::FORBIDDEN && may_correct && self.corrects(now, server_time) {
                may_correct = false;
                continue;
            }
            if refusal.is_of_old_credentials()
                && may_renew
                && let Some(old) = &credentials
                && let Some(newer) = self.keyring.renewed(old, deadline)
            {
                may_renew = false;
                credentials = Some(newer);
                continue;
            }
            return Ok(Answer::Bad(refusal));
        }
    }

    /// The URL of a request, with its signature if there are credentials.
    fn url(&self, order: &Order<'_>, credentials: Option<&Credentials>, now: Timestamp) -> String {
        let mut url = self.bucket.object_url(order.object);
        let Some(credentials) = credentials else {
            if !order.query.is_empty() {
                url.query_pairs_mut().extend_pairs(order.query);
            }
            return url.into();
        };
        let method = match order.method {
            Method::HEAD => rusty_s3::Method::Head,
            Method::PUT => rusty_s3::Method::Put,
            Method::POST => rusty_s3::Method::Post,
            Method::DELETE => rusty_s3::Method::Delete,
            _ => rusty_s3::Method::Get,
        };
        sign(
            &now,
            method,
            url,
            &credentials.id,
            &credentials.secret,
            credentials.token.as_deref(),
            self.bucket.region(),
            SIGNATURE_SECS,
            order.query.iter().copied(),
            order.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        )
        .into()
    }

    /// The time as the server has it, as far as we know.
    fn now(&self) -> Timestamp {
        let skew = SignedDuration::from_secs(self.skew_secs.load(Ordering::Relaxed));
        let now = Timestamp::now();
        now.checked_add(skew).unwrap_or(now)
    }

    /// Takes over the server's time if it is far from the one of a request that was refused.
    fn corrects(&self, used: Timestamp, server: Option<Timestamp>) -> bool {
        let Some(server) = server else { return false };
        let is_far = server.duration_since(used).as_secs().abs() >= SKEW_SECS_MIN;
        if is_far {
            let skew = server.duration_since(Timestamp::now()).as_secs();
            self.skew_secs.store(skew, Ordering::Relaxed);
        }
        is_far
    }

    fn refusal(&self, response: Response<Body>) -> Refusal {
        let status = response.status();
        let region = response.headers().get("x-amz-bucket-region");
        let region = region.and_then(|region| region.to_str().ok()).map(str::to_owned);
        let text = self.web.remark(response).unwrap_or_default();
        Refusal { status, code: code_of(&text), region: region.filter(|text| is_word(text)) }
    }

    /// The error for a reply that is no success.
    fn refused(&self, refusal: &Refusal, is_write: bool) -> TierError {
        let Refusal { status, code, region } = refusal;
        if code == "NoSuchBucket" {
            return self.web.error(TierErrorKind::Unreachable, "there is no such bucket");
        }
        let is_elsewhere = status.is_redirection() || *status == StatusCode::BAD_REQUEST;
        if let Some(region) = region.as_ref().filter(|region| *region != self.bucket.region())
            && is_elsewhere
        {
            let text = format!("the bucket is in another region, {region}");
            return self.web.error(TierErrorKind::Protocol, &text);
        }
        let kind = match code.as_str() {
            "EntityTooLarge" | "QuotaExceeded" => TierErrorKind::Full,
            "RequestTimeout" => TierErrorKind::TimedOut,
            "ExpiredToken" | "TokenRefreshRequired" => TierErrorKind::Unreachable,
            _ if refusal.is_of_old_credentials() => TierErrorKind::Denied,
            _ => web::kind_of(*status, is_write),
        };
        let space = if code.is_empty() { "" } else { " " };
        self.web.error(kind, &format!("the server says {}{space}{code}", status.as_u16()))
    }

    /// Sends a request whose answer has nothing to read.
    fn change(&self, order: &Order<'_>, deadline: Deadline) -> Result<(), TierError> {
        match self.ask(order, deadline)? {
            Answer::Good(response) => {
                self.web.finish(response);
                Ok(())
            }
            Answer::Bad(refusal) => Err(self.refused(&refusal, true)),
        }
    }

    /// Whether a refusal to read means that there is nothing.
    fn is_miss(&self, refusal: &Refusal) -> bool {
        let may_hide = self.may_hide.load(Ordering::Relaxed);
        let is_hidden = refusal.status == StatusCode::FORBIDDEN
            && matches!(refusal.code.as_str(), "" | "AccessDenied");
        refusal.is_of_a_missing_object() || (may_hide && is_hidden)
    }
}

impl Tier for S3Tier {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        Objects::get(self, &name_of(key))
    }

    fn exists(&self, key: &Key) -> Result<bool, TierError> {
        Objects::exists(self, &name_of(key))
    }

    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError> {
        Objects::put(self, &name_of(key), body)
    }

    fn remove(&self, key: &Key) -> Result<bool, TierError> {
        let object = self.object(&name_of(key));
        match self.ask(&Order::of(Method::DELETE, &object), Deadline::after(self.timeout))? {
            Answer::Good(response) => {
                self.web.finish(response);
                Ok(true)
            }
            Answer::Bad(refusal) if refusal.is_of_a_missing_object() => Ok(false),
            Answer::Bad(refusal) => Err(self.refused(&refusal, true)),
        }
    }

    fn usage(&self) -> Result<Usage, TierError> {
        // Only a list of all objects would tell it.
        Ok(Usage::default())
    }
}

impl<'a> Order<'a> {
    fn of(method: Method, object: &'a str) -> Order<'a> {
        Order { method, object, query: &[], headers: &[], body: None }
    }
}

impl Refusal {
    fn is_of_a_missing_object(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.code != "NoSuchBucket"
    }

    fn is_of_old_credentials(&self) -> bool {
        let codes = ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"];
        codes.contains(&self.code.as_str())
    }
}

/// What a key is called.
fn name_of(key: &Key) -> String {
    let digits = key.to_string();
    let (folder, file) = digits.split_at(2);
    format!("{folder}/{file}")
}

/// Names of hosts are how AWS wants it, and its certificates have one level for them. Other servers
/// know paths for sure.
fn is_path_style(s3: &S3Settings, bucket: &str, endpoint: Option<&Endpoint>) -> bool {
    let is_of_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let usual = endpoint.is_some() || !bucket.bytes().all(is_of_label);
    s3.is_path_style.unwrap_or(usual)
}

/// The endpoint of AWS in a region.
fn of_aws(region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{end}")
}

fn headers_of_objects(s3: &S3Settings) -> Vec<(String, String)> {
    let all = [
        ("content-type", Some("application/octet-stream")),
        ("x-amz-server-side-encryption", s3.encryption.as_deref()),
        ("x-amz-server-side-encryption-aws-kms-key-id", s3.encryption_key.as_deref()),
        ("x-amz-storage-class", s3.storage_class.as_deref()),
    ];
    let set = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503)
}

/// Waits before another try; whether there may be one.
fn back_off(tries: &mut u32, deadline: Deadline) -> bool {
    if *tries >= TRIES_MAX {
        return false;
    }
    let longest = BACKOFF * 2u32.pow(*tries - 1);
    // Of a hasher only that each one begins elsewhere.
    let random = RandomState::new().build_hasher().finish();
    let wait = Duration::from_nanos(random % longest.as_nanos() as u64);
    *tries += 1;
    if deadline.left().is_ok_and(|left| left > wait) {
        thread::sleep(wait);
        return true;
    }
    false
}

/// What a server says that the time is.
fn date_of(response: &Response<Body>) -> Option<Timestamp> {
    let text = response.headers().get(header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The code of an error; empty if the text has none that may be repeated.
fn code_of(text: &str) -> String {
    let code = xml::element(text, "Error").and_then(|error| xml::element(error, "Code"));
    code.filter(|code| is_word(code)).unwrap_or_default().to_owned()
}

fn is_word(text: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=CODE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_word)
}

#[cfg(test)]
mod tests;
