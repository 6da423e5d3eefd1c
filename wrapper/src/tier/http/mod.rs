//! A tier of HTTP, as a rule a web server with DAV.
//!
//! 1. A body is `PATH/PREFIX<2 digits>/<62 digits>` of its key, below the URL's path.
//! 2. GET, HEAD, PUT and DELETE, on connections that are kept. 404 and 410 mean that there is
//!    none.
//! 3. A PUT that meets 409 (or 404, or the 500 of nginx) makes the collections with MKCOL, and is
//!    sent once more.
//! 4. GET and HEAD follow redirects, at most [`REDIRECTS_MAX`], within their scheme. Credentials
//!    and headers of the settings go to no other origin.
//! 5. What every tier over HTTP promises of its requests and replies stands in [`web`](super::web).

mod location;
mod login;
mod objects;

use std::time::Duration;

use larder_engine::Key;
use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

use super::address::{Address, http_port};
use super::deadline::Deadline;
use super::web::{Call, Web};
use super::{Objects, Tier, TierError, TierErrorKind, TierSettings, Usage};
use location::{Origin, percent_encode_path};

/// Redirects of one call.
const REDIRECTS_MAX: usize = 3;

/// The client.
pub(super) struct HttpTier {
    web: Web,
    origin: Origin,
    /// The path of the URL, without a slash at its end.
    path: String,
    prefix: String,
    timeout: Duration,
    /// Credentials and headers of the settings.
    headers: Vec<(String, String)>,
}

impl HttpTier {
    /// The client of a tier.
    ///
    /// # Errors
    /// If a file that the settings name cannot be used.
    pub(super) fn new(settings: &TierSettings) -> Result<HttpTier, TierError> {
        let name = settings.display();
        let Address::Http { node, is_tls, path } = &settings.address else {
            let text = format!("{name}: is no tier of HTTP");
            return Err(TierError::new(TierErrorKind::Protocol, text));
        };
        let mut headers = settings.headers.clone();
        let login = login::authorization(&name, settings, &node.host)?;
        headers.extend(login.map(|value| ("Authorization".to_owned(), value)));
        Ok(HttpTier {
            web: Web::new(settings, *is_tls)?,
            origin: Origin {
                is_tls: *is_tls,
                authority: node.display_unless(http_port(*is_tls)).to_ascii_lowercase(),
            },
            path: path.clone(),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            headers,
        })
    }

    /// The path of a name.
    fn path(&self, name: &str) -> String {
        format!("{}/{}{}", self.path, self.prefix, percent_encode_path(name))
    }

    /// Sends a request to an origin and returns the head of the reply.
    fn send(
        &self,
        method: &Method,
        origin: &Origin,
        path: &str,
        body: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<Response<Body>, TierError> {
        let is_ours = *origin == self.origin;
        let mut headers = if is_ours { self.headers.clone() } else { Vec::new() };
        if method == Method::PUT {
            headers.push(("Content-Type".to_owned(), "application/octet-stream".to_owned()));
        }
        let call = Call { method, url: &origin.url(path), headers: &headers, body };
        self.web.send(&call, deadline)
    }

    /// GET or HEAD, wherever that leads.
    fn look(
        &self,
        method: &Method,
        name: &str,
        deadline: Deadline,
    ) -> Result<Response<Body>, TierError> {
        let (mut origin, mut path) = (self.origin.clone(), self.path(name));
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(method, &origin, &path, None, deadline)?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let target = response.headers().get(header::LOCATION);
            let target = target.and_then(|value| value.to_str().ok());
            (origin, path) =
                target.and_then(|to| location::resolve(&origin, &path, to)).ok_or_else(|| {
                    self.web.error(TierErrorKind::Protocol, "a redirect leads nowhere")
                })?;
            self.web.finish(response);
        }
        Err(self.web.error(TierErrorKind::Protocol, "there are too many redirects"))
    }

    /// Sends a request that changes something.
    fn change(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<StatusCode, TierError> {
        let response = self.send(method, &self.origin, path, body, deadline)?;
        let status = response.status();
        self.web.finish(response);
        Ok(status)
    }

    /// Makes the collections that a path needs: the last one, and if that does not do all of them.
    fn make_collections(&self, path: &str, deadline: Deadline) -> Result<(), TierError> {
        let make = Method::from_bytes(b"MKCOL")
            .map_err(|_| self.web.error(TierErrorKind::Protocol, "there is no MKCOL"))?;
        let ends: Vec<usize> =
            path.match_indices('/').map(|(index, _)| index + 1).filter(|end| *end > 1).collect();
        let Some(last) = ends.last() else { return Ok(()) };
        let status = self.change(&make, &path[..*last], None, deadline)?;
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
            for end in ends {
                // Those above may exist or be forbidden: the PUT behind this says what counts.
                self.change(&make, &path[..end], None, deadline)?;
            }
        }
        Ok(())
    }
}

impl Tier for HttpTier {
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
        let deadline = Deadline::after(self.timeout);
        match self.change(&Method::DELETE, &self.path(&name_of(key)), None, deadline)? {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(self.web.refused(status, true)),
        }
    }

    fn usage(&self) -> Result<Usage, TierError> {
        // HTTP has no word for it.
        Ok(Usage::default())
    }
}

/// What a key is called.
fn name_of(key: &Key) -> String {
    let digits = key.to_string();
    let (folder, file) = digits.split_at(2);
    format!("{folder}/{file}")
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether a PUT may have failed because its collection is missing. DAV has 409 for it.
fn may_lack_collection(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR
    )
}
