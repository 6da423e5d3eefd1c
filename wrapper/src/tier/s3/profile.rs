//! The files of AWS that have profiles: `~/.aws/credentials` and `~/.aws/config`.
//!
//! 1. A section `[NAME]` is a profile in the one, `[profile NAME]` (and `[default]`) in the other.
//!    What the first says goes before what the second says.
//! 2. Lines that begin with a blank belong to the setting above them and mean nothing here, nor do
//!    lines that begin with `#` or `;`. Of a value nothing behind ` #` or ` ;` counts.
//! 3. A name that stands twice in a profile has its last value.

use super::credentials::Credentials;

/// What the files say of one profile.
#[derive(Default)]
pub(super) struct Profile {
    /// Whether any of the files has it.
    pub(super) is_there: bool,
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    pub(super) region: Option<String>,
}

impl Profile {
    /// Finds a profile in the texts of both files.
    pub(super) fn find(credentials: &str, config: &str, name: &str) -> Profile {
        let mut first = Profile::default();
        first.read(credentials, &[name.to_owned()]);
        let mut second = Profile::default();
        let mut sections = vec![format!("profile {name}")];
        sections.extend((name == "default").then(|| name.to_owned()));
        second.read(config, &sections);
        // A secret belongs to the key beside it.
        let keys = if first.id.is_some() { &mut first } else { &mut second };
        let (id, secret, token) = (keys.id.take(), keys.secret.take(), keys.token.take());
        Profile {
            is_there: first.is_there || second.is_there,
            id,
            secret,
            token,
            region: first.region.or(second.region),
        }
    }

    /// Its keys, if it has both.
    pub(super) fn credentials(self) -> Option<Credentials> {
        let (id, secret, token) = (self.id?, self.secret?, self.token);
        Some(Credentials { id, secret, token, expires: None })
    }

    fn read(&mut self, text: &str, sections: &[String]) {
        let mut is_ours = false;
        for line in text.lines() {
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let name = section.split(']').next().unwrap_or_default();
                let words: Vec<&str> = name.split_whitespace().collect();
                let name = words.join(" ").replace(['"', '\''], "");
                is_ours = sections.contains(&name);
                self.is_there |= is_ours;
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|_| is_ours) else { continue };
            let end = [" #", " ;"].iter().filter_map(|mark| value.find(mark)).min();
            let value = value[..end.unwrap_or(value.len())].trim();
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            match name.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => self.id = value,
                "aws_secret_access_key" => self.secret = value,
                "aws_session_token" => self.token = value,
                "region" => self.region = value,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = A1 ; one\n\
        aws_secret_access_key=s/1+=\n\n[team]\nAWS_ACCESS_KEY_ID=A2\r\naws_secret_access_key = s2\n\
        s3 =\n  aws_access_key_id = no\naws_session_token = t2\n[half]\naws_access_key_id = A3\n";
    const CONFIG: &str = "[default]\nregion = eu-north-1\naws_access_key_id = no\n\
        [profile  team]\nregion = eu-west-3\n[profile far]\naws_access_key_id = A4\n\
        aws_secret_access_key = s4\n[profile half]\naws_secret_access_key = no\n";

    fn found(name: &str) -> (bool, Option<[String; 3]>, Option<String>) {
        let profile = Profile::find(CREDENTIALS, CONFIG, name);
        let (is_there, region) = (profile.is_there, profile.region.clone());
        let keys = profile.credentials();
        let keys = keys.map(|it| [it.id, it.secret, it.token.unwrap_or_default()]);
        (is_there, keys, region)
    }

    #[test]
    fn profiles_are_found_in_both_files() {
        let keys = |id: &str, secret: &str, token: &str| {
            Some([id.to_owned(), secret.to_owned(), token.to_owned()])
        };
        let region = |name: &str| Some(name.to_owned());
        assert_eq!(found("default"), (true, keys("A1", "s/1+=", ""), region("eu-north-1")));
        assert_eq!(found("team"), (true, keys("A2", "s2", "t2"), region("eu-west-3")));
        assert_eq!(found("far"), (true, keys("A4", "s4", ""), None));
        assert_eq!(found("half"), (true, None, None));
        assert_eq!(found("other"), (false, None, None));
        assert!(!Profile::find("[", "[profile", "default").is_there);
    }
}
