//! Who we are to a server of HTTP: a user and password, a token, or what netrc has for the host.

use std::path::PathBuf;

use super::super::open::{reveal, small_file};
use super::super::settings::Netrc;
use super::super::{TierError, TierSettings};

/// The value of the header Authorization, if there is one.
pub(super) fn authorization(
    tier: &str,
    settings: &TierSettings,
    host: &str,
) -> Result<Option<String>, TierError> {
    if let Some(token) = &settings.bearer {
        return Ok(Some(format!("Bearer {}", reveal(tier, token)?)));
    }
    if settings.user.is_some() || settings.password.is_some() {
        let user = settings.user.as_deref().unwrap_or_default();
        let password = settings.password.as_ref().map(|secret| reveal(tier, secret)).transpose()?;
        return Ok(Some(basic(user, &password.unwrap_or_default())));
    }
    let path = match &settings.netrc {
        None => return Ok(None),
        Some(Netrc::File(path)) => path.clone(),
        Some(Netrc::Usual) => match usual_netrc().filter(|path| path.exists()) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let login = find_login(&small_file(tier, &path)?, host);
    Ok(login.map(|(user, password)| basic(&user, &password)))
}

fn usual_netrc() -> Option<PathBuf> {
    let named = std::env::var_os("NETRC").filter(|path| !path.is_empty());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".netrc"));
    named.map(PathBuf::from).or_else(home)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// Login and password of a host, else those of `default`.
fn find_login(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = words(text).into_iter();
    let (mut is_ours, mut user, mut password) = (false, None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if is_ours {
                    break;
                }
                let is_default = word == "default";
                is_ours = is_default || words.next()?.eq_ignore_ascii_case(host);
            }
            "login" if is_ours => user = words.next(),
            "password" if is_ours => password = words.next(),
            "login" | "password" | "account" => {
                words.next();
            }
            _ => {}
        }
    }
    is_ours.then(|| (user.unwrap_or_default(), password.unwrap_or_default()))
}

/// Words of a netrc: blanks between them, or quotes around them; without comments and macros.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut is_macro = false;
    for line in text.lines() {
        if is_macro {
            is_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        if rest.starts_with('#') {
            continue;
        }
        while !rest.is_empty() {
            let (word, behind) = next_word(rest);
            is_macro = word == "macdef";
            if is_macro {
                break;
            }
            words.push(word);
            rest = behind.trim_start();
        }
    }
    words
}

fn next_word(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut word = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (word, &quoted[index + 1..]),
            '\\' => word.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => word.push(character),
        }
    }
    (word, "")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let number = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (number >> (18 - 6 * digit)) & 63;
            text.push(if digit > group.len() { '=' } else { DIGITS[index as usize].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_everybody() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn a_netrc_has_a_login_for_each_machine() {
        let text = "# machine host login no password no\n\
                    machine other login o password #p\n\
                    macdef init\nmachine host login no password no\n\n\
                    machine Host account a\n  login \"m e\"\n\t# mine\n password \"p\\\"q\"\n\
                    machine host login second password second\n\
                    default login anybody password any\n";
        let login = |host| find_login(text, host);
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(login("host"), pair("m e", "p\"q"));
        assert_eq!(login("other"), pair("o", "#p"));
        assert_eq!(login("third"), pair("anybody", "any"));
        assert_eq!(find_login("machine a login b", "a"), pair("b", ""));
        assert_eq!(find_login("machine a login b password c", "d"), None);
        assert_eq!(find_login("machine", "d"), None);
        assert_eq!(find_login("", "d"), None);
    }
}
