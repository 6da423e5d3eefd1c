//! A tier as it is written: `URL|name=value|name`.
//!
//! 1. The URL is that of [`address`](super::address). Behind it stand attributes, each at most
//!    once but for `header`. [`ATTRIBUTES`] says which make sense where; all others are errors.
//! 2. Values are percent-decoded, so that a `|` or a blank in one is `%7C` or `%20`.
//! 3. No error repeats a value, because it may be a credential.
//! 4. Nothing is opened: the files that attributes name are read when the tier is opened. Variables
//!    are read for S3 alone, which has more in [`s3`].

mod s3;

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, Family, decimal, percent_decode};
pub(super) use s3::S3Settings;

/// The largest body that a tier takes unless it is told otherwise. Redis takes no larger value.
const BYTES_MAX: u64 = 512_000_000;
/// A connection to a server near by takes one round trip; a dead one is to cost little.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Ten megabytes at a hundred megabits per second take about half of it.
const TIMEOUT: Duration = Duration::from_millis(2000);
/// Above it a build would rather have compiled.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// The limit of an item that memcached has unless it is told otherwise.
const ITEM_BYTES: u64 = 1 << 20;
/// Below it most of an item would be its key; memcached takes no limit above the other.
const ITEM_BYTES_RANGE: std::ops::RangeInclusive<u64> = 4 << 10..=1 << 30;
/// Keys of memcached have 250 bytes; those of pieces are 103 bytes longer than the prefix.
const MEMCACHED_PREFIX_BYTES_MAX: usize = 128;
/// A century: Redis refuses what overflows its clock.
const EXPIRE_SECONDS_MAX: u64 = 100 * 365 * 86_400;
/// Names stand in tables.
const NAME_CHARS_MAX: usize = 64;
/// Headers of one tier.
const HEADERS_MAX: usize = 32;
/// Headers that the client writes itself.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// An attribute: its name, whether it has a value (or may have one), and where it makes sense.
struct Attribute {
    name: &'static str,
    value: Value,
    families: &'static [Family],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Optional,
    Needed,
}

const ALL: &[Family] = &[Family::Redis, Family::Memcached, Family::Http, Family::S3, Family::File];
const NETWORK: &[Family] = &[Family::Redis, Family::Memcached, Family::Http, Family::S3];
const EXPIRE: &[Family] = &[Family::Redis, Family::Memcached];
const LOGIN: &[Family] = &[Family::Redis, Family::Http];
const TLS: &[Family] = &[Family::Redis, Family::Http, Family::S3];

const ATTRIBUTES: &[Attribute] = &[
    Attribute { name: "read-only", value: Value::None, families: ALL },
    Attribute { name: "name", value: Value::Needed, families: ALL },
    Attribute { name: "prefix", value: Value::Needed, families: ALL },
    Attribute { name: "max-bytes", value: Value::Needed, families: ALL },
    Attribute { name: "signatures", value: Value::Needed, families: ALL },
    Attribute { name: "connect-timeout", value: Value::Needed, families: NETWORK },
    Attribute { name: "timeout", value: Value::Needed, families: NETWORK },
    Attribute { name: "username", value: Value::Needed, families: LOGIN },
    Attribute { name: "password", value: Value::Needed, families: LOGIN },
    Attribute { name: "password-file", value: Value::Needed, families: LOGIN },
    Attribute { name: "ca-file", value: Value::Needed, families: TLS },
    Attribute { name: "expire", value: Value::Needed, families: EXPIRE },
    Attribute { name: "item-bytes", value: Value::Needed, families: &[Family::Memcached] },
    Attribute { name: "bearer-token", value: Value::Needed, families: &[Family::Http] },
    Attribute { name: "bearer-token-file", value: Value::Needed, families: &[Family::Http] },
    Attribute { name: "netrc", value: Value::Optional, families: &[Family::Http] },
    Attribute { name: "header", value: Value::Needed, families: &[Family::Http] },
    Attribute { name: "path-style", value: Value::None, families: &[Family::S3] },
    Attribute { name: "host-style", value: Value::None, families: &[Family::S3] },
    Attribute { name: "anonymous", value: Value::None, families: &[Family::S3] },
    Attribute { name: "profile", value: Value::Needed, families: &[Family::S3] },
    Attribute { name: "credentials-file", value: Value::Needed, families: &[Family::S3] },
    Attribute { name: "storage-class", value: Value::Needed, families: &[Family::S3] },
    Attribute { name: "sse", value: Value::Needed, families: &[Family::S3] },
    Attribute { name: "sse-kms-key-id", value: Value::Needed, families: &[Family::S3] },
    Attribute { name: "multipart-bytes", value: Value::Needed, families: &[Family::S3] },
];

