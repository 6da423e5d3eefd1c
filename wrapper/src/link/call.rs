//! What the command line of a driver says of a link of C or C++.
//!
//! 1. It only links: every input is an object, an archive, a shared library or a linker script by
//!    its name. A source, or a name that does not tell, makes it another call.
//! 2. Its words are those of [`words`] and the options of compiles that read and write nothing at a
//!    link ([`known_at_link`]).
//! 3. With `-flto` the linker compiles: assembly text in that code may take in any file, so that
//!    those links are not known.
//! 4. clang chooses files by what is there; words that make it look elsewhere are not known.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::words::{self, Asked};
use crate::compiler::{Family, known_at_link};

/// Where the linker writes, if nothing is said.
const OUTPUT_DEFAULT: &str = "a.out";
/// Endings of inputs that no driver compiles.
const INPUT_ENDINGS: [&str; 8] = ["o", "a", "so", "lo", "os", "obj", "ld", "lds"];
/// What makes clang choose files by what is there, in ways that are not known.
const CHOICES_OF_CLANG: [&str; 8] =
    ["-B", "--sysroot", "-resource-dir", "-rtlib", "--rtlib", "--gcc-", "--unwindlib", "--config"];

/// A link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What is made.
    pub output: PathBuf,
    /// `-Map`: what is written beside.
    pub map: Option<PathBuf>,
    /// Whether the output is to be linked again.
    pub is_relocatable: bool,
    /// The words, response files expanded.
    pub words: Vec<OsString>,
}

impl Call {
    /// Reads the words behind the driver's name, response files expanded.
    ///
    /// # Errors
    /// Why the link is not known, as a sentence.
    pub fn of(family: Family, arguments: Vec<OsString>) -> Result<Call, String> {
        let texts: Option<Vec<&str>> = arguments.iter().map(|word| word.to_str()).collect();
        let texts = texts.ok_or("a word is no text")?;
        let mut scan = Scan::default();
        let Asked { maps, is_relocatable } = words::read(&texts, |rest| {
            let at = texts.len() - rest.len();
            scan.take(family, rest, &arguments[at..])
        })?;
        check_choices(family, &texts)?;
        let mut maps = maps.into_iter();
        let map = maps.next().map(PathBuf::from);
        if maps.next().is_some() {
            return Err("-Map stands there twice".to_owned());
        }
        if scan.inputs == 0 {
            return Err("nothing is linked".to_owned());
        }
        let Scan { output, .. } = scan;
        let output = output.unwrap_or_else(|| OUTPUT_DEFAULT.into());
        if map.as_ref() == Some(&output) {
            return Err("-Map and -o name the same file".to_owned());
        }
        Ok(Call { output, map, is_relocatable, words: arguments })
    }
}

/// What has been seen.
#[derive(Default)]
struct Scan {
    output: Option<PathBuf>,
    inputs: usize,
}

impl Scan {
    /// How many of these words, which are no options of links, are known here.
    fn take(
        &mut self,
        family: Family,
        texts: &[&str],
        words: &[OsString],
    ) -> Result<Option<usize>, String> {
        let [word, after @ ..] = texts else { return Ok(None) };
        if let Some(joined) = word.strip_prefix("-o") {
            let (name, count) = match (joined, after) {
                ("", []) => return Err("-o lacks its value".to_owned()),
                ("", [name, ..]) => (*name, 2),
                (joined, _) => (joined, 1),
            };
            if self.output.replace(name.into()).is_some() {
                return Err("-o stands there twice".to_owned());
            }
            return Ok(Some(count));
        }
        if !word.starts_with('-') {
            self.inputs += 1;
            return match is_linked(Path::new(word)) {
                true => Ok(Some(1)),
                false => Err(format!("{word} is not known as an input of linkers")),
            };
        }
        if word.starts_with("-flto") {
            return Err("a linker that compiles may read any file".to_owned());
        }
        Ok(known_at_link(family, words))
    }
}

/// That the driver's choices are known: a directory behind `-B`, and no other linker by its path.
fn check_choices(family: Family, words: &[&str]) -> Result<(), String> {
    let is_choice = |word: &&&str| CHOICES_OF_CLANG.iter().any(|choice| word.starts_with(choice));
    if let Some(word) = words.iter().find(|word| word.starts_with("--ld-path")) {
        return Err(format!("{word} is not known"));
    }
    if let Some(word) = words.iter().filter(|_| family == Family::Clang).find(is_choice) {
        return Err(format!("what clang chooses with {word} is not known"));
    }
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let place = match word.strip_prefix("-B") {
            Some("") => rest.next().copied().unwrap_or_default(),
            Some(joined) => joined,
            None => continue,
        };
        if !Path::new(place).is_dir() {
            return Err(format!("-B {place} names no directory"));
        }
    }
    Ok(())
}

