//! Words for the linker that a user gives, and whether it is known what they do.
//!
//! 1. A word that is in no table makes a link uncached: it may read or write anything. A table is
//!    sorted; a test checks that.
//! 2. Words behind `-Wl,` and `-Xlinker` are those of the linker itself, all others the driver's.
//!    An option of the linker has one dash or two, and its value behind `=` or in the next word.
//! 3. A word that is no option names an input.
//! 4. `-Map` asks for a further file: [`Asked`] has its name, and who cannot store it refuses.

/// Whether an option has a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    No,
    /// Behind `=`, or the next word.
    Needed,
    /// Behind `=`, or none.
    May,
    /// As `Needed`, and it names a file that is written.
    Written,
}

use Value::{May, Needed, No, Written};

/// What words ask for beside what is linked.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Asked {
    /// Files that are written.
    pub maps: Vec<String>,
    /// Whether the output is to be linked again (`-r`).
    pub is_relocatable: bool,
}

/// Options of linkers, without dashes, that write nothing but the output, and read nothing that is
/// no named file.
const LINKER: &[(&str, Value)] = &[
    ("(", No),
    (")", No),
    ("Bdynamic", No),
    ("Bno-symbolic", No),
    ("Bstatic", No),
    ("Bsymbolic", No),
    ("Bsymbolic-functions", No),
    ("E", No),
    ("I", Needed),
    ("L", Needed),
    ("Map", Written),
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
    ("Ttext-segment", Needed),
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
    ("dynamic-list-cpp-new", No),
    ("dynamic-list-cpp-typeinfo", No),
    ("dynamic-list-data", No),
    ("e", Needed),
    ("eh-frame-hdr", No),
    ("emit-relocs", No),
    ("enable-new-dtags", No),
    ("end-group", No),
    ("end-lib", No),
    ("entry", Needed),
    ("error-limit", Needed),
    ("error-unresolved-symbols", No),
    ("exclude-libs", Needed),
    ("export-dynamic", No),
    ("export-dynamic-symbol", Needed),
    ("export-dynamic-symbol-list", Needed),
    ("fatal-warnings", No),
    ("filter", Needed),
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
    ("no-color-diagnostics", No),
    ("no-copy-dt-needed-entries", No),
    ("no-demangle", No),
    ("no-dynamic-linker", No),
    ("no-eh-frame-hdr", No),
    ("no-export-dynamic", No),
    ("no-fatal-warnings", No),
    ("no-gc-sections", No),
    ("no-gnu-unique", No),
    ("no-keep-memory", No),
    ("no-pie", No),
    ("no-print-gc-sections", No),
    ("no-relax", No),
    ("no-rosegment", No),
    ("no-threads", No),
    ("no-undefined", No),
    ("no-undefined-version", No),
    ("no-warn-execstack", No),
    ("no-warn-mismatch", No),
    ("no-warn-rwx-segments", No),
    ("no-whole-archive", No),
    ("omagic", No),
    ("orphan-handling", Needed),
    ("pack-dyn-relocs", Needed),
    ("package-metadata", Needed),
    ("pie", No),
    ("pop-state", No),
    ("push-state", No),
    ("q", No),
    ("r", No),
    ("relax", No),
    ("relocatable", No),
    ("retain-symbols-file", Needed),
    ("rpath", Needed),
    ("rpath-link", Needed),
    ("s", No),
    ("section-start", Needed),
    ("shared", No),
    ("soname", Needed),
    ("sort-common", May),
    ("sort-section", Needed),
    ("start-group", No),
    ("start-lib", No),
    ("static", No),
    ("strip-all", No),
    ("strip-debug", No),
    ("thinlto-jobs", Needed),
    ("thread-count", Needed),
    ("threads", May),
    ("u", Needed),
    ("undefined", Needed),
    ("undefined-version", No),
    ("unresolved-symbols", Needed),
    ("version-script", Needed),
    ("warn-common", No),
    ("warn-execstack", No),
    ("warn-once", No),
    ("warn-rwx-segments", No),
    ("warn-shared-textrel", No),
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
    ("-e", Needed),
    ("-l", Needed),
    ("-no-pie", No),
    ("-nodefaultlibs", No),
    ("-nolibc", No),
    ("-nostartfiles", No),
    ("-nostdlib", No),
    ("-nostdlib++", No),
    ("-pie", No),
    ("-pthread", No),
    ("-r", No),
    ("-rdynamic", No),
    ("-s", No),
    ("-shared", No),
    ("-shared-libgcc", No),
    ("-static", No),
    ("-static-libasan", No),
    ("-static-libgcc", No),
    ("-static-libstdc++", No),
    ("-static-pie", No),
    ("-symbolic", No),
    ("-target", Needed),
    ("-u", Needed),
    ("-z", Needed),
];

