//! Where a redirect leads, and how a name stands in a URL.

/// Scheme, host and port: credentials are for one of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    /// Host and port as they stand in a URL, in small letters, without a port that goes without
    /// saying.
    pub(super) authority: String,
}

impl Origin {
    /// The URL of a path, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.is_tls { "https" } else { "http" }, self.authority)
    }
}

/// The origin and path that a Location means, seen from a path of an origin. `None` for what is
/// none, has a user in it, or has another scheme.
pub(super) fn resolve(from: &Origin, path: &str, location: &str) -> Option<(Origin, String)> {
    let location = location.split('#').next().unwrap_or_default();
    let lower = location.to_ascii_lowercase();
    let (is_tls, rest) = if lower.starts_with("https://") {
        (true, &location["https://".len()..])
    } else if lower.starts_with("http://") {
        (false, &location["http://".len()..])
    } else if let Some(rest) = location.strip_prefix("//") {
        (from.is_tls, rest)
    } else if location.starts_with('/') {
        return Some((from.clone(), location.to_owned()));
    } else if location.is_empty() || location.split(['/', '?']).next()?.contains(':') {
        return None;
    } else {
        let path = path.split('?').next().unwrap_or_default();
        let (folder, _) = path.rsplit_once('/')?;
        return Some((from.clone(), format!("{folder}/{location}")));
    };
    if from.is_tls != is_tls {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let usual = if is_tls { ":443" } else { ":80" };
    let authority = authority.strip_suffix(usual).unwrap_or(authority).to_ascii_lowercase();
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((Origin { is_tls, authority }, path))
}

/// What a path of plain characters is in a URL.
pub(super) fn percent_encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'-' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(is_tls: bool, location: &str) -> Option<String> {
        let from = Origin { is_tls, authority: "host:81".to_owned() };
        resolve(&from, "/a/b?c/d", location).map(|(origin, path)| origin.url(&path))
    }

    #[test]
    fn a_name_stands_in_a_url_with_its_slashes() {
        assert_eq!(percent_encode_path("a/b-._~9"), "a/b-._~9");
        assert_eq!(percent_encode_path("a b?%#é\n"), "a%20b%3F%25%23%C3%A9%0A");
    }

    #[test]
    fn a_location_is_seen_from_where_it_was_said() {
        let plain = [
            ("/x", "http://host:81/x"),
            ("x?y", "http://host:81/a/x?y"),
            ("//Other/x#part", "http://other/x"),
            ("http://other:80", "http://other/"),
        ];
        for (location, expected) in plain {
            assert_eq!(led(false, location).as_deref(), Some(expected), "{location}");
        }
        let encrypted = [
            ("//h/x", "https://h/x"),
            ("HTTPS://other:443?q", "https://other/?q"),
            ("https://[::1]:8/x", "https://[::1]:8/x"),
        ];
        for (location, expected) in encrypted {
            assert_eq!(led(true, location).as_deref(), Some(expected), "{location}");
        }
        for location in ["", "#x", "ftp://h/x", "javascript:x", "http://u:p@h/x", "http://", "//"] {
            assert_eq!(led(false, location), None, "{location}");
        }
        assert_eq!(led(true, "http://host:81/x"), None, "TLS is not left");
        assert_eq!(led(false, "https://host:81/x"), None, "whoever wants TLS says so in the URL");
    }
}
