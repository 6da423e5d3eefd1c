//! What only tiers of S3 are told: their own attributes, and the variables of AWS.
//!
//! 1. The variables are read when the tier is, and all that are set enter its identity: nobody is
//!    answered by an agent that has started with other credentials. Files are not read here.
//! 2. An endpoint of the environment counts where the URL has none, and is shown as if it had.

use std::path::PathBuf;

use super::super::address::Address;
use super::super::address::s3::Endpoint;
use super::{absolute, set_once, size};

/// Bytes of a part unless it is said otherwise.
const PART_BYTES: u64 = 16 << 20;
/// S3 takes no smaller part but for the last one.
const PART_BYTES_MIN: u64 = 5 << 20;
/// And no larger one.
const PART_BYTES_MAX: u64 = 5 << 30;

/// The variables that say where S3 is and who we are to it.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "HOME",
];

/// What a bucket's tier is told besides its URL.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::tier) struct S3Settings {
    /// `None` if the endpoint decides.
    pub(in crate::tier) is_path_style: Option<bool>,
    pub(in crate::tier) is_anonymous: bool,
    pub(in crate::tier) profile: Option<String>,
    pub(in crate::tier) credentials_file: Option<PathBuf>,
    pub(in crate::tier) storage_class: Option<String>,
    pub(in crate::tier) encryption: Option<String>,
    pub(in crate::tier) encryption_key: Option<String>,
    /// From this size on a body is sent in parts of it.
    pub(in crate::tier) part_bytes: u64,
    /// Variables that are set, in the order of [`VARIABLES`].
    environment: Vec<(&'static str, String)>,
}

impl S3Settings {
    /// Those of an address without attributes.
    ///
    /// # Errors
    /// If the environment names an endpoint that is none.
    pub(super) fn new(
        address: &mut Address,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<S3Settings, String> {
        let value = |name| variable(name).filter(|value: &String| !value.is_empty());
        let set = |name: &&'static str| Some((*name, value(name)?));
        let settings = S3Settings {
            is_path_style: None,
            is_anonymous: false,
            profile: None,
            credentials_file: None,
            storage_class: None,
            encryption: None,
            encryption_key: None,
            part_bytes: PART_BYTES,
            environment: VARIABLES.iter().filter_map(set).collect(),
        };
        if let Address::S3 { endpoint: endpoint @ None, .. } = address {
            for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
                let Some(text) = settings.variable(name) else { continue };
                let parsed = Endpoint::parse(text).map_err(|error| format!("{name}: {error}"))?;
                *endpoint = Some(parsed);
                break;
            }
        }
        Ok(settings)
    }

    /// A variable of AWS, or HOME, unless it is empty.
    pub(in crate::tier) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Takes an attribute; whether it is one of these.
    pub(super) fn set(&mut self, name: &str, text: String) -> Result<bool, String> {
        match name {
            "path-style" => set_once(&mut self.is_path_style, true, TWO_STYLES)?,
            "host-style" => set_once(&mut self.is_path_style, false, TWO_STYLES)?,
            "anonymous" => self.is_anonymous = true,
            "profile" => self.profile = Some(of_bytes(text, |byte| byte.is_ascii_graphic())?),
            "credentials-file" => self.credentials_file = Some(absolute(text)?),
            "storage-class" => {
                let is_of_class = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
                self.storage_class = Some(of_bytes(text, is_of_class)?);
            }
            "sse" => match text.as_str() {
                "AES256" | "aws:kms" | "aws:kms:dsse" => self.encryption = Some(text),
                _ => return Err("is none of AES256, aws:kms, aws:kms:dsse".to_owned()),
            },
            "sse-kms-key-id" => {
                self.encryption_key = Some(of_bytes(text, |byte| byte.is_ascii_graphic())?);
            }
            "multipart-bytes" => {
                let bytes = size(&text).filter(|n| (PART_BYTES_MIN..=PART_BYTES_MAX).contains(n));
                self.part_bytes = bytes.ok_or("is no size from 5Mi to 5Gi")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What attributes demand of each other.
    pub(super) fn check(&self) -> Option<&'static str> {
        let is_named = self.profile.is_some() || self.credentials_file.is_some();
        let has_kms = self.encryption.as_ref().is_some_and(|sse| sse.starts_with("aws:kms"));
        if self.is_anonymous && is_named {
            return Some("\"anonymous\" needs no credentials");
        }
        if self.encryption_key.is_some() && !has_kms {
            return Some("\"sse-kms-key-id\" is for sse=aws:kms and sse=aws:kms:dsse");
        }
        None
    }

    /// Hands over everything that tells two tiers apart.
    pub(super) fn identify(&self, mut field: impl FnMut(&str)) {
        field("s3");
        field(&format!("{:?} {} {}", self.is_path_style, self.is_anonymous, self.part_bytes));
        let file = self.credentials_file.as_ref().map(|path| path.display().to_string());
        for text in
            [&self.profile, &file, &self.storage_class, &self.encryption, &self.encryption_key]
        {
            field(&text.as_ref().map_or(String::new(), |text| format!("is {text}")));
        }
        for (name, value) in &self.environment {
            field(name);
            field(value);
        }
    }
}

const TWO_STYLES: &str = "is a second style";

/// A value of such bytes that stands in headers and files.
fn of_bytes(text: String, is_good: impl Fn(u8) -> bool) -> Result<String, String> {
    let is_short = (1..=255).contains(&text.len());
    if is_short && text.bytes().all(is_good) { Ok(text) } else { Err("is none".to_owned()) }
}

#[cfg(test)]
mod tests;
