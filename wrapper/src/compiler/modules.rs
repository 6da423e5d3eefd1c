//! Modules of clang whose files are all named: which calls with them are understood.
//!
//! 1. `-fmodule-file=FILE` and `-fmodule-file=NAME=FILE` name module files that are read; what
//!    these import is found in them (`invocation::modules`).
//! 2. `--precompile` makes such a file of a module's source, and `-fmodule-output` makes one beside
//!    the object. Both hold where they were made and where they went, so that the working
//!    directory and the paths of the outputs are in the key.
//! 3. An object of a module's source that is asked for alone shows the name of a temporary file
//!    (measured with 14 and 16), so that it is never the same: not cached.
//! 4. Everything that looks for module files, or writes them where it likes, is not cached:
//!    `-fmodules`, `-fprebuilt-module-path`, header units; and gcc's `-fmodules-ts`, whose
//!    `gcm.cache` no option names and whose mapper may be a program.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::outputs::{Purpose, Sides};
use super::{Family, Language};
use crate::outcome::{Counter, Reason};

/// Suffixes of sources of modules.
pub(super) const SUFFIXES: [&str; 4] = ["c++m", "ccm", "cppm", "cxxm"];

/// The maps that clang reads beside a map, if they are there.
const PRIVATE_MAPS: [&str; 2] = ["module.private.modulemap", "module_private.map"];

/// A module file that an option names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModuleFile {
    /// The module that it is the file of, if the option says it.
    pub name: Option<OsString>,
    /// The file.
    pub path: PathBuf,
}

impl ModuleFile {
    /// Takes the value of `-fmodule-file=` apart.
    pub(super) fn of(value: &OsStr) -> ModuleFile {
        let bytes = value.as_bytes();
        let (name, path) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (Some(OsStr::from_bytes(&bytes[..at]).to_owned()), &bytes[at + 1..]),
            None => (None, bytes),
        };
        ModuleFile { name, path: OsStr::from_bytes(path).into() }
    }
}

/// What is read for a map that an option names.
pub(super) fn maps(map: &Path) -> impl Iterator<Item = PathBuf> {
    let beside = PRIVATE_MAPS.map(|name| map.with_file_name(name));
    [map.to_owned()].into_iter().chain(beside)
}

/// Checks that a call is one that the rules above understand.
///
/// # Errors
/// `CouldNotUseModules`, or `UnsupportedSourceLanguage` where the compiler knows no modules.
pub(super) fn check(
    family: Family,
    language: Language,
    purpose: Purpose,
    sides: &Sides,
    uses_modules: bool,
) -> Result<(), Reason> {
    let refuse = |text| Err(Reason::new(Counter::CouldNotUseModules, text));
    let makes_module = purpose == Purpose::Module || sides.make_module();
    let has_other_sides = sides.have_more_than_a_module();
    match (language, purpose) {
        (Language::CppModule, _) if family == Family::Gcc => {
            let text = "gcc knows no language c++-module";
            Err(Reason::new(Counter::UnsupportedSourceLanguage, text))
        }
        (Language::CppModule, _) if has_other_sides => {
            refuse("a further output is asked for of a module")
        }
        (Language::CppModule, Purpose::Object) if !makes_module => {
            refuse("the object of a module shows the name of a temporary file")
        }
        (Language::CppModule, Purpose::Object) => Ok(()),
        (Language::CppModule, Purpose::Module | Purpose::Messages) if !sides.make_module() => {
            Ok(())
        }
        (Language::CppModule, _) => refuse("something else is made of a module"),
        _ if makes_module => refuse("a module is made of something else"),
        (Language::C | Language::Cpp, Purpose::Object | Purpose::Assembly | Purpose::Messages) => {
            Ok(())
        }
        _ if uses_modules => refuse("modules are used where no source is compiled"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::compiler::parse;

    #[test]
    fn modules_are_taken_where_every_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d.x")).unwrap();
        for name in ["m.cppm", "m.ccm", "m.cxxm", "m.c++m", "t.cc", "t.s"] {
            fs::write(root.path().join(name), "export module m;\n").unwrap();
        }
        let parsed_by = |family, line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            parse(family, None, &words, root.path()).map_err(|reason| reason.counter)
        };
        let parsed = |line: &str| parsed_by(Family::Clang, line);
        let good =
            |line: &str| parsed(line).unwrap_or_else(|counter| panic!("{line}: {counter:?}"));
        for (line, name, path) in [
            ("--precompile m.cppm", "interface", "m.pcm"),
            ("--precompile m.ccm -o d.x/k.pcm", "interface", "d.x/k.pcm"),
            ("--precompile -x c++-module t.cc -o k", "interface", "k"),
            ("-c m.cxxm -o m.o -fmodule-output=k.pcm", "module", "k.pcm"),
            ("-c m.c++m -o d.x/m.o -fmodule-output", "module", "d.x/m.pcm"),
            ("-c m.cppm -fmodule-output", "module", "m.pcm"),
        ] {
            let compile = good(line);
            let output = compile.outputs.iter().find(|output| output.name == name).unwrap();
            assert_eq!((output.path.as_path(), output.required), (Path::new(path), true), "{line}");
            // What is made shows where, so the path is in the key.
            assert!(compile.cwd_matters && compile.key_arguments.contains(&"-o".into()), "{line}");
            assert_eq!(compile.language, Language::CppModule);
        }
        let files = good("-c t.cc -fmodule-file=a.pcm -fmodule-file=b=c=d").module_files;
        let file = |name: Option<&str>, path: &str| ModuleFile {
            name: name.map(OsString::from),
            path: path.into(),
        };
        assert_eq!(files, [file(None, "a.pcm"), file(Some("b"), "c=d")]);
        for line in [
            "-c m.cppm",
            "-c m.cppm -o m.o -fmodule-output=a -fmodule-output=b",
            "-c m.cppm -fmodule-output -gsplit-dwarf",
            "-S m.cppm",
            "-S m.cppm -fmodule-output",
            "--precompile m.cppm -fmodule-output",
            "--precompile -c m.cppm",
            "-fsyntax-only --precompile m.cppm",
            "--precompile t.cc",
            "-c t.cc -fmodule-output=t.pcm",
            "-c t.s -fmodule-file=f",
            "-c t.cc -fmodules",
            "-c t.cc -fprebuilt-module-path=d",
            "-c t.cc -fmodule-header",
            "-c t.cc -fmodules-ts",
            "-c t.cc -fmodule-name=a",
            "-c t.cc -fimplicit-module-maps",
            "-c t.cc -fexperimental-modules-reduced-bmi",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        for line in ["-c t.cc -fmodules-ts", "-c t.cc -fmodule-file=f", "-c t.cc -fmodule-mapper=f"]
        {
            assert_eq!(
                parsed_by(Family::Gcc, line).map(drop),
                Err(Counter::CouldNotUseModules),
                "{line}"
            );
        }
        assert_eq!(
            parsed_by(Family::Gcc, "-c -x c++-module t.cc").map(drop),
            Err(Counter::UnsupportedSourceLanguage)
        );
    }
}
