//! Which compiler a name or a file is.
//!
//! 1. A name alone decides nothing harmful: before anything is cached, [`family_of`] looks at the
//!    name of the file behind it, and `identity` at its contents: a script may add arguments that
//!    larder does not see, whatever it is called.
//! 2. `cc` and `c++` are what their links lead to; where that is not known, nothing is cached.
//! 3. The other programs of the compilers' packages are known by name, so that links named like
//!    them work: they run as they are. Debian's `c89` and `c99` are scripts around gcc; their own
//!    call of gcc is cached where it leads to larder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Family, Language};

/// What the stem of a compiler's name says: the family, if the name tells it, and the language that
/// the driver gives to a file called `.c`, where that is not C.
const STEMS: &[(&[u8], Option<Family>, Option<Language>)] = &[
    (b"c++", None, Some(Language::Cpp)),
    (b"cc", None, None),
    (b"clang", Some(Family::Clang), None),
    (b"clang++", Some(Family::Clang), Some(Language::Cpp)),
    (b"g++", Some(Family::Gcc), Some(Language::Cpp)),
    (b"gcc", Some(Family::Gcc), None),
];

/// Programs of the packages of gcc and clang that compile nothing by themselves, or are scripts
/// around a compiler.
const COMPANIONS: &[&[u8]] = &[
    b"ar",
    b"asan_symbolize",
    b"c89",
    b"c89-gcc",
    b"c99",
    b"c99-gcc",
    b"clang-cpp",
    b"clippy-driver",
    b"cpp",
    b"gcc-ar",
    b"gcc-nm",
    b"gcc-ranlib",
    b"gcov",
    b"gcov-dump",
    b"gcov-tool",
    b"lto-dump",
    b"rustc",
];

/// Those that make archives, and tell nobody else to do so.
const ARCHIVERS: &[&[u8]] = &[b"ar"];

/// Those that preprocess.
const PREPROCESSORS: &[&[u8]] = &[b"clang-cpp", b"cpp"];

/// The family and default language that a program's name tells; `None` for `cc` and `c++`, which
/// may be either, and for every other program.
pub fn recognise(name: &OsStr) -> Option<(Family, Option<Language>)> {
    let (family, language) = stem_of(name)?;
    Some((family?, language))
}

/// Whether a program of this name is a compiler or comes with one: whether a link of this name to
/// larder means that it stands for it.
pub fn is_toolchain_name(name: &OsStr) -> bool {
    stem_of(name).is_some() || is_one_of(COMPANIONS, name)
}

/// Whether a program of this name is a compiler, and not only something that comes with one.
pub fn is_compiler_name(name: &OsStr) -> bool {
    stem_of(name).is_some()
}

/// Whether a program of this name is a preprocessor.
pub fn is_preprocessor_name(name: &OsStr) -> bool {
    is_one_of(PREPROCESSORS, name)
}

/// Whether a program of this name makes archives: `ar`, `llvm-ar-14`, `x86_64-linux-gnu-ar`. Not
/// `gcc-ar`, which starts another one.
pub fn is_archiver_name(name: &OsStr) -> bool {
    is_one_of(ARCHIVERS, name) && !is_one_of(&[b"gcc-ar"], name)
}

fn is_one_of(stems: &[&[u8]], name: &OsStr) -> bool {
    let name = without_version(name.as_bytes());
    let mut targets = stems.iter().filter_map(|stem| name.strip_suffix(*stem));
    targets.any(|target| target.is_empty() || is_target(target))
}

/// The family and default language of a program. The family is that of the file behind all links,
/// the language that of the name that it was found by: `g++` stays C++ when it leads to clang.
pub fn family_of(name: &OsStr, file: &Path) -> Option<(Family, Option<Language>)> {
    let (_, language) = stem_of(name)?;
    let (family, _) = recognise(file.file_name()?)?;
    Some((family, language))
}

/// Takes `aarch64-linux-gnu-gcc-12.2` apart: a target with a hyphen, a stem, a version.
fn stem_of(name: &OsStr) -> Option<(Option<Family>, Option<Language>)> {
    let name = without_version(name.as_bytes());
    let (_, family, language) = STEMS.iter().find(|(stem, ..)| {
        name.strip_suffix(*stem).is_some_and(|target| target.is_empty() || is_target(target))
    })?;
    Some((*family, *language))
}

