//! ccache's `remote_storage`: what it names, as tiers of larder.
//!
//! 1. Places stand with blanks between them, each a URL and its attributes behind `|`.
//! 2. ccache's URLs are looser than larder's: `file:/DIRECTORY`, `redis+unix:/SOCKET`, and a single
//!    word before the `@` of Redis is a password.
//! 3. Attributes of how ccache keeps its files mean nothing here. What would change which server
//!    gets what, and larder has not, makes the place unusable.
//! 4. Whatever is wrong is told, never with a value, and the other places count. No compile fails.
//! 5. Keys have larder's own prefix, and what ccache itself has written there is never read.

use super::super::{Config, Setting};
use super::{Origin, Settings, find};
use crate::config::Origin as OwnOrigin;
use crate::tier::TierSettings;

/// The setting.
const KEY: &str = "remote_storage";
/// Before the keys in a directory, which a real ccache may use, too.
const FILE_PREFIX: &str = "larder/";

/// What becomes of an attribute.
enum Meaning {
    /// It has this name here.
    Is(&'static str),
    /// A switch of this name.
    Switch(&'static str),
    /// A header: name, `=`, value.
    Header,
    /// It changes nothing.
    Nothing,
    /// It is not applied, and the place is used.
    Told,
    /// Without it the place is another one.
    Needed,
}

const ATTRIBUTES: &[(&str, Meaning)] = &[
    ("bearer-token", Meaning::Is("bearer-token")),
    ("connect-timeout", Meaning::Is("connect-timeout")),
    ("header", Meaning::Header),
    ("keep-alive", Meaning::Nothing),
    ("layout", Meaning::Told),
    ("netrc", Meaning::Switch("netrc")),
    ("netrc-file", Meaning::Is("netrc")),
    ("operation-timeout", Meaning::Is("timeout")),
    ("read-only", Meaning::Switch("read-only")),
    ("shards", Meaning::Needed),
    ("umask", Meaning::Told),
    ("update-mtime", Meaning::Nothing),
];

impl Settings {
    /// Takes the places over, and tells what is not applied.
    pub(super) fn set_tiers(&self, config: &mut Config) {
        for name in ["remote_only", "reshare"] {
            if self.switch(name) {
                config.add_problem(format!("{name} is not applied"));
            }
        }
        let Some(text) = self.string(KEY) else { return };
        let Some(text) = text.to_str() else {
            config.add_problem(format!("{KEY} is not UTF-8; it is ignored"));
            return;
        };
        let mut tiers = Vec::new();
        for (index, word) in text.split_whitespace().enumerate() {
            let mut told = Vec::new();
            let tier = translated(word, &mut told).and_then(|text| TierSettings::parse(&text));
            let place = format!("place {} of {KEY}", index + 1);
            for name in told {
                config.add_problem(format!("{place}: {name} is not applied"));
            }
            match tier {
                Ok(tier) => tiers.push(tier),
                Err(why) => config.add_problem(format!("{place} cannot be used: {why}")),
            }
        }
        config.tiers = Setting { value: tiers, origin: self.origin_of_tiers() };
    }

    fn origin_of_tiers(&self) -> OwnOrigin {
        match find(KEY).map(|at| &self.values[at].1) {
            Some(Origin::File(path)) => OwnOrigin::File(path.clone()),
            Some(Origin::Default) | None => OwnOrigin::Default,
            Some(_) => OwnOrigin::Environment("CCACHE_REMOTE_STORAGE"),
        }
    }
}

/// A place as larder writes it. What is not applied is added to `told`.
fn translated(word: &str, told: &mut Vec<&'static str>) -> Result<String, String> {
    let mut parts = word.split('|');
    let mut text = url(parts.next().unwrap_or_default())?;
    if text.starts_with("file:") {
        text.push_str(&format!("|prefix={FILE_PREFIX}"));
    }
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (part, None),
        };
        let Some((name, meaning)) = ATTRIBUTES.iter().find(|(known, _)| *known == name) else {
            // It may be the rest of a password.
            told.push("an attribute that is not known");
            continue;
        };
        let needed = || value.ok_or_else(|| format!("\"{name}\" needs a value"));
        match meaning {
            Meaning::Is(own) => text.push_str(&format!("|{own}={}", needed()?)),
            Meaning::Switch(own) => match value {
                Some("false") => {}
                None | Some("" | "true") => text.push_str(&format!("|{own}")),
                Some(_) => return Err(format!("\"{name}\" is neither true nor false")),
            },
            Meaning::Header => {
                let (header, value) = needed()?.split_once('=').ok_or("a header has no =")?;
                text.push_str(&format!("|header={header}:{value}"));
            }
            Meaning::Nothing => {}
            Meaning::Told => told.push(name),
            Meaning::Needed => return Err(format!("larder has no \"{name}\"")),
        }
    }
    Ok(text)
}

