//! `larder cat`: the bytes of one section of an entry, decompressed, to stdout.

use std::io::Write;

use larder::ccache_entry::{Entry as Container, stored_files};
use larder::cli::command::Failure;
use larder::cli::flags::Given;
use larder_engine::{Record, SectionKind};

use super::find::{Found, find};
use super::inspect::read_file;
use super::shown::printable;
use crate::layout::check::REAL_BYTES_MAX;
use crate::layout::sccache::members;
use crate::layout::wrong::Wrong;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let wanted = given.operand(1).unwrap_or_default().to_string_lossy().into_owned();
    let bytes = match find(given.operand(0).unwrap_or_default())? {
        Found::Record(record) => of_record(&record, &wanted)?,
        Found::File(path) => {
            let bytes = read_file(&path)?;
            let found = of_file(&bytes, &wanted);
            found.map_err(|wrong| Failure::Failed(format!("{}: {wrong}", path.display())))?
        }
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(&bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// What larder calls the files of a result that ccache calls otherwise.
const ALIASES: [(&str, &str); 9] = [
    ("object", "o"),
    ("dependencies", "d"),
    ("dwarf-object", "dwo"),
    ("coverage-notes", "gcno-unmangled"),
    ("stack-usage", "su"),
    ("diagnostics", "dia"),
    ("listing", "al"),
    ("call-graph", "ci"),
    ("precompiled-header", "pch"),
];

fn no_section(wanted: &str, names: &[String]) -> String {
    format!("there is no section `{wanted}`; there are: {}", printable(&names.join(", ")))
}

/// The place of a section: by its number, its kind or its name. Of several of a kind the first.
fn position(wanted: &str, names: &[[String; 2]]) -> Result<usize, String> {
    let by_number = wanted.parse::<usize>().ok().filter(|at| *at < names.len());
    let by = |column: usize| {
        names.iter().position(|name| !name[column].is_empty() && name[column] == wanted)
    };
    by(1).or_else(|| by(0)).or(by_number).ok_or_else(|| {
        let told = names.iter().map(|[kind, name]| if name.is_empty() { kind } else { name });
        no_section(wanted, &told.cloned().collect::<Vec<_>>())
    })
}

fn of_record(record: &Record, wanted: &str) -> Result<Vec<u8>, Failure> {
    let names: Vec<[String; 2]> = record
        .sections()
        .iter()
        .map(|info| {
            let kind = info.kind.map_or("unknown", SectionKind::name);
            [kind.to_owned(), String::from_utf8_lossy(&info.name).into_owned()]
        })
        .collect();
    let at = position(wanted, &names).map_err(Failure::Failed)?;
    Ok(record.read(at)?)
}

fn of_file(bytes: &[u8], wanted: &str) -> Result<Vec<u8>, Wrong> {
    if bytes.starts_with(b"PK") {
        let members = members(bytes)?;
        let names: Vec<[String; 2]> =
            members.iter().map(|member| ["member".to_owned(), member.name.clone()]).collect();
        return members[position(wanted, &names).map_err(Wrong)?].read(REAL_BYTES_MAX);
    }
    let entry = Container::decode(bytes, REAL_BYTES_MAX)?;
    let (_, files) = stored_files(&entry)?;
    let names: Vec<[String; 2]> =
        files.iter().map(|file| [file.suffix().into_owned(), String::new()]).collect();
    let alias = ALIASES.iter().find(|(kind, _)| *kind == wanted);
    let wanted = alias.map_or(wanted, |(_, suffix)| suffix);
    let file = &files[position(wanted, &names).map_err(Wrong)?];
    match &file.range {
        Some(range) => Ok(entry.contents[range.clone()].to_vec()),
        None => Err(Wrong("this file stands beside the result, as it is".to_owned())),
    }
}