/// One tier, as it was written and checked.
#[derive(Clone, PartialEq, Eq)]
pub struct TierSettings {
    text: String,
    pub(super) address: Address,
    pub(super) prefix: String,
    pub(super) is_read_only: bool,
    pub(super) name: Option<String>,
    pub(super) bytes_max: u64,
    pub(super) signatures: Option<Signatures>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) expire_seconds: Option<u64>,
    pub(super) item_bytes: u64,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) bearer: Option<Secret>,
    pub(super) netrc: Option<Netrc>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) s3: Option<Box<S3Settings>>,
}

/// Whose results are taken from a tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signatures {
    /// Those with a signature that is right and of a key that is trusted.
    Required,
    /// All but those with a wrong signature of such a key.
    Optional,
}

/// Where a credential is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// Here.
    Text(String),
    /// In a file, without the end of its line.
    File(PathBuf),
}

/// Where logins of servers are listed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Netrc {
    /// `$NETRC`, else `.netrc` in the home directory.
    Usual,
    /// In this file.
    File(PathBuf),
}

/// Shows no credentials.
impl fmt::Debug for TierSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TierSettings")
            .field("url", &self.display())
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("is_read_only", &self.is_read_only)
            .finish_non_exhaustive()
    }
}

/// Reads a list of tiers, as LARDER_TIERS has it: with blanks between them.
///
/// # Errors
/// What is wrong with the first one that is wrong, and which that is.
pub fn parse_list(text: &str) -> Result<Vec<TierSettings>, String> {
    let one = |(index, word)| {
        TierSettings::parse(word).map_err(|error| format!("tier {}: {error}", index + 1))
    };
    text.split_whitespace().enumerate().map(one).collect()
}

impl TierSettings {
    /// Reads one tier.
    ///
    /// # Errors
    /// What is wrong with it, without any credential.
    pub fn parse(text: &str) -> Result<TierSettings, String> {
        TierSettings::parse_in(text, |name| env::var(name).ok())
    }

    /// The same in another environment.
    pub(super) fn parse_in(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<TierSettings, String> {
        let mut parts = text.trim().split('|');
        let (mut address, info) = Address::parse(parts.next().unwrap_or_default())?;
        let attributes: Vec<&str> = parts.collect();
        // An unwritten %7C in a password would make the rest of it the name of an attribute.
        let names = attributes.iter().map(|part| part.split('=').next().unwrap_or_default());
        if names.clone().any(|name| name.contains('@')) {
            return Err("a | in a user or a password is written %7C".to_owned());
        }
        let s3 = match address.family() {
            Family::S3 => Some(Box::new(S3Settings::new(&mut address, variable)?)),
            _ => None,
        };
        let mut settings = TierSettings::new(address);
        settings.s3 = s3;
        settings.text = text.trim().to_owned();
        settings.user = info.user;
        settings.password = info.password.map(Secret::Text);
        let mut seen = Vec::new();
        for (part, name) in attributes.iter().zip(names) {
            if name != "header" && seen.contains(&name) {
                return Err(format!("\"{name}\" stands twice"));
            }
            seen.push(name);
            let value = part.split_once('=').map(|(_, value)| percent_decode(value)).transpose();
            let value = value.map_err(|error| format!("\"{name}\": {error}"))?;
            let attribute = settings.attribute(name)?;
            match (attribute.value, &value) {
                (Value::None, Some(_)) => return Err(format!("\"{name}\" takes no value")),
                (Value::Needed, None) => return Err(format!("\"{name}\" needs a value: {name}=")),
                _ => {}
            }
            settings.set(name, value).map_err(|error| format!("\"{name}\" {error}"))?;
        }
        settings.check()?;
        Ok(settings)
    }

    fn new(address: Address) -> TierSettings {
        let prefix = match address.family() {
            Family::Redis | Family::Memcached => "larder:",
            Family::Http | Family::S3 => "larder/",
            Family::File => "",
        };
        TierSettings {
            text: String::new(),
            address,
            prefix: prefix.to_owned(),
            is_read_only: false,
            name: None,
            bytes_max: BYTES_MAX,
            signatures: None,
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            expire_seconds: None,
            item_bytes: ITEM_BYTES,
            user: None,
            password: None,
            bearer: None,
            netrc: None,
            headers: Vec::new(),
            ca_file: None,
            s3: None,
        }
    }

    /// The text that [`TierSettings::parse`] reads as this tier, credentials and all, without
    /// blanks.
    pub fn text(&self) -> String {
        self.text.replace(' ', "%20").replace('\t', "%09")
    }

    /// The kind of its server: `file`, `redis`, `memcached`, `http` or `s3`.
    pub fn scheme(&self) -> &'static str {
        match self.address.family() {
            Family::File => "file",
            Family::Redis => "redis",
            Family::Memcached => "memcached",
            Family::Http => "http",
            Family::S3 => "s3",
        }
    }

