//! Who we are to S3.
//!
//! 1. Asked are, in this order: the variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
//!    `AWS_SESSION_TOKEN`; the profile of the files; the endpoint of a container; the metadata of
//!    the instance. Where attributes name a profile or a file, only that counts. Without any of
//!    them every call fails: nobody reads or writes without a name unless `anonymous` says so.
//! 2. What ends is asked for again five minutes before, at most every [`ASK_SECS`]. While it is
//!    still good, nothing fails because there is nothing newer yet.
//! 3. What a server no longer believes is looked up again, and used if it is another one.
//! 4. Nothing here can be shown: there is no `Debug`.
//! 5. Roles, tokens of a web identity, single sign-on and processes that print credentials are not
//!    known; the tools of AWS put what these give into the variables.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::super::address::s3::checked_region;
use super::super::deadline::Deadline;
use super::super::open::small_file;
use super::super::settings::S3Settings;
use super::super::{TierError, TierErrorKind, TierSettings};
use super::metadata::{Place, Service};
use super::profile::Profile;
use crate::lock::lock;

/// How long before their end others are asked for.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// Those that end soon are not asked for more often.
const ASK_SECS: u64 = 30;

/// A key, its secret, and for some a token and an end.
#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
    /// `None` for those that do not end by themselves.
    pub(super) expires: Option<Timestamp>,
}

/// Where credentials come from, and the last ones.
pub(super) struct Keyring {
    name: String,
    s3: S3Settings,
    service: Option<Service>,
    known: Mutex<Option<Known>>,
}

/// The last credentials, and when they were asked for.
pub(super) struct Known {
    pub(super) credentials: Arc<Credentials>,
    pub(super) asked: Instant,
}

impl Keyring {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// If a variable names a place that cannot be asked.
    pub(super) fn new(settings: &TierSettings, s3: &S3Settings) -> Result<Keyring, TierError> {
        let name = settings.display();
        let place = Place::of(s3)
            .map_err(|text| TierError::new(TierErrorKind::Denied, format!("{name}: {text}")))?;
        let service = place.map(|place| Service::new(settings, place)).transpose()?;
        Ok(Keyring { name, s3: s3.clone(), service, known: Mutex::default() })
    }

    /// What the environment or the profile says of the region.
    pub(super) fn region(&self) -> Result<Option<String>, TierError> {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let region = match variables.into_iter().find_map(|name| self.s3.variable(name)) {
            Some(region) => Some(region.to_owned()),
            None => self.profile()?.region,
        };
        region.map(checked_region).transpose().map_err(|text| self.denied(&text))
    }

    /// The credentials of now; `None` for nobody.
    pub(super) fn credentials(
        &self,
        deadline: Deadline,
    ) -> Result<Option<Arc<Credentials>>, TierError> {
        if self.s3.is_anonymous {
            return Ok(None);
        }
        let known = self.known().as_ref().and_then(Known::good);
        let credentials = match known {
            Some((credentials, true)) => credentials,
            Some((credentials, false)) => match self.look_up(deadline) {
                Ok(newer) => self.keep(newer),
                Err(_) => credentials,
            },
            None => self.keep(self.look_up(deadline)?),
        };
        Ok(Some(credentials))
    }

    /// Others than these, if there are any.
    pub(super) fn renewed(
        &self,
        old: &Credentials,
        deadline: Deadline,
    ) -> Option<Arc<Credentials>> {
        let newer = self.look_up(deadline).ok()?;
        (newer != *old).then(|| self.keep(newer))
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        lock(&self.known)
    }

    fn keep(&self, credentials: Credentials) -> Arc<Credentials> {
        let credentials = Arc::new(credentials);
        let known = Known { credentials: Arc::clone(&credentials), asked: Instant::now() };
        *self.known() = Some(known);
        credentials
    }

    fn look_up(&self, deadline: Deadline) -> Result<Credentials, TierError> {
        let is_named = self.s3.profile.is_some() || self.s3.credentials_file.is_some();
        if !is_named && let Some(credentials) = self.of_variables()? {
            return Ok(credentials);
        }
        let profile = self.profile()?;
        let is_there = profile.is_there;
        if let Some(credentials) = profile.credentials() {
            return Ok(credentials);
        }
        if is_named || self.s3.variable("AWS_PROFILE").is_some() {
            return Err(self.denied(match is_there {
                true => "its profile has no access key (roles and single sign-on are not known)",
                false => "there is no such profile",
            }));
        }
        match &self.service {
            Some(service) => service.ask(deadline),
            None => Err(self.denied("there are no credentials, and it is not anonymous")),
        }
    }

    fn of_variables(&self) -> Result<Option<Credentials>, TierError> {
        let variable = |name: &str| self.s3.variable(name).map(str::to_owned);
        match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                let token = variable("AWS_SESSION_TOKEN");
                Ok(Some(Credentials { id, secret, token, expires: None }))
            }
            (None, None) => Ok(None),
            _ => Err(self.denied("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together")),
        }
    }

    fn profile(&self) -> Result<Profile, TierError> {
        let credentials = match &self.s3.credentials_file {
            Some(path) => small_file(&self.name, path)?,
            None => self.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")?,
        };
        let config = self.file("AWS_CONFIG_FILE", ".aws/config")?;
        let named = self.s3.profile.as_deref().or_else(|| self.s3.variable("AWS_PROFILE"));
        Ok(Profile::find(&credentials, &config, named.unwrap_or("default")))
    }

    /// The text of a file that a variable names, or that stands in the home directory; nothing
    /// if there is none.
    fn file(&self, variable: &str, usual: &str) -> Result<String, TierError> {
        let home = self.s3.variable("HOME").map(PathBuf::from);
        let path = match (self.s3.variable(variable), home) {
            (Some(path), home) => match (path.strip_prefix("~/"), home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(path),
            },
            (None, Some(home)) => home.join(usual),
            (None, None) => return Ok(String::new()),
        };
        if !path.is_absolute() {
            // The agent is somewhere else than whoever has started it.
            return Err(self.denied(&format!("{variable} is no absolute path")));
        }
        if fs::metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(String::new());
        }
        small_file(&self.name, &path)
    }

    fn denied(&self, text: &str) -> TierError {
        TierError::new(TierErrorKind::Denied, format!("{}: {text}", self.name))
    }
}

impl Known {
    /// The credentials if they are still good, and whether that is enough for now.
    pub(super) fn good(&self) -> Option<(Arc<Credentials>, bool)> {
        let credentials = Arc::clone(&self.credentials);
        let Some(expires) = credentials.expires else { return Some((credentials, true)) };
        let left = expires.duration_since(Timestamp::now());
        let was_just_asked = self.asked.elapsed().as_secs() < ASK_SECS;
        left.is_positive().then_some((credentials, left > EARLY || was_just_asked))
    }
}
