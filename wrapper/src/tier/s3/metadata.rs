//! Credentials that the machine gives: of a container, or of an instance (IMDSv2).
//!
//! 1. A container's endpoint is what its variables say: a path at the usual address, or a URL,
//!    which without TLS leads to this machine or to the link-local addresses of AWS only.
//! 2. An instance is asked for a token with PUT, and with that for the name of its role and for the
//!    role's credentials. Version 1, which needs no token, is not spoken.
//! 3. Both answer in JSON. What they say otherwise is never repeated.
//! 4. Where nobody answers, the tier cannot be reached: it is left alone for a time, as if the
//!    bucket itself did not answer.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;
use ureq::http::Method;

use super::super::address::s3::Endpoint;
use super::super::deadline::Deadline;
use super::super::open::small_file;
use super::super::settings::S3Settings;
use super::super::web::{Call, Web};
use super::super::{TierError, TierErrorKind, TierSettings};
use super::credentials::Credentials;

/// Where containers of ECS ask.
const CONTAINERS: &str = "http://169.254.170.2";
/// Where instances ask.
const INSTANCES: &str = "http://169.254.169.254";
/// Hosts that may be asked without TLS: this machine, and those of ECS and EKS.
const HOSTS: &[&str] =
    &["localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// How long a token is good, which is used at once.
const TOKEN_SECS: &str = "60";
/// Bytes of a role's name.
const ROLE_BYTES_MAX: usize = 128;

/// Where credentials can be asked for.
pub(super) enum Place {
    Container { url: String, token: Token },
    Instance { url: String },
}

/// What a container says to be believed.
pub(super) enum Token {
    None,
    Text(String),
    File(PathBuf),
}

/// The client for such a place.
pub(super) struct Service {
    place: Place,
    web: Web,
    name: String,
}

impl Place {
    /// The place that the environment names, else that of instances. `None` if it is forbidden.
    ///
    /// # Errors
    /// Which variable names none.
    pub(super) fn of(s3: &S3Settings) -> Result<Option<Place>, String> {
        let file = s3.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let token = match (file, s3.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
            (Some(path), _) => Token::File(PathBuf::from(path)),
            (None, Some(text)) => Token::Text(text.to_owned()),
            (None, None) => Token::None,
        };
        if let Some(path) = s3.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            let url = format!("{CONTAINERS}/{}", path.trim_start_matches('/'));
            return Ok(Some(Place::Container { url, token }));
        }
        if let Some(url) = s3.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let place = url.split('?').next().unwrap_or_default();
            let is_near = |it: Endpoint| it.is_tls || HOSTS.contains(&it.node.host.as_str());
            if !url.starts_with("http") || !Endpoint::parse(place).is_ok_and(is_near) {
                let variable = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
                return Err(format!("{variable} is no place to ask for credentials"));
            }
            return Ok(Some(Place::Container { url: url.to_owned(), token }));
        }
        let disabled = s3.variable("AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let url = match s3.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            None => INSTANCES.to_owned(),
            Some(text) => match Endpoint::parse(text) {
                Ok(endpoint) if text.starts_with("http") => endpoint.display(),
                _ => return Err("AWS_EC2_METADATA_SERVICE_ENDPOINT is no http://HOST".to_owned()),
            },
        };
        Ok(Some(Place::Instance { url }))
    }

    fn url(&self) -> &str {
        match self {
            Place::Container { url, .. } | Place::Instance { url } => url,
        }
    }
}

impl Service {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If the authorities for TLS cannot be read.
    pub(super) fn new(settings: &TierSettings, place: Place) -> Result<Service, TierError> {
        let web = Web::new(settings, place.url().starts_with("https"))?;
        Ok(Service { place, web, name: settings.display() })
    }

    /// Asks for the credentials of now.
    pub(super) fn ask(&self, deadline: Deadline) -> Result<Credentials, TierError> {
        let text = match &self.place {
            Place::Container { url, token } => {
                let token = match token {
                    Token::None => None,
                    Token::Text(text) => Some(text.clone()),
                    Token::File(path) => Some(small_file(&self.name, path)?.trim().to_owned()),
                };
                let header = token.map(|token| ("Authorization".to_owned(), token));
                let headers: Vec<_> = header.into_iter().collect();
                self.say(&Method::GET, url, &headers, deadline)?
            }
            Place::Instance { url } => self.of_instance(url, deadline)?,
        };
        read(&text).ok_or_else(|| self.failed("has no credentials for us"))
    }

    fn of_instance(&self, url: &str, deadline: Deadline) -> Result<String, TierError> {
        let header = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let life = header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECS);
        let token = self.say(&Method::PUT, &format!("{url}/latest/api/token"), &life, deadline)?;
        let token = header("X-aws-ec2-metadata-token", token.trim());
        let roles = format!("{url}/latest/meta-data/iam/security-credentials/");
        let role = self.say(&Method::GET, &roles, &token, deadline)?;
        let role = role.lines().next().unwrap_or_default().trim();
        let is_of_role = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte);
        if role.is_empty() || role.len() > ROLE_BYTES_MAX || !role.bytes().all(is_of_role) {
            return Err(self.failed("has no role"));
        }
        self.say(&Method::GET, &format!("{roles}{role}"), &token, deadline)
    }

    fn say(
        &self,
        method: &Method,
        url: &str,
        headers: &[(String, String)],
        deadline: Deadline,
    ) -> Result<String, TierError> {
        let body: Option<&[u8]> = (method == Method::PUT).then_some(&[]);
        let response = self.web.send(&Call { method, url, headers, body }, deadline);
        let response = response.map_err(|_| self.failed("does not answer"))?;
        if !response.status().is_success() {
            return Err(self.failed(&format!("says {}", response.status().as_u16())));
        }
        self.web.remark(response).ok_or_else(|| self.failed("does not answer"))
    }

    fn failed(&self, what: &str) -> TierError {
        let who = match self.place {
            Place::Container { .. } => "the endpoint of this container",
            Place::Instance { .. } => "the service of this instance",
        };
        let text = format!("{}: there are no credentials: {who} {what}", self.name);
        TierError::new(TierErrorKind::Unreachable, text)
    }
}

/// Credentials as containers and instances write them.
fn read(text: &str) -> Option<Credentials> {
    let value: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| {
        let text = value.get(name)?.as_str().filter(|text| !text.is_empty())?;
        Some(text.to_owned())
    };
    let expires = field("Expiration").and_then(|text| text.parse::<Timestamp>().ok());
    Some(Credentials {
        id: field("AccessKeyId")?,
        secret: field("SecretAccessKey")?,
        token: field("Token"),
        expires,
    })
}