/// Beginnings of words of drivers that are about a link.
const DRIVER_STARTS: &[&str] = &[
    "--ld-path=",
    "--rtlib=",
    "--stdlib=",
    "--sysroot=",
    "--target=",
    "--unwindlib=",
    "-B",
    "-L",
    "-fuse-ld=",
    "-l",
    "-rtlib=",
    "-stdlib=",
    "-u",
    "-unwindlib=",
    "-z",
];
/// Beginnings of words about the code and the machine.
const CODE_STARTS: &[&str] = &["-O", "-g", "-m"];

/// Whether all words are known; else why they are not, as a sentence.
///
/// # Errors
/// Why not.
pub fn check<'a>(words: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let words: Vec<&str> = words.collect();
    let of_code = |words: &[&str]| {
        let [word, ..] = words else { return Ok(None) };
        if !word.starts_with('-') {
            return check_file(word).map(|()| Some(1));
        }
        Ok(begins(CODE_STARTS, word).then_some(1))
    };
    match read(&words, of_code)?.maps.first() {
        Some(map) => Err(format!("link argument -Map writes {map}")),
        None => Ok(()),
    }
}

/// What the words of a driver ask for. `other` tells how many words it knows at the head of those
/// that it gets: all that is neither about the linker nor an option of links.
///
/// # Errors
/// Why not all of them are known, as a sentence.
pub fn read<'a>(
    words: &[&'a str],
    mut other: impl FnMut(&[&'a str]) -> Result<Option<usize>, String>,
) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut of_linker: Vec<&str> = Vec::new();
    let mut rest = words;
    while let [word, after @ ..] = rest {
        let count = if let Some(words) = word.strip_prefix("-Wl,") {
            of_linker.extend(words.split(','));
            1
        } else if *word == "-Xlinker" {
            of_linker.push(after.first().ok_or("-Xlinker lacks its word")?);
            2
        } else {
            // A word between two of the linker may not stand between an option and its value.
            read_linker(&std::mem::take(&mut of_linker), &mut asked)?;
            asked.is_relocatable |= *word == "-r";
            let known = match of_driver(rest)? {
                None => other(rest)?,
                known => known,
            };
            known.ok_or_else(|| format!("link argument {word} is not known"))?
        };
        rest = rest.get(count..).unwrap_or_default();
    }
    read_linker(&of_linker, &mut asked)?;
    Ok(asked)
}

/// How many words an option of links takes, if the first one is such.
fn of_driver(words: &[&str]) -> Result<Option<usize>, String> {
    let [word, after @ ..] = words else { return Ok(None) };
    if let Ok(at) = DRIVER.binary_search_by(|(name, _)| (*name).cmp(word)) {
        return match (DRIVER[at].1, after) {
            (Needed, []) => Err(format!("{word} lacks its value")),
            (Needed, _) => Ok(Some(2)),
            _ => Ok(Some(1)),
        };
    }
    Ok(begins(DRIVER_STARTS, word).then_some(1))
}

fn begins(starts: &[&str], word: &str) -> bool {
    starts.iter().any(|start| word.starts_with(start) && word.len() > start.len())
}

fn read_linker(words: &[&str], asked: &mut Asked) -> Result<(), String> {
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
        asked.is_relocatable |= ["r", "relocatable"].contains(&name);
        match (value, joined) {
            (No, Some(_)) => return Err(unknown()),
            (Written, file) => {
                let lacking = || format!("{word} lacks its value");
                let file = file.or_else(|| rest.next().copied()).ok_or_else(lacking)?;
                if file.is_empty() || file.starts_with('-') || file.contains('%') {
                    return Err(format!("{word} names no file"));
                }
                asked.maps.push(file.to_owned());
            }
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
    fn what_is_asked_for_is_told() {
        let read = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            read(&words, |words| Ok((!words[0].starts_with('-')).then_some(1)))
        };
        let asked =
            read("x.o -Wl,-Map=a.map -Wl,-Map,b.map -Xlinker --Map -Xlinker c.map").unwrap();
        assert_eq!(asked.maps, ["a.map", "b.map", "c.map"]);
        assert!(!asked.is_relocatable);
        assert!(read("-r x.o").unwrap().is_relocatable);
        assert!(read("-Wl,-r x.o").unwrap().is_relocatable);
        for line in ["-Wl,-Map", "-Wl,-Map=-", "-Wl,-Map= x.o", "-heard-of=1", "-Wl,-Map=%"] {
            assert!(read(line).is_err(), "{line}");
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
