//! Keys for signing results, as they stand in files. What is computed with them is the agent's
//! affair: this needs no cryptography.
//!
//! ```text
//! larder-key-1 PUBLIC NAME [namespace=NAMESPACE]...      whom to trust: a line each
//! larder-signing-key-1 SECRET PUBLIC NAME                the one line of a key's own file
//! ```
//!
//! 1. SECRET (the seed) and PUBLIC are 32 bytes of Ed25519, as in RFC 8032, in 64 hexadecimal
//!    digits. NAME is for people: letters, digits and `. _ @ -`, up to [`NAME_CHARS_MAX`].
//! 2. A key with namespaces is trusted for results of these only; `namespace=` is the unnamed one.
//! 3. Empty lines, and what begins with `#`, mean nothing. A file with a line that is none is
//!    refused as a whole: a typing error must not make a rule wider.
//! 4. The file of a secret must belong to its user alone. No error repeats any of it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const PUBLIC_WORD: &str = "larder-key-1";
const SECRET_WORD: &str = "larder-signing-key-1";
/// Letters of a name.
pub const NAME_CHARS_MAX: usize = 64;
/// Files of keys are small.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a public key, and of a seed.
pub const KEY_BYTES: usize = 32;
/// Bytes of the id of a key.
pub const ID_BYTES: usize = 16;

/// Whom somebody trusts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// The key.
    pub bytes: [u8; KEY_BYTES],
    /// Its name.
    pub name: String,
    /// The namespaces that it may sign for; all if there are none.
    pub namespaces: Vec<String>,
}

/// A key's own file.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The seed.
    pub seed: [u8; KEY_BYTES],
    /// What others trust.
    pub public: PublicKey,
}

/// What stands for a public key in a signature: the beginning of its BLAKE3.
pub fn id_of(public: &[u8; KEY_BYTES]) -> [u8; ID_BYTES] {
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&blake3::hash(public).as_bytes()[..ID_BYTES]);
    id
}

impl PublicKey {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<PublicKey, String> {
        let mut words = line.split_whitespace();
        if words.next() != Some(PUBLIC_WORD) {
            return Err(format!("a key begins with {PUBLIC_WORD}"));
        }
        let bytes = bytes_of(words.next())?;
        let name = name_of(words.next())?;
        let mut namespaces = Vec::new();
        for word in words {
            let namespace = word.strip_prefix("namespace=");
            namespaces.push(namespace.ok_or("only namespace= follows a name")?.to_owned());
        }
        Ok(PublicKey { bytes, name, namespaces })
    }

    /// The line that [`PublicKey::parse`] reads.
    pub fn line(&self) -> String {
        let mut line = format!("{PUBLIC_WORD} {} {}", hex(&self.bytes), self.name);
        for namespace in &self.namespaces {
            line.push_str(&format!(" namespace={namespace}"));
        }
        line
    }

    /// What stands for it in a signature, in hexadecimal digits.
    pub fn id(&self) -> String {
        hex(&id_of(&self.bytes))
    }

    /// Whether it may sign for a namespace.
    pub fn may_sign(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|one| one == namespace)
    }
}

impl SigningKey {
    /// A key with its name.
    ///
    /// # Errors
    /// If that is no name.
    pub fn new(
        seed: [u8; KEY_BYTES],
        public: [u8; KEY_BYTES],
        name: &str,
    ) -> Result<SigningKey, String> {
        let public =
            PublicKey { bytes: public, name: name_of(Some(name))?, namespaces: Vec::new() };
        Ok(SigningKey { seed, public })
    }

    /// The text of its file.
    pub fn text(&self) -> String {
        let (seed, public) = (hex(&self.seed), hex(&self.public.bytes));
        format!("{SECRET_WORD} {seed} {public} {}\n", self.public.name)
    }