    /// Its URL, without credentials and attributes.
    pub fn display(&self) -> String {
        self.address.display()
    }

    /// What statistics call it: its attribute `name`, else its URL without credentials.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.display())
    }

    /// Whether nothing may be written to it.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// The largest body that is sent to it or read from it.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Whose results are taken from it, if that is said.
    pub fn signatures(&self) -> Option<Signatures> {
        self.signatures
    }

    /// How long a call may take, all in all. A tier of files has no limit.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A digest of everything that was written, credentials too: two tiers of one identity can
    /// share their connections. It does not change with the contents of files that are named.
    pub fn identity(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        field("larder tier 1");
        field(&self.display());
        field(&self.prefix);
        field(&self.name());
        field(match self.signatures {
            None => "",
            Some(Signatures::Required) => "required",
            Some(Signatures::Optional) => "optional",
        });
        let numbers = [
            u64::from(self.is_read_only),
            self.bytes_max,
            self.connect_timeout.as_millis() as u64,
            self.timeout.as_millis() as u64,
            self.expire_seconds.unwrap_or(0),
            self.item_bytes,
        ];
        numbers.iter().for_each(|number| field(&number.to_string()));
        field(&self.user.as_ref().map_or(String::new(), |user| format!("user {user}")));
        for secret in [&self.password, &self.bearer] {
            field(&match secret {
                None => String::new(),
                Some(Secret::Text(text)) => format!("text {text}"),
                Some(Secret::File(path)) => format!("file {}", path.display()),
            });
        }
        field(&match &self.netrc {
            None => String::new(),
            Some(Netrc::Usual) => "usual".to_owned(),
            Some(Netrc::File(path)) => format!("file {}", path.display()),
        });
        field(&self.ca_file.as_ref().map_or(String::new(), |path| path.display().to_string()));
        for (name, value) in &self.headers {
            field(name);
            field(value);
        }
        if let Some(s3) = &self.s3 {
            s3.identify(&mut field);
        }
        *hasher.finalize().as_bytes()
    }

    /// The attribute of a name, if it makes sense here.
    fn attribute(&self, name: &str) -> Result<&'static Attribute, String> {
        let family = self.address.family();
        let makes_sense = |attribute: &&Attribute| attribute.families.contains(&family);
        let allowed = || ATTRIBUTES.iter().filter(makes_sense);
        if let Some(attribute) = allowed().find(|attribute| attribute.name == name) {
            return Ok(attribute);
        }
        let names: Vec<_> = allowed().map(|attribute| attribute.name).collect();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        let subject = if !name.is_empty() && name.len() <= 20 && name.bytes().all(is_name) {
            format!("\"{name}\" is no attribute")
        } else {
            "something between two | is no attribute".to_owned()
        };
        Err(format!("{subject} of {}://; these are: {}", self.address.scheme(), names.join(", ")))
    }

    fn set(&mut self, name: &str, value: Option<String>) -> Result<(), String> {
        let text = value.clone().unwrap_or_default();
        match name {
            "read-only" => self.is_read_only = true,
            "name" => self.name = Some(shown_name(text)?),
            "prefix" => self.prefix = prefix(text, self.address.family())?,
            "max-bytes" => {
                let bytes = size(&text).filter(|bytes| *bytes > 0);
                self.bytes_max = bytes.ok_or("is no size as 64M")?;
            }
            "signatures" => {
                self.signatures = Some(match &*text {
                    "required" => Signatures::Required,
                    "optional" => Signatures::Optional,
                    _ => return Err("is neither required nor optional".to_owned()),
                });
            }
            "item-bytes" => {
                let bytes = size(&text).filter(|bytes| ITEM_BYTES_RANGE.contains(bytes));
                self.item_bytes = bytes.ok_or("is no size from 4Ki to 1Gi")?;
            }
            "connect-timeout" => self.connect_timeout = milliseconds(&text)?,
            "timeout" => self.timeout = milliseconds(&text)?,
            "expire" => {
                let seconds = decimal(&text).filter(|n| (1..=EXPIRE_SECONDS_MAX).contains(n));
                self.expire_seconds = Some(seconds.ok_or("is no number of seconds")?);
            }
            "username" => set_once(&mut self.user, text, "a user stands in the URL, too")?,
            "password" => set_once(&mut self.password, Secret::Text(text), TWO_PASSWORDS)?,
            "password-file" => {
                set_once(&mut self.password, Secret::File(absolute(text)?), TWO_PASSWORDS)?;
            }
            "bearer-token" => set_once(&mut self.bearer, Secret::Text(text), TWO_TOKENS)?,
            "bearer-token-file" => {
                set_once(&mut self.bearer, Secret::File(absolute(text)?), TWO_TOKENS)?;
            }
            "netrc" => {
                self.netrc = Some(match value {
                    None => Netrc::Usual,
                    Some(text) => Netrc::File(absolute(text)?),
                });
            }
            "header" => self.headers.push(header(&text)?),
            "ca-file" => self.ca_file = Some(absolute(text)?),
            _ => {
                let is_known = self.s3.as_mut().map(|s3| s3.set(name, text)).transpose()?;
                if is_known != Some(true) {
                    return Err("has no meaning".to_owned());
                }
            }
        }
        Ok(())
    }

    /// What attributes demand of each other.
    fn check(&self) -> Result<(), String> {
        let has_login = self.user.is_some() || self.password.is_some();
        let ways = [has_login, self.bearer.is_some(), self.netrc.is_some()];
        let wrong = if ways.iter().filter(|is_there| **is_there).count() > 1 {
            "more than one way to log in: user and password, bearer token, netrc"
        } else if self.address.family() == Family::Redis
            && self.user.is_some()
            && self.password.is_none()
        {
            "a user of Redis has a password"
        } else if self.user.as_ref().is_some_and(|user| user.contains(':'))
            && self.address.family() == Family::Http
        {
            "a user of HTTP has no colon"
        } else if self.ca_file.is_some() && !self.address.is_tls() {
            "\"ca-file\" is for rediss://, https:// and s3://"
        } else if self.headers.len() > HEADERS_MAX {
            "there are too many headers"
        } else if let Some(wrong) = self.s3.as_ref().and_then(|s3| s3.check()) {
            wrong
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }
}

