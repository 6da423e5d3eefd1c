//! Running ccache's options: first those that say how, then those that say what, in their order.
//!
//! Each error ends the run with status 1; what came before it in the line has been done.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::exit;

use super::super::command::{Failure, print};
use super::options::{self, What};
use super::report::{self, Format};
use super::{STATUS_FAILED, fail, files, trim_dir, upkeep};
use crate::config::ccache::{self as settings, Settings};

/// The version of ccache whose interface this is.
pub const INTERFACE_VERSION: &str = "4.13.6";

/// How things are to be done, wherever in the line that stands.
#[derive(Debug, Default)]
pub struct How {
    variables: Vec<(&'static str, OsString)>,
    /// How often `-v` was given.
    pub verbosity: u32,
    /// Write nothing.
    pub dry_run: bool,
    format: Format,
    evict: upkeep::Evict,
    trim: trim_dir::Wanted,
}

impl How {
    fn set(&mut self, variable: &'static str, value: &OsStr) {
        self.variables.retain(|(known, _)| *known != variable);
        self.variables.push((variable, value.to_owned()));
    }

    /// The settings that count, with the directory or the file that the line names.
    ///
    /// # Errors
    /// If one of them is wrong.
    pub fn settings(&self) -> Result<Settings, Failure> {
        settings::load_with(&[], &self.variables).map_err(|why| Failure::Failed(why.to_string()))
    }
}

/// Runs `ccache OPTIONS`.
pub fn run(arguments: &[OsString]) -> ! {
    if arguments.is_empty() {
        // Nothing was asked for: this is no answer, but a complaint.
        let _ = std::io::stderr().write_all(options::help().as_bytes());
        exit(STATUS_FAILED);
    }
    match options::parse(arguments) {
        Ok(asked) => match perform(&asked) {
            Ok(()) => exit(0),
            Err(failure) => fail(failure.text()),
        },
        Err(what) => fail(&what),
    }
}

fn perform(asked: &[(What, OsString)]) -> Result<(), Failure> {
    let mut how = How::default();
    for (what, value) in asked {
        take_manner(&mut how, *what, value)?;
    }
    let is_evicting =
        |(what, _): &(What, OsString)| matches!(what, What::EvictNamespace | What::EvictOlderThan);
    // A namespace and an age are one filter; it acts where the last of them stands.
    let evicts_at = asked.iter().rposition(is_evicting);
    for (at, (what, value)) in asked.iter().enumerate() {
        if evicts_at == Some(at) {
            upkeep::evict(&how, &how.evict)?;
        }
        act(&how, *what, value)?;
    }
    Ok(())
}

/// Notes an option that says how.
fn take_manner(how: &mut How, what: What, value: &OsStr) -> Result<(), Failure> {
    match what {
        What::Dir => how.set("CCACHE_DIR", value),
        What::ConfigPath => how.set("CCACHE_CONFIGPATH", value),
        What::Verbose => how.verbosity += 1,
        What::DryRun => how.dry_run = true,
        What::Format => how.format = Format::parse(text(value)?)?,
        What::EvictNamespace => how.evict.namespace = Some(text(value)?.to_owned()),
        What::EvictOlderThan => how.evict.age_ms = Some(upkeep::parse_age(text(value)?)?),
        What::Threads => match text(value)?.parse::<u32>() {
            Ok(1..) => {}
            _ => return Err(invalid("number of threads", value)),
        },
        What::TrimMarker => how.trim.marker = Some(value.into()),
        What::TrimMaxSize => how.trim.max_bytes = Some(parse_size(value)?),
        What::TrimMethod => how.trim.method = trim_dir::Method::parse(text(value)?)?,
        What::TrimRecompress => how.trim.level = Some(upkeep::parse_level(text(value)?)?),
        _ => {}
    }
    Ok(())
}

/// Does what an option asks for.
fn act(how: &How, what: What, value: &OsStr) -> Result<(), Failure> {
    let path = Path::new(value);
    match what {
        What::Help => print(&options::help()),
        What::Version => print(&version()),
        What::PrintVersion => print(&format!("{INTERFACE_VERSION}\n")),
        What::Cleanup => upkeep::clean_up(how),
        What::Clear => upkeep::clear(how),
        What::MaxFiles => set_max_files(how, value),
        What::MaxSize => set_max_size(how, value),
        What::Recompress => upkeep::recompress(how, upkeep::parse_level(text(value)?)?),
        What::SetConfig => set_config(how, text(value)?),
        What::GetConfig => get_config(how, text(value)?),
        What::ShowConfig => {
            let row = |(origin, key, value)| format!("({origin}) {key} = {value}\n");
            print(&how.settings()?.rows().into_iter().map(row).collect::<String>())
        }
        What::ShowCompression => upkeep::show_compression(how),
        What::ShowStats => report::show(how),
        What::PrintStats => report::print_stats(how, how.format),
        What::ShowLogStats => report::show_log(how),
        What::PrintLogStats => report::print_log(how, how.format),
        What::ZeroStats => report::zero(how),
        What::StopStorageHelpers => print("There are no storage helpers to stop\n"),
        What::TrimDir => trim_dir::run(path, &how.trim, how.dry_run),
        What::ChecksumFile => files::checksum_file(path),
        What::HashFile => files::hash_file(path),
        What::Inspect => match files::own_key(path) {
            Some(key) => files::inspect_record(&upkeep::record(how, &key)?),
            None => files::inspect(path),
        },
        What::ExtractResult => match files::own_key(path) {
            Some(key) => files::extract_record(&upkeep::record(how, &key)?),
            None => files::extract(path),
        },
        _ => Ok(()),
    }
}

fn text(value: &OsStr) -> Result<&str, Failure> {
    value.to_str().ok_or_else(|| invalid("text", value))
}

/// What to say of a value that is none.
pub fn invalid(what: &str, value: impl AsRef<OsStr>) -> Failure {
    Failure::Failed(format!("invalid {what}: \"{}\"", value.as_ref().display()))
}

fn parse_size(value: &OsStr) -> Result<u64, Failure> {
    settings::parse_size(text(value)?).ok_or_else(|| invalid("size", value))
}

fn set(how: &How, key: &str, value: &str) -> Result<(), Failure> {
    let settings = how.settings()?;
    match how.dry_run {
        true => {
            print(&format!("Would set {key} to {value} in {}\n", settings.config_file().display()))
        }
        false => settings.set_in_file(key, value).map_err(|why| Failure::Failed(why.to_string())),
    }
}

fn set_config(how: &How, text: &str) -> Result<(), Failure> {
    // No key is empty: a sign at the start is a part of it.
    let sign = text.bytes().skip(1).position(|byte| byte == b'=');
    let split = sign.map(|at| (&text[..=at], &text[at + 2..]));
    let missing = || Failure::Failed(format!("missing equal sign in \"{text}\""));
    let (key, value) = split.ok_or_else(missing)?;
    set(how, key, value)
}

fn get_config(how: &How, key: &str) -> Result<(), Failure> {
    let value = how.settings()?.get(key);
    let unknown = || Failure::Failed(format!("unknown configuration option \"{key}\""));
    print(&format!("{}\n", value.ok_or_else(unknown)?))
}

fn set_max_size(how: &How, value: &OsStr) -> Result<(), Failure> {
    let bytes = parse_size(value)?;
    set(how, "max_size", text(value)?)?;
    match (how.dry_run, bytes) {
        (true, _) => Ok(()),
        (false, 0) => print("Unset cache size limit\n"),
        (false, _) => {
            let shown = how.settings()?.get("max_size").unwrap_or_default();
            print(&format!("Set cache size limit to {shown}\n"))
        }
    }
}

fn set_max_files(how: &How, value: &OsStr) -> Result<(), Failure> {
    let number = text(value)?.parse::<u64>().map_err(|_| invalid("unsigned integer", value))?;
    set(how, "max_files", &number.to_string())?;
    match (how.dry_run, number) {
        (true, _) => Ok(()),
        (false, 0) => print("Unset cache file limit\n"),
        (false, _) => print(&format!("Set cache file limit to {number}\n")),
    }
}

fn version() -> String {
    format!(
        "ccache version {INTERFACE_VERSION}\nFeatures: file-storage\n\nThis is larder {}, which \
         offers the interface of ccache under that name.\n",
        env!("CARGO_PKG_VERSION")
    )
}
