//! What a call of rustc makes, and where.
//!
//! | made | file |
//! |---|---|
//! | `link` of a library | `libSTEM.rlib`, `libSTEM.a` |
//! | `link` of what is linked | `libSTEM.so`; a program or test harness `STEM` |
//! | `metadata` | `libSTEM.rmeta` |
//! | `dep-info`, `asm`, `llvm-bc`, `llvm-ir`, `mir`, `obj` | `STEM.d`, `.s`, `.bc`, `.ll`, `.mir`, `.o` |
//! | split debug information, unpacked | `STEM.UNIT.rcgu.dwo` for each unit |
//!
//! STEM is the crate's name with `-C extra-filename` behind it, all in `--out-dir`; a path behind
//! `--emit KIND=` replaces one.

use std::path::{Path, PathBuf};

use super::arguments::{Crate, CrateType, Emit};

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// As a notification names it.
    pub emit: Emit,
    /// What it is called in a result.
    pub role: &'static str,
    /// Where it goes.
    pub path: PathBuf,
    /// What the dependency file calls it: what is linked by the name that it has by itself.
    pub listed: PathBuf,
}

/// Every file but those of split debug information, in the order in which rustc tells of them.
pub fn of(made: &Crate) -> Vec<Output> {
    let mut outputs = Vec::new();
    let directory = made.out_dir.as_deref().unwrap_or(Path::new(""));
    let stem = stem(made);
    let mut push = |emit, role, explicit: &Option<PathBuf>, name: String| {
        let usual = directory.join(name);
        let path = explicit.clone().unwrap_or_else(|| usual.clone());
        let listed = if emit == Emit::Link { usual } else { path.clone() };
        outputs.push(Output { emit, role, path, listed });
    };
    for (emit, path) in &made.emit {
        let role = emit.name();
        match emit {
            Emit::DepInfo => push(*emit, role, path, format!("{stem}.d")),
            Emit::Metadata => push(*emit, role, path, format!("lib{stem}.rmeta")),
            Emit::Asm => push(*emit, role, path, format!("{stem}.s")),
            Emit::LlvmBitcode => push(*emit, role, path, format!("{stem}.bc")),
            Emit::LlvmIr => push(*emit, role, path, format!("{stem}.ll")),
            Emit::Mir => push(*emit, role, path, format!("{stem}.mir")),
            Emit::Object => push(*emit, role, path, format!("{stem}.o")),
            Emit::Link => {
                for kind in &made.types {
                    let (role, name) = match kind {
                        CrateType::Rlib => ("rlib", format!("lib{stem}.rlib")),
                        CrateType::Staticlib => ("staticlib", format!("lib{stem}.a")),
                        CrateType::Dylib => ("dylib", format!("lib{stem}.so")),
                        CrateType::Cdylib => ("cdylib", format!("lib{stem}.so")),
                        CrateType::ProcMacro => ("proc-macro", format!("lib{stem}.so")),
                        CrateType::Bin => ("bin", stem.clone()),
                    };
                    push(*emit, role, path, name);
                }
            }
        }
    }
    outputs.sort_by_key(|output| order(output.emit));
    outputs
}

/// What the names of all files have in common.
pub fn stem(made: &Crate) -> String {
    format!("{}{}", made.name, made.extra_filename)
}

/// Dependencies are told first, then metadata, what is linked last.
fn order(emit: Emit) -> u8 {
    match emit {
        Emit::DepInfo => 0,
        Emit::Metadata => 1,
        Emit::Link => 3,
        _ => 2,
    }
}

/// A notification of cargo's pipelining, as rustc writes it.
pub fn notification(output: &Output) -> String {
    let mut path = String::new();
    for letter in output.path.to_string_lossy().chars() {
        match letter {
            '"' => path.push_str("\\\""),
            '\\' => path.push_str("\\\\"),
            '\n' => path.push_str("\\n"),
            '\r' => path.push_str("\\r"),
            '\t' => path.push_str("\\t"),
            '\u{8}' => path.push_str("\\b"),
            '\u{c}' => path.push_str("\\f"),
            letter if (letter as u32) < 0x20 => path.push_str(&format!("\\u{:04x}", letter as u32)),
            letter => path.push(letter),
        }
    }
    let emit = output.emit.name();
    format!("{{\"$message_type\":\"artifact\",\"artifact\":\"{path}\",\"emit\":\"{emit}\"}}\n")
}

/// What a line of rustc begins with that is a notification.
pub const NOTIFICATION_START: &[u8] = b"{\"$message_type\":\"artifact\",";

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::arguments::parse;
    use super::*;

    fn paths(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let outputs = of(&parse(&words).unwrap());
        outputs.iter().map(|output| output.path.display().to_string()).collect()
    }

    #[test]
    fn outputs_are_named_as_rustc_names_them() {
        let base = "--crate-name p a.rs --out-dir o -C extra-filename=-1 --emit";
        for (line, expected) in [
            ("dep-info,metadata,link --crate-type lib", "o/p-1.d o/libp-1.rmeta o/libp-1.rlib"),
            ("link --crate-type staticlib,rlib", "o/libp-1.a o/libp-1.rlib"),
            ("metadata --crate-type bin", "o/libp-1.rmeta"),
            ("link,dep-info --test", "o/p-1.d o/p-1"),
            ("asm,mir=x/m,obj --crate-type lib", "o/p-1.s x/m o/p-1.o"),
            ("link --crate-type proc-macro", "o/libp-1.so"),
        ] {
            assert_eq!(paths(&format!("{base} {line}")).join(" "), expected, "{line}");
        }
    }

    #[test]
    fn a_notification_is_a_line_of_json() {
        let output = |path: &str| Output {
            emit: Emit::Metadata,
            role: "metadata",
            path: path.into(),
            listed: path.into(),
        };
        let line = notification(&output("o/a \"b\"\\c\n\u{1}.rmeta"));
        assert_eq!(
            line,
            "{\"$message_type\":\"artifact\",\"artifact\":\"o/a \\\"b\\\"\\\\c\\n\\u0001.rmeta\",\
             \"emit\":\"metadata\"}\n"
        );
        assert!(line.as_bytes().starts_with(NOTIFICATION_START));
    }
}