/// A URL as larder writes it.
fn url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    match scheme {
        "file" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let path = path.strip_prefix("localhost").unwrap_or(path);
            Ok(format!("file://{path}"))
        }
        "redis" | "rediss" => Ok(format!("{scheme}://{}", with_login(after_slashes(rest)))),
        "redis+unix" => {
            let rest = with_login(after_slashes(rest));
            Ok(format!("redis+unix://{}", rest.replacen("localhost/", "/", 1)))
        }
        _ => Ok(text.to_owned()),
    }
}

fn after_slashes(rest: &str) -> &str {
    rest.strip_prefix("//").unwrap_or(rest)
}

/// Puts the colon before a login that is a password alone.
fn with_login(rest: &str) -> String {
    let authority = rest.find('/').unwrap_or(rest.len());
    match rest[..authority].rsplit_once('@') {
        Some((login, _)) if !login.contains(':') => format!(":{rest}"),
        _ => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> (Result<TierSettings, String>, Vec<&'static str>) {
        let mut told = Vec::new();
        let tier = translated(word, &mut told).and_then(|text| TierSettings::parse(&text));
        (tier, told)
    }

    #[test]
    fn the_forms_of_ccache_are_tiers() {
        for (word, tier) in [
            ("file:/a/b", "file:///a/b|prefix=larder/"),
            ("file:///a|umask=002|update-mtime=true", "file:///a|prefix=larder/"),
            ("file://localhost/a|read-only", "file:///a|prefix=larder/|read-only"),
            ("http://u:p@h/c|bearer-token=", "http://u:p@h/c|bearer-token="),
            ("http://h|header=A=b=c|keep-alive=false", "http://h|header=A:b=c"),
            ("https://h|netrc|read-only=false", "https://h|netrc"),
            ("redis://pw@h/3|connect-timeout=7", "redis://:pw@h/3|connect-timeout=7"),
            ("redis://u:pw@h|operation-timeout=9", "redis://u:pw@h|timeout=9"),
            ("redis+unix:/tmp/s?db=2", "redis+unix:///tmp/s?db=2"),
            ("redis+unix://pw@localhost/tmp/s", "redis+unix://:pw@/tmp/s"),
        ] {
            let mut told = Vec::new();
            assert_eq!(translated(word, &mut told).as_deref(), Ok(tier));
            if !word.contains("u:p@h/c") {
                TierSettings::parse(tier).unwrap_or_else(|error| panic!("{tier}: {error}"));
            }
        }
    }

    #[test]
    fn what_is_not_applied_is_told_and_what_would_change_the_place_is_refused() {
        let (tier, told) = of("redis://h|layout=flat|secret|umask=2");
        assert!(tier.is_ok());
        assert_eq!(told, ["layout", "an attribute that is not known", "umask"]);
        for word in [
            "http://cache-*.h|shards=a,b",
            "http://h|read-only=secret",
            "http://h|connect-timeout=secret",
            "http://h|header=secret",
            "http://h|bearer-token",
            "file:secret",
            "secret",
            "crsh:secret",
        ] {
            let error = of(word).0.expect_err(word);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
