//! Files that options come from: specs of gcc, configuration files of clang.
//!
//! 1. The contents are an input by their digest. What they ask for is judged as if it stood in the
//!    command line, so that an output which only they ask for is not lost.
//! 2. A name that is searched for is not handled: larder does not look where the compiler does.
//! 3. Specs are a language. Only parts for the stages before the linker are judged, by the options
//!    in them, under whichever conditions: each must be one that counts as it stands. Parts for
//!    the linker do nothing here. Files that include others, call functions, take options away or
//!    say which programs run are not handled.
//! 4. A configuration file is taken where it has plain words only.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::flag::{Attach, Class, find};
use super::{Family, parse};
use crate::outcome::{Counter, Reason};

/// Real ones have some hundred bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Parts of specs with options for the stages before the linker.
const JUDGED_PARTS: [&str; 10] = [
    "asm",
    "asm_options",
    "cc1",
    "cc1_options",
    "cc1plus",
    "cpp",
    "cpp_options",
    "cpp_unique_options",
    "self_spec",
    "self_specs",
];

/// The names of parts that only linking uses begin so.
const LINKER_PARTS: [&str; 4] = ["link", "lib", "startfile", "endfile"];

/// The options that stand in a specs file.
///
/// # Errors
/// The reason not to cache calls with it.
pub fn options_of_specs(path: &Path) -> Result<Vec<OsString>, Reason> {
    if !path.is_absolute() {
        return Err(refused(path, "has a name that gcc searches for"));
    }
    let text = read(path)?;
    let mut options = Vec::new();
    let mut is_judged = None;
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"*") {
            let name = name.trim_ascii_end().strip_suffix(b":");
            let is = |known: &str| name == Some(known.as_bytes());
            let starts = |known: &str| name.is_some_and(|n| n.starts_with(known.as_bytes()));
            is_judged = if JUDGED_PARTS.into_iter().any(is) {
                Some(true)
            } else if LINKER_PARTS.into_iter().any(starts) {
                Some(false)
            } else {
                return Err(refused(path, "has a part that is not handled"));
            };
        } else if !line.trim_ascii().is_empty() {
            match is_judged {
                Some(true) => options.extend(judged(path, line)?),
                Some(false) => {}
                None => return Err(refused(path, "has a line that is not handled")),
            }
        }
    }
    Ok(options)
}

/// The options in a line of specs.
fn judged(path: &Path, line: &[u8]) -> Result<Vec<OsString>, Reason> {
    let acts = |pair: &[u8]| matches!(pair, b"%:" | b"%<" | b"%>" | b"%@" | b"%I" | b"\\\n");
    if line.windows(2).any(acts) || line.ends_with(b"\\") {
        return Err(refused(path, "does more than to add options"));
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"{}:;|%".contains(byte);
    let words = line.split(ends).filter(|word| word.starts_with(b"-"));
    let option = |word: &[u8]| {
        let flag = find(parse::tables(Family::Gcc), word)?;
        let is_whole = match flag.attach {
            Attach::Exact | Attach::Joined => true,
            Attach::Separate => false,
            Attach::Either => word.len() > flag.spelling.len(),
        };
        let counts = matches!(
            flag.class,
            Class::Keyed
                | Class::LaterStage
                | Class::PreprocessorOnly
                | Class::DebugOn
                | Class::DebugOff
                | Class::ShowsDirectory
        );
        (is_whole && counts).then(|| OsStr::from_bytes(word).to_owned())
    };
    let refuse = || refused(path, "has an option that is not handled there");
    words.map(|word| option(word).ok_or_else(refuse)).collect()
}

/// The words of a configuration file of clang.
///
/// # Errors
/// The reason not to cache calls with it.
pub fn words_of_configuration(path: &Path) -> Result<Vec<OsString>, Reason> {
    if !path.as_os_str().as_bytes().contains(&b'/') {
        return Err(refused(path, "has a name that clang searches for"));
    }
    let text = read(path)?;
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
    let plain: Vec<&[u8]> = lines.filter(|line| !line.starts_with(b"#")).collect();
    let is_odd = |byte: &u8| {
        b"\\'\"@<$#".contains(byte) || !(byte.is_ascii_graphic() || b" \t".contains(byte))
    };
    if plain.iter().any(|line| line.iter().any(is_odd)) {
        return Err(refused(path, "has more than plain words"));
    }
    let words = plain.iter().flat_map(|line| line.split(u8::is_ascii_whitespace));
    Ok(words.filter(|word| !word.is_empty()).map(|word| OsStr::from_bytes(word).into()).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, Reason> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= BYTES_MAX => {
            fs::read(path).map_err(|error| refused(path, &format!("cannot be read: {error}")))
        }
        _ => Err(refused(path, "is no short file")),
    }
}

fn refused(path: &Path, why: &str) -> Reason {
    let text = format!("the file of options {} {why}", path.display());
    Reason::new(Counter::UnsupportedCompilerOption, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn specs_that_add_options_are_taken_and_others_are_not() {
        let of = |text: &str| options_of_specs(file(text).path());
        let debian =
            "*self_spec:\n+ %{!r:%{!fpie:%{!fPIE:%{!no-pie:-fPIE}}}} -DX=1\n\n*link:\n+ %:x\n";
        assert_eq!(of(debian).unwrap(), ["-fPIE", "-DX=1"]);
        for text in [
            "%include <other>\n",
            "*cc1:\n+ %:getenv(X -D)\n",
            "*cc1:\n+ %<MD\n",
            "*cc1:\n+ -fstack-usage\n",
            "*cc1:\n+ -include x.h\n",
            "*cc1:\n+ -fplugin=annobin\n",
            "*cc1:\n+ -march=native\n",
            "*invoke_as:\nmy-as %i\n",
            "-O2\n",
        ] {
            assert!(of(text).is_err(), "{text:?}");
        }
        assert!(options_of_specs(Path::new("nano.specs")).is_err());
    }

    #[test]
    fn a_configuration_of_plain_words_is_taken() {
        let of = |text: &str| words_of_configuration(file(text).path());
        assert_eq!(of("# c\n-DX=1 -O2\n\t-I inc\n").unwrap(), ["-DX=1", "-O2", "-I", "inc"]);
        for text in ["@other.cfg\n", "-DX='a b'\n", "-I <CFGDIR>/x\n", "-O2 \\\n-g\n"] {
            assert!(of(text).is_err(), "{text:?}");
        }
        assert!(words_of_configuration(Path::new("x.cfg")).is_err());
    }
}