const TWO_PASSWORDS: &str = "is a second password";
const TWO_TOKENS: &str = "is a second token";

fn set_once<T>(place: &mut Option<T>, value: T, complaint: &str) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(complaint.to_owned()),
    }
}

fn shown_name(text: String) -> Result<String, String> {
    let is_good = !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX;
    if is_good { Ok(text) } else { Err("is no name".to_owned()) }
}

/// Those of HTTP, S3 and files become a part of a path, those of memcached of a line.
fn prefix(text: String, family: Family) -> Result<String, String> {
    let is_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-/".contains(&byte);
    let is_path = || {
        text.bytes().all(is_of_path)
            && !text.starts_with('/')
            && !text.split('/').any(|part| part == "." || part == "..")
            && !text.contains("//")
    };
    match family {
        Family::Redis => Ok(text),
        Family::Memcached => {
            let is_key = text.bytes().all(|byte| byte.is_ascii_graphic());
            match is_key && text.len() <= MEMCACHED_PREFIX_BYTES_MAX {
                true => Ok(text),
                false => Err("is no ASCII without blanks, up to 128 characters".to_owned()),
            }
        }
        Family::Http | Family::S3 | Family::File if is_path() => Ok(text),
        _ => Err("has what is no part of a relative path: letters, digits, . _ ~ - /".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = decimal(text).filter(|number| (1..=TIMEOUT_MS_MAX).contains(number));
    number
        .map(Duration::from_millis)
        .ok_or_else(|| format!("is no number of milliseconds from 1 to {TIMEOUT_MS_MAX}"))
}

/// A whole number of bytes, perhaps with k, M, G (thousands) or Ki, Mi, Gi.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit: u64 = match suffix {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    decimal::<u64>(number)?.checked_mul(unit)
}

fn absolute(text: String) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("is no absolute path".to_owned()) }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("is not as Name: value")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let value = value.trim();
    let is_good = !name.is_empty() && name.bytes().all(is_token) && value.is_ascii();
    if !is_good || OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err("names no header that can be set".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
