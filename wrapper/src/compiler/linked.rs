//! Options of compiles on the command line of a link.
//!
//! Build systems give a link the options of their compiles. Without a source among the inputs they
//! choose libraries and start files, of which the linker tells; those that would read or write
//! another file are not known here. All of them count, as they are written.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::Family;
use super::flag::{Class, find, value_of};
use super::outputs::Side;
use super::parse::tables;

/// How many of these words are the first one and what belongs to it, if it is an option of compiles
/// that makes a link read and write nothing of its own.
pub fn known_at_link(family: Family, words: &[OsString]) -> Option<usize> {
    let first = words.first()?;
    let flag = find(tables(family), first.as_bytes())?;
    let is_known = match flag.class {
        Class::Keyed
        | Class::LaterStage
        | Class::PreprocessorOnly
        | Class::Irrelevant
        | Class::DebugOn
        | Class::DebugOff
        | Class::Color
        | Class::Forced
        | Class::Native
        | Class::Dependency(_) => true,
        Class::Side(side) => {
            matches!(side, Side::Coverage | Side::Arcs | Side::SplitDwarf | Side::NoSplitDwarf)
        }
        _ => false,
    };
    let (_, count) = is_known.then(|| value_of(flag, words).ok()).flatten()?;
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(family: Family, line: &str) -> Option<usize> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        known_at_link(family, &words)
    }

    #[test]
    fn options_of_compiles_are_known_with_their_values() {
        for family in [Family::Gcc, Family::Clang] {
            for (line, count) in [
                ("-O2 x.o", 1),
                ("-g x.o", 1),
                ("-Wall x.o", 1),
                ("-std=c11 x.o", 1),
                ("-fPIC x.o", 1),
                ("-D X x.o", 2),
                ("-Iinclude x.o", 1),
                ("-isystem dir x.o", 2),
                ("-march=native x.o", 1),
                ("-MMD x.o", 1),
                ("-MF x.d x.o", 2),
                ("--coverage x.o", 1),
                ("-fopenmp x.o", 1),
                ("-fsanitize=address x.o", 1),
                ("-pipe x.o", 1),
            ] {
                assert_eq!(known(family, line), Some(count), "{line}");
            }
        }
    }

    #[test]
    fn what_reads_or_writes_more_is_not_known() {
        for line in [
            "-c x.o",
            "-E x.o",
            "-S x.o",
            "-v x.o",
            "-### x.o",
            "-save-temps x.o",
            "-fplugin=p.so x.o",
            "-specs=f x.o",
            "-wrapper gdb x.o",
            "-fdump-tree-all x.o",
            "-fprofile-use=d x.o",
            "-flto x.o",
            "-x c x.o",
            "-o m x.o",
            "-fresolution=f x.o",
        ] {
            assert_eq!(known(Family::Gcc, line), None, "{line}");
        }
        assert_eq!(known(Family::Clang, "--config f x.o"), None);
    }
}