    /// Reads a key's own file.
    ///
    /// # Errors
    /// Why it cannot be used, without anything of it.
    pub fn read(path: &Path) -> Result<SigningKey, String> {
        let at = |what: &str| format!("{}: {what}", path.display());
        let facts = fs::metadata(path).map_err(|error| at(&error.to_string()))?;
        if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o077 != 0 {
            return Err(at("a secret key must belong to its user alone: chmod 600"));
        }
        let text = small_text(path).map_err(|error| at(&error.to_string()))?;
        let mut words = text.split_whitespace();
        let wrong = |_| at("it is no signing key");
        if words.next() != Some(SECRET_WORD) {
            return Err(wrong(String::new()));
        }
        let seed = bytes_of(words.next()).map_err(wrong)?;
        let public = bytes_of(words.next()).map_err(wrong)?;
        let name = words.next().unwrap_or_default();
        if words.next().is_some() {
            return Err(wrong(String::new()));
        }
        SigningKey::new(seed, public, name).map_err(wrong)
    }
}

/// Whom a file names.
///
/// # Errors
/// Why the file cannot be used, with the line; what is missing is an error, too.
pub fn read_trusted(path: &Path) -> Result<Vec<PublicKey>, String> {
    let text = small_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let key = |(number, line): (usize, &str)| {
        let wrong = |what| format!("{}:{}: {what}", path.display(), number + 1);
        PublicKey::parse(line).map_err(wrong)
    };
    lines.map(key).collect()
}

fn small_text(path: &Path) -> io::Result<String> {
    let facts = fs::metadata(path)?;
    if !facts.is_file() || facts.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no small file"));
    }
    fs::read_to_string(path)
}

fn name_of(word: Option<&str>) -> Result<String, String> {
    let is_name = |name: &&str| {
        (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
    };
    let name = word.filter(is_name).ok_or("a key has a name: letters, digits, . _ @ and -")?;
    Ok(name.to_owned())
}

/// 32 bytes of hexadecimal digits.
///
/// # Errors
/// If it is anything else.
pub fn bytes_of(word: Option<&str>) -> Result<[u8; KEY_BYTES], String> {
    let wrong = || "a key has 64 hexadecimal digits".to_owned();
    let word = word.filter(|word| word.len() == 2 * KEY_BYTES).ok_or_else(wrong)?;
    let mut bytes = [0; KEY_BYTES];
    for (byte, digits) in bytes.iter_mut().zip(word.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16).ok_or_else(wrong);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Ok(bytes)
}

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let digits = "0f".repeat(32);
        for more in ["", " namespace=main", " namespace= namespace=b"] {
            let line = format!("larder-key-1 {digits} ci@example.org{more}");
            let key = PublicKey::parse(&line).unwrap();
            assert_eq!((key.line(), key.bytes), (line, [15; 32]));
        }
        let only =
            |more: &str| PublicKey::parse(&format!("larder-key-1 {digits} n{more}")).unwrap();
        assert!(only("").may_sign("") && only("").may_sign("a"));
        assert!(only(" namespace=a").may_sign("a") && !only(" namespace=a").may_sign("b"));
        assert!(only(" namespace=").may_sign("") && !only(" namespace=").may_sign("a"));
        for wrong in [
            String::new(),
            digits.clone(),
            format!("larder-key-2 {digits} n"),
            format!("larder-key-1 {} n", &digits[1..]),
            format!("larder-key-1 {} n", digits.replace('f', "g")),
            format!("larder-key-1 {digits}"),
            format!("larder-key-1 {digits} a/b"),
            format!("larder-key-1 {digits} n m"),
        ] {
            assert!(PublicKey::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_with_a_wrong_line_is_refused_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trusted");
        assert!(read_trusted(&path).is_err(), "it is missing");
        let line = format!("larder-key-1 {} n", "00".repeat(32));
        fs::write(&path, format!("# of the team\n\n{line}\n")).unwrap();
        assert_eq!(read_trusted(&path).unwrap().len(), 1);
        fs::write(&path, format!("{line}\n{line} namspace=main\n")).unwrap();
        let error = read_trusted(&path).unwrap_err();
        assert!(error.contains("trusted:2: "), "{error}");
    }

    #[test]
    fn a_secret_that_others_may_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = SigningKey::new([1; 32], [2; 32], "ci").unwrap();
        fs::write(&path, key.text()).unwrap();
        for (mode, is_used) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(SigningKey::read(&path).is_ok_and(|read| read == key), is_used, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for wrong in [key.public.line(), key.text().replace("ci", ""), key.text() + "x"] {
            fs::write(&path, &wrong).unwrap();
            let error = SigningKey::read(&path).err().expect("it is refused");
            assert!(!error.contains("0101"), "{error}");
        }
    }
}
