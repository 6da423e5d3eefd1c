//! What tiers of HTTP and S3 have in common: requests with a deadline, and replies with a limit.
//!
//! 1. Connections are kept. One may be closed by the server while a request is on its way: where
//!    that can be the reason, the request is sent once more.
//! 2. A body is no longer than the limit: that is looked at in Content-Length first, and while it
//!    is read in any case. One that ends before its length is an error.
//! 3. No redirect is followed, and no proxy of the environment is used.
//! 4. The addresses of a server are looked up every 30 seconds at most.
//! 5. No error has a URL in it, or what the server says: there may be a credential in either.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::{Method, Request, Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, AsSendBody, Body};

use super::deadline::Deadline;
use super::lookup::{self, Lookup};
use super::open::too_large;
use super::pages::PAGE_BYTES_MAX;
use super::socket::Sockets;
use super::tls;
use super::{TierError, TierErrorKind, TierSettings};

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

/// The client of one tier.
pub(super) struct Web {
    name: String,
    bytes_max: u64,
    agent: Agent,
    /// Whether a call has succeeded since a connection was found closed.
    may_be_kept: AtomicBool,
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: Option<&'a [u8]>,
}

impl Web {
    /// The client for a tier, which connects to nothing yet.
    ///
    /// # Errors
    /// If the file of authorities cannot be used.
    pub(super) fn new(settings: &TierSettings, is_tls: bool) -> Result<Web, TierError> {
        let name = settings.display();
        let mut tls_config =
            TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
        if is_tls {
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
        let sockets = ().chain(Sockets).chain(RustlsConnector::default());
        let lookup = Lookup::new(DefaultResolver::default(), lookup::KEPT);
        Ok(Web {
            bytes_max: settings.bytes_max,
            agent: Agent::with_parts(config.build(), sockets, lookup),
            may_be_kept: AtomicBool::new(false),
            name,
        })
    }

    /// Sends a request and returns the head of the reply.
    pub(super) fn send(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
    ) -> Result<Response<Body>, TierError> {
        self.try_send(call, deadline)?.map_err(|error| self.failed(&error, false))
    }

    /// The same, with what has failed as it is.
    ///
    /// # Errors
    /// If the request was not sent.
    pub(super) fn try_send(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
    ) -> Result<Result<Response<Body>, ureq::Error>, TierError> {
        let mut result = self.send_once(call, deadline)?;
        let may_be_kept = self.may_be_kept.load(Ordering::Relaxed);
        if matches!(&result, Err(error) if may_be_kept && is_closed(error)) {
            self.may_be_kept.store(false, Ordering::Relaxed);
            result = self.send_once(call, deadline)?;
        }
        if result.is_ok() {
            self.may_be_kept.store(true, Ordering::Relaxed);
        }
        Ok(result)
    }

    fn send_once(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
    ) -> Result<Result<Response<Body>, ureq::Error>, TierError> {
        let mut request = Request::builder().method(call.method).uri(call.url);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if call.body.is_some_and(|body| body.len() >= EXPECT_BYTES_MIN) {
            request = request.header(header::EXPECT, "100-continue");
        }
        let left = deadline.left().map_err(|_| self.timed_out())?;
        let odd = |_| self.error(TierErrorKind::Protocol, "the request cannot be written as HTTP");
        Ok(match call.body {
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

    /// The body of a reply.
    pub(super) fn read(&self, response: Response<Body>) -> Result<Vec<u8>, TierError> {
        self.read_up_to(response, self.bytes_max)
    }

    /// A page of a list.
    pub(super) fn read_page(&self, response: Response<Body>) -> Result<String, TierError> {
        let page = String::from_utf8(self.read_up_to(response, PAGE_BYTES_MAX)?);
        page.map_err(|_| self.error(TierErrorKind::Protocol, "its list is no UTF-8"))
    }

    fn read_up_to(&self, response: Response<Body>, bytes_max: u64) -> Result<Vec<u8>, TierError> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|text| text.to_str().ok()?.parse().ok());
        if let Some(bytes) = length.filter(|bytes| *bytes > bytes_max) {
            return Err(too_large(&self.name, bytes, bytes_max));
        }
        if response.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(self.error(TierErrorKind::Protocol, "its reply is encoded, unasked"));
        }
        let body = response.into_body().into_with_config().limit(bytes_max).read_to_vec();
        let body = body.map_err(|error| self.failed(&error, true))?;
        if length.is_some_and(|bytes| bytes != body.len() as u64) {
            return Err(self.error(TierErrorKind::Protocol, "its reply ends too early"));
        }
        Ok(body)
    }

    /// Reads what nobody wants to know, so that the connection can be used again.
    pub(super) fn finish(&self, response: Response<Body>) {
        let _ = response.into_body().into_with_config().limit(REMARK_BYTES_MAX).read_to_vec();
    }

    /// A short text of the server; `None` if it is cut off or too long.
    pub(super) fn remark(&self, response: Response<Body>) -> Option<String> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length: Option<usize> = length.and_then(|text| text.to_str().ok()?.parse().ok());
        let body = response.into_body().into_with_config().limit(REMARK_BYTES_MAX).read_to_vec();
        let body = body.ok().filter(|body| length.is_none_or(|bytes| bytes == body.len()))?;
        Some(String::from_utf8_lossy(&body).into_owned())
    }

    /// What errors call the tier.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn error(&self, kind: TierErrorKind, text: &str) -> TierError {
        TierError::new(kind, format!("{}: {text}", self.name))
    }

    fn timed_out(&self) -> TierError {
        self.error(TierErrorKind::TimedOut, "the time is over")
    }

    /// What went wrong below HTTP, or with it. Only texts of the system are repeated: the others
    /// may have a URL, and a redirect may have put a token there.
    pub(super) fn failed(&self, error: &ureq::Error, has_begun: bool) -> TierError {
        use ureq::Error;
        match error {
            Error::Timeout(_) => self.timed_out(),
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => self.timed_out(),
            Error::BodyExceedsLimit(bytes_max) => {
                let text = format!("a body is above the limit of {bytes_max}");
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
    pub(super) fn refused(&self, status: StatusCode, is_write: bool) -> TierError {
        let kind = kind_of(status, is_write);
        self.error(kind, &format!("the server says {}", status.as_u16()))
    }
}

/// What a status that is no success means.
pub(super) fn kind_of(status: StatusCode, is_write: bool) -> TierErrorKind {
    match status.as_u16() {
        401 | 403 | 407 => TierErrorKind::Denied,
        405 | 501 if is_write => TierErrorKind::Denied,
        413 | 507 => TierErrorKind::Full,
        408 | 504 => TierErrorKind::TimedOut,
        429 | 500 | 502 | 503 => TierErrorKind::Unreachable,
        _ => TierErrorKind::Protocol,
    }
}

/// Whether a request failed as one does on a connection that the server has closed.
pub(super) fn is_closed(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    ))
}
