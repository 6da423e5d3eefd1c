//! The addresses of a server, looked up once in a while: ureq itself looks for them before every
//! request, on a connection that is kept too, each time in a new thread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::lock::lock;

/// How long addresses count, which is how long a server that cannot be reached is left alone: the
/// next attempt looks anew.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// A resolver that keeps what another one found.
#[derive(Debug)]
pub(super) struct Lookup<R> {
    resolver: R,
    kept: Duration,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    addresses: Vec<SocketAddr>,
}

impl<R> Lookup<R> {
    /// Asks `resolver` for what it has not been asked for so long.
    pub(super) fn new(resolver: R, kept: Duration) -> Lookup<R> {
        Lookup { resolver, kept, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        lock(&self.known)
    }
}

impl<R: Resolver> Resolver for Lookup<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // Where the port is missing, the scheme tells it.
        let name = format!("{:?} {:?}", uri.scheme(), uri.authority());
        if let Some(known) = self.known().get(&name).filter(|k| k.since.elapsed() < self.kept) {
            let mut addresses = self.empty();
            known.addresses.iter().for_each(|address| addresses.push(*address));
            return Ok(addresses);
        }
        let found = self.resolver.resolve(uri, config, timeout)?;
        let known = Known { since: Instant::now(), addresses: found.to_vec() };
        self.known().insert(name, known);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    /// Answers with the number of the question as the port.
    #[derive(Debug, Default, Clone)]
    struct Counting(Arc<AtomicU16>);

    impl Resolver for Counting {
        fn resolve(
            &self,
            uri: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            if uri.host() == Some("missing") {
                return Err(ureq::Error::HostNotFound);
            }
            let mut found = self.empty();
            found.push(SocketAddr::from(([127, 0, 0, 1], count)));
            Ok(found)
        }
    }

    fn ask(lookup: &Lookup<Counting>, uri: &str) -> Option<u16> {
        let timeout = NextTimeout::default();
        let found = lookup.resolve(&uri.parse().unwrap(), &Config::default(), timeout).ok()?;
        assert_eq!(found.len(), 1);
        Some(found[0].port())
    }

    #[test]
    fn what_was_found_counts_for_a_while() {
        let lookup = Lookup::new(Counting::default(), KEPT);
        assert_eq!(ask(&lookup, "http://here:1/a"), Some(1));
        assert_eq!(ask(&lookup, "http://here:1/b"), Some(1));
        // Another port, host or scheme is another server.
        assert_eq!(ask(&lookup, "http://here:2/b"), Some(2));
        assert_eq!(ask(&lookup, "http://there:1/b"), Some(3));
        assert_eq!(ask(&lookup, "https://here:1/b"), Some(4));
        assert_eq!(ask(&lookup, "http://here:1/c"), Some(1));
        // What failed is asked for again.
        assert_eq!(ask(&lookup, "http://missing/"), None);
        assert_eq!(ask(&lookup, "http://missing/"), None);
        assert_eq!(lookup.resolver.0.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn what_was_found_long_ago_is_looked_for_anew() {
        let lookup = Lookup::new(Counting::default(), Duration::ZERO);
        assert_eq!(ask(&lookup, "http://here:1/a"), Some(1));
        assert_eq!(ask(&lookup, "http://here:1/a"), Some(2));
    }
}