/// Whether the linker gets a file of this name as it is: `x.o`, `libx.so.1.2`.
fn is_linked(path: &Path) -> bool {
    let is_ending = |ending: &OsStr| INPUT_ENDINGS.iter().any(|known| ending == *known);
    let name = path.file_name().unwrap_or_default();
    let is_version = |rest: &[u8]| {
        let rest = &rest[b".so.".len()..];
        !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    let mut versions = name.as_bytes().windows(4).enumerate().filter(|(_, part)| part == b".so.");
    path.extension().is_some_and(is_ending)
        || versions.any(|(at, _)| is_version(&name.as_bytes()[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(family: Family, line: &str) -> Result<Call, String> {
        Call::of(family, line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn links_are_known_with_all_that_they_write() {
        let call = of(Family::Gcc, "-O2 -g -Wall x.o libz.so.1.2 -o m -Wl,-Map=m.map -lz").unwrap();
        assert_eq!(call.output, Path::new("m"));
        assert_eq!(call.map.as_deref(), Some(Path::new("m.map")));
        assert_eq!(call.words.len(), 9);
        assert_eq!(of(Family::Gcc, "x.o").unwrap().output, Path::new("a.out"));
        assert_eq!(of(Family::Gcc, "x.o -om").unwrap().output, Path::new("m"));
        assert!(of(Family::Gcc, "-r x.o -o y.o").unwrap().is_relocatable);
        for line in [
            "-shared -fPIC x.o -o libx.so -Wl,-soname,libx.so.1",
            "-static x.o liby.a -o m",
            "-static-pie -no-pie x.o -Llib -ly -o m",
            "-fuse-ld=gold x.o -T x.ld -Xlinker -rpath -Xlinker /r -o m",
            "-D X -I inc -std=gnu11 -MMD -MF x.d x.o -o m",
            "-fopenmp -fsanitize=address -march=native x.o -o m",
        ] {
            assert!(of(Family::Gcc, line).is_ok(), "{line}: {:?}", of(Family::Gcc, line));
            assert!(of(Family::Clang, line).is_ok(), "{line}: {:?}", of(Family::Clang, line));
        }
        for line in ["-B / x.o -o m", "-B/usr x.o -o m", "--sysroot=/s x.o -o m"] {
            assert!(of(Family::Gcc, line).is_ok(), "{line}: {:?}", of(Family::Gcc, line));
            assert!(of(Family::Clang, line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_compiles_or_is_unheard_of_is_no_link_that_is_known() {
        for line in [
            "x.c -o m",
            "x.o y.cpp -o m",
            "x.o y.s -o m",
            "x.o y.bc -o m",
            "x.o y -o m",
            "x.o y.so.c -o m",
            "-x c x.o -o m",
            "-o m",
            "-lx -o m",
            "x.o - -o m",
            "x.o -o m -o n",
            "x.o -o",
            "x.o @rest -o m",
            "x.o -save-temps -o m",
            "x.o -specs=s -o m",
            "x.o -v -o m",
            "x.o -Wl,--unheard-of -o m",
            "x.o -Wl,-t -o m",
            "x.o -Wl,--reproduce=r.tar -o m",
            "x.o -Wl,--build-id=uuid -o m",
            "x.o -Wl,-Map=a,-Map=b -o m",
            "x.o -Wl,-Map=m -o m",
            "x.o -Wl,--thinlto-cache-dir=d -o m",
            "x.o -Wl,-plugin,p.so -o m",
            "x.o -Wl,--thinlto-index-only -o m",
            "-flto x.o -o m",
            "-flto=thin -fuse-ld=lld x.o -o m",
            "-B/none/y- x.o -o m",
            "-B /none x.o -o m",
            "--ld-path=/usr/bin/ld.bfd x.o -o m",
            "-fplugin=p.so x.o -o m",
        ] {
            for family in [Family::Gcc, Family::Clang] {
                assert!(of(family, line).is_err(), "{line}");
            }
        }
    }
}
