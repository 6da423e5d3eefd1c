//! A tier of HTTP, as a rule a web server with DAV.
//!
//! 1. A body is `PATH/PREFIX<2 digits>/<62 digits>` of its key, below the URL's path.
//! 2. GET, HEAD, PUT and DELETE, on connections that are kept. 404 and 410 mean that there is
//!    none.
//! 3. A PUT that meets 409 (or 404, or the 500 of nginx) makes the collections with MKCOL, and is
//!    sent once more.
//! 4. GET and HEAD follow redirects, at most [`REDIRECTS_MAX`], within their scheme. Credentials
//!    and headers of the settings go to no other origin.
//! 5. A body is no longer than the limit: that is looked at in Content-Length first, and while it
//!    is read in any case. One that ends before its length is an error.
//! 6. No proxy of the environment is used: the URL says where the tier is.
//! 7. A kept connection may be closed by the server while a request is on its way. Where that can
//!    be the reason, the request is sent once more.

mod location;
mod login;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_engine::Key;
use ureq::http::{Method, Request, Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body};

use super::address::{Address, http_port};
use super::deadline::Deadline;
use super::open::too_large;
use super::tls;
use super::{Tier, TierError, TierErrorKind, TierSettings, Usage};
use location::Origin;

/// Redirects of one call.
const REDIRECTS_MAX: usize = 3;
/// Connections that are kept; more than there are concurrent calls as a rule.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long they are kept. Servers close them after 5 to 75 seconds.
const IDLE_AGE_MAX: Duration = Duration::from_secs(60);
/// Headers of a reply.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// From this size on a server is asked whether it would take the body, so that one that does not
/// can say why: while a body is being sent it can only close the connection. nginx takes 1 MiB
/// unless it is told otherwise.
const EXPECT_BYTES_MIN: usize = 512 << 10;
/// How long its answer is waited for; the body is sent then in any case.
const EXPECT_TIMEOUT: Duration = Duration::from_millis(250);
/// What a server says besides bodies is read to this length, so that its connection can be kept.
const REMARK_BYTES_MAX: u64 = 64 << 10;

/// The client.
pub(super) struct HttpTier {
    name: String,
    origin: Origin,
    /// The path of the URL, without a slash at its end.
    path: String,
    prefix: String,
    bytes_max: u64,
    timeout: Duration,
    /// Credentials and headers of the settings.
    headers: Vec<(String, String)>,
    agent: Agent,
    /// Whether a call has succeeded since a connection was found closed.
    may_be_kept: AtomicBool,
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
        let mut tls_config =
            TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
        if *is_tls {
            let authorities = tls::authorities(&name, settings.ca_file.as_ref())?;
            let authorities: Vec<_> =
                authorities.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
            tls_config = tls_config.root_certs(RootCerts::new_with_certs(&authorities));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_await_100(Some(EXPECT_TIMEOUT))
            .max_response_header_size(HEADER_BYTES_MAX)
            .max_idle_connections(IDLE_CONNECTIONS_MAX)
            .max_idle_connections_per_host(IDLE_CONNECTIONS_MAX)
            .max_idle_age(IDLE_AGE_MAX)
            .tls_config(tls_config.build());
        Ok(HttpTier {
            origin: Origin {
                is_tls: *is_tls,
                authority: node.display_unless(http_port(*is_tls)).to_ascii_lowercase(),
            },
            path: path.clone(),
            prefix: settings.prefix.clone(),
            bytes_max: settings.bytes_max,
            timeout: settings.timeout,
            headers,
            agent: config.build().new_agent(),
            may_be_kept: AtomicBool::new(false),
            name,
        })
    }

    fn path(&self, key: &Key) -> String {
        let digits = key.to_string();
        let (folder, file) = digits.split_at(2);
        format!("{}/{}{folder}/{file}", self.path, self.prefix)
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
        let mut result = self.send_once(method, origin, path, body, deadline)?;
        let may_be_kept = self.may_be_kept.load(Ordering::Relaxed);
        if matches!(&result, Err(error) if may_be_kept && is_closed(error)) {
            self.may_be_kept.store(false, Ordering::Relaxed);
            result = self.send_once(method, origin, path, body, deadline)?;
        }
        let response = result.map_err(|error| self.failed(&error, false))?;
        self.may_be_kept.store(true, Ordering::Relaxed);
        Ok(response)
    }

    fn send_once(
        &self,
        method: &Method,
        origin: &Origin,
        path: &str,
        body: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<Result<Response<Body>, ureq::Error>, TierError> {
        let mut request = Request::builder().method(method).uri(origin.url(path));
        if *origin == self.origin {
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
        }
        if method == Method::PUT {
            request = request.header(header::CONTENT_TYPE, "application/octet-stream");
            if body.is_some_and(|body| body.len() >= EXPECT_BYTES_MIN) {
                request = request.header(header::EXPECT, "100-continue");
            }
        }
        let left = deadline.left().map_err(|_| self.timed_out())?;
        let odd = |_| self.error(TierErrorKind::Protocol, "the request cannot be written as HTTP");
        Ok(match body {
            Some(body) => self.run(request.body(body).map_err(odd)?, left),
            None => self.run(request.body(()).map_err(odd)?, left),
        })
    }

    fn run<B: AsSendBody>(
        &self,
        request: Request<B>,
        left: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        self.agent.run(self.agent.configure_request(request).timeout_global(Some(left)).build())
    }

    /// GET or HEAD, wherever that leads.
    fn look(
        &self,
        method: &Method,
        key: &Key,
        deadline: Deadline,
    ) -> Result<Response<Body>, TierError> {
        let (mut origin, mut path) = (self.origin.clone(), self.path(key));
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(method, &origin, &path, None, deadline)?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let target = response.headers().get(header::LOCATION);
            let target = target.and_then(|value| value.to_str().ok());
            (origin, path) = target
                .and_then(|to| location::resolve(&origin, &path, to))
                .ok_or_else(|| self.error(TierErrorKind::Protocol, "a redirect leads nowhere"))?;
            self.finish(response);
        }
        Err(self.error(TierErrorKind::Protocol, "there are too many redirects"))
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
        self.finish(response);
        Ok(status)
    }

