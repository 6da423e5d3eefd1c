//! Words for the linker that a user gives, and whether it is known what they do.
//!
//! 1. A word that is in no table makes a link uncached: it may read or write anything. A table is
//!    sorted; a test checks that.
//! 2. Words behind `-Wl,` and `-Xlinker` are those of the linker itself, all others the driver's.
//!    An option of the linker has one dash or two, and its value behind `=` or in the next word.
//! 3. A word that is no option names an input.

/// Whether an option has a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    No,
    /// Behind `=`, or the next word.
    Needed,
    /// Behind `=`, or none.
    May,
}

use Value::{May, Needed, No};

/// Options of linkers, without dashes, that write nothing but the output, and read nothing that is
/// no named file.
const LINKER: &[(&str, Value)] = &[
    ("(", No),
    (")", No),
    ("Bdynamic", No),
    ("Bstatic", No),
    ("Bsymbolic", No),
    ("Bsymbolic-functions", No),
    ("E", No),
    ("I", Needed),
    ("L", Needed),
    ("N", No),
    ("O0", No),
    ("O1", No),
    ("O2", No),
    ("O3", No),
    ("R", Needed),
    ("S", No),
    ("T", Needed),
    ("Tbss", Needed),
    ("Tdata", Needed),
    ("Ttext", Needed),
    ("X", No),
    ("allow-multiple-definition", No),
    ("allow-shlib-undefined", No),
    ("as-needed", No),
    ("build-id", May),
    ("color-diagnostics", May),
    ("compress-debug-sections", Needed),
    ("copy-dt-needed-entries", No),
    ("defsym", Needed),
    ("demangle", May),
    ("disable-new-dtags", No),
    ("discard-all", No),
    ("discard-locals", No),
    ("dn", No),
    ("dy", No),
    ("dynamic-linker", Needed),
    ("dynamic-list", Needed),
    ("e", Needed),
    ("eh-frame-hdr", No),
    ("emit-relocs", No),
    ("enable-new-dtags", No),
    ("end-group", No),
    ("entry", Needed),
    ("exclude-libs", Needed),
    ("export-dynamic", No),
    ("export-dynamic-symbol", Needed),
    ("fatal-warnings", No),
    ("fini", Needed),
    ("gc-sections", No),
    ("gdb-index", No),
    ("h", Needed),
    ("hash-style", Needed),
    ("icf", Needed),
    ("image-base", Needed),
    ("init", Needed),
    ("l", Needed),
    ("m", Needed),
    ("n", No),
    ("nmagic", No),
    ("no-allow-shlib-undefined", No),
    ("no-as-needed", No),
    ("no-copy-dt-needed-entries", No),
    ("no-demangle", No),
    ("no-dynamic-linker", No),
    ("no-eh-frame-hdr", No),
    ("no-export-dynamic", No),
    ("no-fatal-warnings", No),
    ("no-gc-sections", No),
    ("no-relax", No),
    ("no-rosegment", No),
    ("no-threads", No),
    ("no-undefined", No),
    ("no-undefined-version", No),
    ("no-whole-archive", No),
    ("omagic", No),
    ("pack-dyn-relocs", Needed),
    ("package-metadata", Needed),
    ("pie", No),
    ("pop-state", No),
    ("push-state", No),
    ("q", No),
    ("relax", No),
    ("rpath", Needed),
    ("rpath-link", Needed),
    ("s", No),
    ("section-start", Needed),
    ("shared", No),
    ("soname", Needed),
    ("start-group", No),
    ("static", No),
    ("strip-all", No),
    ("strip-debug", No),
    ("thread-count", Needed),
    ("threads", May),
    ("u", Needed),
    ("undefined", Needed),
    ("undefined-version", No),
    ("unresolved-symbols", Needed),
    ("version-script", Needed),
    ("warn-common", No),
    ("warn-unresolved-symbols", No),
    ("whole-archive", No),
    ("wrap", Needed),
    ("x", No),
    ("z", Needed),
];

/// Options of drivers.
const DRIVER: &[(&str, Value)] = &[
    ("--sysroot", Needed),
    ("--target", Needed),
    ("-B", Needed),
    ("-L", Needed),
    ("-T", Needed),
    ("-l", Needed),
    ("-no-pie", No),
    ("-nodefaultlibs", No),
    ("-nostartfiles", No),
    ("-nostdlib", No),
    ("-pie", No),
    ("-pthread", No),
    ("-rdynamic", No),
    ("-s", No),
    ("-shared", No),
    ("-shared-libgcc", No),
    ("-static", No),
    ("-static-libgcc", No),
    ("-static-pie", No),
    ("-target", Needed),
    ("-u", Needed),
    ("-z", Needed),
];