/// Whether this is a target prefix, its last hyphen included. `c89-` and `c99-` are not: those are
/// Debian's scripts around gcc. A file name has no slash.
fn is_target(prefix: &[u8]) -> bool {
    let Some(target) = prefix.strip_suffix(b"-") else { return false };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !target.is_empty() && target.iter().all(allowed) && target != b"c89" && target != b"c99"
}

/// The name without a trailing `-12` or `-12.2.0`.
fn without_version(name: &[u8]) -> &[u8] {
    let Some(hyphen) = name.iter().rposition(|&byte| byte == b'-') else { return name };
    let version = &name[hyphen + 1..];
    let is_version = version.first().is_some_and(u8::is_ascii_digit)
        && version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if is_version { &name[..hyphen] } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<(Family, Option<Language>)> {
        recognise(OsStr::new(name))
    }

    #[test]
    fn plain_versioned_and_cross_names_are_recognised() {
        for name in ["gcc", "gcc-12", "gcc-12.2.0", "x86_64-linux-gnu-gcc-12", "avr-gcc"] {
            assert_eq!(named(name), Some((Family::Gcc, None)), "{name}");
        }
        for name in ["g++", "g++-12.2", "aarch64-linux-gnu-g++", "x86_64-w64-mingw32-g++-12"] {
            assert_eq!(named(name), Some((Family::Gcc, Some(Language::Cpp))), "{name}");
        }
        assert_eq!(named("clang-14"), Some((Family::Clang, None)));
        assert_eq!(named("clang++-14"), Some((Family::Clang, Some(Language::Cpp))));
    }

    #[test]
    fn other_programs_are_not_recognised() {
        for name in [
            "",
            "clang-cl",
            "clang-format",
            "colorgcc",
            "nvcc",
            "gccgo",
            "-gcc",
            "12",
            "gcc-",
            "ld",
            "tcc",
            "my gcc-gcc",
        ] {
            assert_eq!(named(name), None, "{name}");
            assert!(!is_toolchain_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_comes_with_a_compiler_is_known_and_is_none() {
        for name in [
            "c89",
            "c99",
            "c89-gcc",
            "c99-gcc",
            "clang-cpp-14",
            "x86_64-linux-gnu-cpp-12",
            "gcc-ar-12",
            "x86_64-linux-gnu-gcc-ranlib",
            "gcov-tool-12",
            "rustc",
            "clippy-driver",
        ] {
            assert_eq!(named(name), None, "{name}");
            assert!(is_toolchain_name(OsStr::new(name)), "{name}");
            assert_eq!(is_preprocessor_name(OsStr::new(name)), name.contains("cpp"), "{name}");
        }
    }

    #[test]
    fn archivers_are_known_by_their_names() {
        for name in ["ar", "llvm-ar", "llvm-ar-14", "x86_64-linux-gnu-ar", "ar-2.40"] {
            assert!(is_archiver_name(OsStr::new(name)), "{name}");
            assert!(is_toolchain_name(OsStr::new(name)), "{name}");
        }
        for name in ["gcc-ar", "gcc-ar-12", "x86_64-linux-gnu-gcc-ar", "ranlib", "tar", "bar"] {
            assert!(!is_archiver_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn cc_is_a_compiler_whose_name_does_not_tell_which() {
        for name in ["cc", "c++", "arm-none-eabi-cc"] {
            assert_eq!(named(name), None, "{name}");
            assert!(is_toolchain_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn cc_is_what_its_links_lead_to() {
        let of = |name: &str, file: &str| family_of(OsStr::new(name), Path::new(file));
        assert_eq!(of("c++", "/usr/bin/clang-14"), Some((Family::Clang, Some(Language::Cpp))));
        assert_eq!(of("cc", "/usr/bin/gcc-12"), Some((Family::Gcc, None)));
        for (name, file) in [("cc", "/usr/bin/cc"), ("g++", "/usr/bin/distcc"), ("x", "/bin/gcc")] {
            assert_eq!(of(name, file), None, "{name} {file}");
        }
    }
}