    /// Makes the collections that a path needs: the last one, and if that does not do all of them.
    fn make_collections(&self, path: &str, deadline: Deadline) -> Result<(), TierError> {
        let make = Method::from_bytes(b"MKCOL")
            .map_err(|_| self.error(TierErrorKind::Protocol, "there is no MKCOL"))?;
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

    fn read(&self, response: Response<Body>) -> Result<Vec<u8>, TierError> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|text| text.to_str().ok()?.parse().ok());
        if let Some(bytes) = length.filter(|bytes| *bytes > self.bytes_max) {
            return Err(too_large(&self.name, bytes, self.bytes_max));
        }
        if response.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(self.error(TierErrorKind::Protocol, "its reply is encoded, unasked"));
        }
        let body = response.into_body().into_with_config().limit(self.bytes_max).read_to_vec();
        let body = body.map_err(|error| self.failed(&error, true))?;
        if length.is_some_and(|bytes| bytes != body.len() as u64) {
            return Err(self.error(TierErrorKind::Protocol, "its reply ends too early"));
        }
        Ok(body)
    }

    /// Reads what nobody wants to know, so that the connection can be used again.
    fn finish(&self, response: Response<Body>) {
        let _ = response.into_body().into_with_config().limit(REMARK_BYTES_MAX).read_to_vec();
    }

    fn error(&self, kind: TierErrorKind, text: &str) -> TierError {
        TierError::new(kind, format!("{}: {text}", self.name))
    }

    fn timed_out(&self) -> TierError {
        self.error(TierErrorKind::TimedOut, "the time is over")
    }

    /// What went wrong below HTTP, or with it. Only texts of the system are repeated: the others
    /// may have a URL, and a redirect may have put a token there.
    fn failed(&self, error: &ureq::Error, has_begun: bool) -> TierError {
        use ureq::Error;
        match error {
            Error::Timeout(_) => self.timed_out(),
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => self.timed_out(),
            Error::BodyExceedsLimit(_) => {
                let text = format!("a body is above the limit of {}", self.bytes_max);
                self.error(TierErrorKind::TooLarge, &text)
            }
            Error::HostNotFound => self.error(TierErrorKind::Unreachable, "no such host"),
            Error::ConnectionFailed => self.error(TierErrorKind::Unreachable, "no connection"),
            Error::Tls(_) | Error::Pem(_) | Error::Rustls(_) => {
                self.error(TierErrorKind::Protocol, &format!("TLS: {error}"))
            }
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.error(TierErrorKind::Protocol, &format!("TLS: {error}"))
            }
            Error::Io(_) if has_begun => {
                self.error(TierErrorKind::Protocol, "the connection ended within a reply")
            }
            Error::Io(error) => self.error(TierErrorKind::Unreachable, &error.to_string()),
            _ => self.error(TierErrorKind::Protocol, "its reply is none of HTTP"),
        }
    }

    /// A status that is no success.
    fn refused(&self, status: StatusCode, is_write: bool) -> TierError {
        let kind = match status.as_u16() {
            401 | 403 | 407 => TierErrorKind::Denied,
            405 | 501 if is_write => TierErrorKind::Denied,
            413 | 507 => TierErrorKind::Full,
            408 | 504 => TierErrorKind::TimedOut,
            429 | 500 | 502 | 503 => TierErrorKind::Unreachable,
            _ => TierErrorKind::Protocol,
        };
        self.error(kind, &format!("the server says {}", status.as_u16()))
    }
}

impl Tier for HttpTier {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let response = self.look(&Method::GET, key, Deadline::after(self.timeout))?;
        match response.status() {
            StatusCode::OK => self.read(response).map(Some),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                self.finish(response);
                Ok(None)
            }
            status => {
                self.finish(response);
                Err(self.refused(status, false))
            }
        }
    }

    fn exists(&self, key: &Key) -> Result<bool, TierError> {
        let response = self.look(&Method::HEAD, key, Deadline::after(self.timeout))?;
        let status = response.status();
        self.finish(response);
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            status => Err(self.refused(status, false)),
        }
    }

    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError> {
        let (path, deadline) = (self.path(key), Deadline::after(self.timeout));
        let mut status = self.change(&Method::PUT, &path, Some(body), deadline)?;
        if may_lack_collection(status) {
            self.make_collections(&path, deadline)?;
            status = self.change(&Method::PUT, &path, Some(body), deadline)?;
        }
        if status.is_success() { Ok(()) } else { Err(self.refused(status, true)) }
    }

    fn remove(&self, key: &Key) -> Result<bool, TierError> {
        let deadline = Deadline::after(self.timeout);
        match self.change(&Method::DELETE, &self.path(key), None, deadline)? {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(self.refused(status, true)),
        }
    }

    fn usage(&self) -> Result<Usage, TierError> {
        // HTTP has no word for it.
        Ok(Usage::default())
    }
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

/// Whether a request failed as one does on a connection that the server has closed.
fn is_closed(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    ))
}