/// Beginnings of words of drivers.
const DRIVER_STARTS: &[&str] =
    &["--sysroot=", "--target=", "-B", "-L", "-O", "-fuse-ld=", "-g", "-l", "-m", "-u", "-z"];

/// Whether all words are known; else why they are not, as a sentence.
///
/// # Errors
/// Why not.
pub fn check<'a>(words: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut of_linker: Vec<&str> = Vec::new();
    let mut words = words;
    while let Some(word) = words.next() {
        if let Some(rest) = word.strip_prefix("-Wl,") {
            of_linker.extend(rest.split(','));
        } else if word == "-Xlinker" {
            of_linker.push(words.next().ok_or("-Xlinker lacks its word")?);
        } else {
            // A word between two of the linker may not stand between an option and its value.
            check_linker(&std::mem::take(&mut of_linker))?;
            check_driver(word, &mut words)?;
        }
    }
    check_linker(&of_linker)
}

fn check_driver<'a>(word: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    if !word.starts_with('-') {
        return check_file(word);
    }
    if let Ok(at) = DRIVER.binary_search_by(|(name, _)| (*name).cmp(word)) {
        if DRIVER[at].1 == Needed {
            rest.next().ok_or_else(|| format!("{word} lacks its value"))?;
        }
        return Ok(());
    }
    let is_known = |start: &&str| word.starts_with(*start) && word.len() > start.len();
    match DRIVER_STARTS.iter().any(is_known) {
        true => Ok(()),
        false => Err(format!("link argument {word} is not known")),
    }
}

fn check_linker(words: &[&str]) -> Result<(), String> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix('-') else {
            check_file(word)?;
            continue;
        };
        let option = option.strip_prefix('-').unwrap_or(option);
        let (name, joined) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let unknown = || format!("link argument {word} is not known");
        let value = value_of(name)
            .or_else(|| short_value_of(word.strip_prefix('-')?))
            .ok_or_else(unknown)?;
        match (value, joined) {
            (No, Some(_)) => return Err(unknown()),
            (Needed, None) if value_of(name).is_some() => {
                rest.next().ok_or_else(|| format!("{word} lacks its value"))?;
            }
            // Another one for each link.
            (May, Some("uuid")) => return Err(format!("{word} is another one each time")),
            _ => {}
        }
    }
    Ok(())
}

fn value_of(name: &str) -> Option<Value> {
    let at = LINKER.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(LINKER[at].1)
}

/// `-lNAME`, `-LPATH` and the like.
fn short_value_of(option: &str) -> Option<Value> {
    ["L", "l", "z"].iter().any(|name| option.starts_with(name)).then_some(Needed)
}

fn check_file(word: &str) -> Result<(), String> {
    match word.starts_with('@') || word.is_empty() {
        true => Err(format!("link argument {word:?} takes words from a file")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        for table in [LINKER, DRIVER] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }

    #[test]
    fn words_that_only_shape_the_output_are_known() {
        for line in [
            "",
            "-Wl,-rpath,$ORIGIN/../lib",
            "-Wl,-rpath -Wl,/x",
            "-Wl,--version-script=x.map -Wl,--no-undefined",
            "-Wl,--version-script,x.map -fuse-ld=mold",
            "-Xlinker --gc-sections -Xlinker -z -Xlinker now",
            "-L /x -lfoo -Lbar x.o /y/libz.a",
            "-Wl,-Bstatic,-lfoo,-Bdynamic -Wl,--build-id -Wl,--build-id=sha1 -Wl,-z,stack-size=8",
            "-nostartfiles -static -T link.x -Wl,-T,link.x -Wl,-L/x,-lfoo,-znow",
            "-Wl,--start-group,-la,--end-group -s -pthread -m32 -rdynamic",
        ] {
            assert_eq!(check(line.split_whitespace()), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_writes_more_or_is_unheard_of_is_not() {
        for line in [
            "-Wl,-Map=x.map",
            "-Wl,-Map,x.map",
            "-Wl,--dependency-file=x",
            "-Wl,--print-map",
            "-Wl,--reproduce=x.tar",
            "-Wl,--build-id=uuid",
            "-Wl,--unheard-of",
            "-Wl,--gc-sections=x",
            "-Wl,-rpath",
            "-Wl,@file",
            "-Wl,--thinlto-cache-dir=x",
            "-Wl,--lto",
            "-Wl,--library-of-plugins",
            "@file",
            "-specs=x",
            "-save-temps",
            "-flto",
            "-v",
            "-Wl,-rpath -s -Wl,/x",
            "-Xlinker",
            "-l",
        ] {
            assert!(check(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
