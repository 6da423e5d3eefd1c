//! Which program rustup's proxy would run.
//!
//! 1. `+TOOLCHAIN` decides, else `RUSTUP_TOOLCHAIN` (cargo sets it), else the first directory from
//!    the working one upwards that has an override in rustup's settings or a toolchain file, else
//!    the default of the settings.
//! 2. A name is that of a directory of `RUSTUP_HOME/toolchains`, or a channel, to which the machine
//!    is added; or a path.
//! 3. Where that is not certain (several machines, a toolchain file that asks for components, a
//!    file that is not understood, a program that is not there) rustup is asked. Its answer is
//!    remembered under everything that it looks at.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind};

use super::super::Session;
use super::super::records::read_section;
use crate::files::Facts;
use crate::outcome::{Counter, Reason};
use crate::rust::key::rustup_key;

/// What the proxies lead to.
const RUSTUP: &str = "rustup";
/// Files that name a toolchain; the first one counts where both stand.
const TOOLCHAIN_FILES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];
/// A larger file is none of rustup's.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Whether a program, links followed, is rustup under another name.
pub(super) fn is_proxy(file: &Path) -> bool {
    if file.file_name() == Some(OsStr::new(RUSTUP)) {
        return true;
    }
    // Proxies may be hard links.
    let identity = |path: &Path| Facts::at(path).map(|facts| (facts.device, facts.inode)).ok();
    let own = identity(&file.with_file_name(RUSTUP));
    own.is_some() && own == identity(file)
}

/// The program that the proxy would run.
pub(super) fn program(session: &Session<'_>, plus: Option<&OsStr>) -> Result<PathBuf, Reason> {
    let name = session.call.compiler.file_name().unwrap_or(OsStr::new("rustc"));
    let known = Home::of_environment().and_then(|home| {
        let program = home.toolchain(plus)?.join("bin").join(name);
        program.is_file().then_some(program)
    });
    match known {
        Some(program) => Ok(program),
        None => asked(session, name, plus),
    }
}

/// rustup's directory, as a call in some directory uses it.
struct Home {
    path: PathBuf,
    /// `RUSTUP_TOOLCHAIN`.
    variable: Option<OsString>,
    directory: PathBuf,
}

impl Home {
    fn of_environment() -> Option<Home> {
        let path = match env::var_os("RUSTUP_HOME").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => Path::new(&env::var_os("HOME")?).join(".rustup"),
        };
        let variable = env::var_os("RUSTUP_TOOLCHAIN").filter(|name| !name.is_empty());
        let directory = env::current_dir().ok()?;
        Some(Home { path: directory.join(path), variable, directory })
    }

    /// The root of the toolchain that is meant; `None` if that is not certain.
    fn toolchain(&self, plus: Option<&OsStr>) -> Option<PathBuf> {
        if let Some(name) = plus.or(self.variable.as_deref()) {
            let name = name.to_str()?;
            // Mostly all is said by the whole name.
            let settings = if is_channel(name) { self.settings()? } else { toml::Table::new() };
            return self.named(name, machine_of(&settings));
        }
        let settings = self.settings()?;
        let machine = machine_of(&settings);
        let overrides = settings.get("overrides").and_then(toml::Value::as_table);
        for directory in self.directory.ancestors() {
            let own = overrides.zip(directory.to_str()).and_then(|(all, path)| all.get(path));
            if let Some(name) = own {
                return self.named(name.as_str()?, machine);
            }
            if let Some(file) = TOOLCHAIN_FILES.iter().map(|name| directory.join(name)).find(
                // What is no file stands in the way, too.
                |path| Facts::at(path).is_ok(),
            ) {
                return match asked_by(&file)? {
                    Asked::Name(name) => self.named(&name, machine),
                    Asked::Path(path) => Some(directory.join(path)),
                };
            }
        }
        self.named(settings.get("default_toolchain")?.as_str()?, machine)
    }

    fn settings(&self) -> Option<toml::Table> {
        read(&self.path.join("settings.toml"))?.parse().ok()
    }

    /// The toolchain with this name.
    fn named(&self, name: &str, machine: Option<&str>) -> Option<PathBuf> {
        if Path::new(name).is_absolute() {
            return Some(name.into());
        }
        let toolchains = self.path.join("toolchains");
        if name.contains('/') || name.is_empty() {
            return None;
        }
        if !is_channel(name) {
            return Some(toolchains.join(name));
        }
        if let Some(machine) = machine {
            return Some(toolchains.join(format!("{name}-{machine}")));
        }
        // Without a setting it is this machine's, of which one should be there.
        let start = format!("{name}-{}-", env::consts::ARCH);
        let entries = fs::read_dir(&toolchains).ok()?.flatten();
        let of_machine = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with(&start) && name.contains("-linux-"))
        };
        let mut found = entries.filter(of_machine);
        let only = found.next().filter(|_| found.next().is_none())?;
        Some(only.path())
    }
}

fn machine_of(settings: &toml::Table) -> Option<&str> {
    settings.get("default_host_triple").and_then(toml::Value::as_str)
}

/// Whether a name is that of a release without a machine: `stable`, `nightly-2026-01-01`, `1.90`.
fn is_channel(name: &str) -> bool {
    let (first, rest) = name.split_once('-').unwrap_or((name, ""));
    let is_version = first.starts_with(|letter: char| letter.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_date = rest.bytes().all(is_number) || rest.starts_with("beta");
    (is_version || ["stable", "beta", "nightly"].contains(&first))
        && is_date
        && rest.split('-').count() <= 3
}

/// What a toolchain file asks for.
#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Name(String),
    Path(PathBuf),
}

fn asked_by(file: &Path) -> Option<Asked> {
    let text = read(file)?;
    let is_old = file.file_name() == Some(OsStr::new(TOOLCHAIN_FILES[0]));
    if is_old && text.lines().count() == 1 && !text.contains(['[', '=']) {
        return Some(Asked::Name(text.trim().to_owned()));
    }
    let table: toml::Table = text.parse().ok()?;
    let table = table.get("toolchain")?.as_table()?;
    // rustup may install what is missing of components.
    if table.keys().any(|key| !matches!(key.as_str(), "channel" | "path" | "profile")) {
        return None;
    }
    let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
    match (text("channel"), text("path")) {
        (Some(name), None) => Some(Asked::Name(name.to_owned())),
        (None, Some(path)) => Some(Asked::Path(path.into())),
        _ => None,
    }
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    (text.len() <= FILE_BYTES_MAX).then_some(text)
}

/// What rustup says, now or once in the same state.
fn asked(session: &Session<'_>, name: &OsStr, plus: Option<&OsStr>) -> Result<PathBuf, Reason> {
    let file = session.call.compiler_file;
    let key = state_key(session, file, name, plus);
    let known = read_section(session, &key, RecordKind::Blob, SectionKind::Data);
    let known = known.map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    if let Some(program) = known.filter(|program| program.is_file()) {
        return Ok(program);
    }
    let mut command = Command::new(file.with_file_name(RUSTUP));
    if let Some(plus) = plus {
        command.arg([OsStr::new("+"), plus].join(OsStr::new("")));
    }
    command.arg("which").arg(name).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().map_err(|error| failed(&format!("cannot ask it: {error}")))?;
    let path = output.stdout.trim_ascii_end();
    if !output.status.success() || path.is_empty() {
        return Err(failed("it does not tell the toolchain"));
    }
    let section = Section::new(SectionKind::Data, path.to_vec());
    let _ = session.store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}

/// The key of everything that rustup looks at.
fn state_key(session: &Session<'_>, file: &Path, name: &OsStr, plus: Option<&OsStr>) -> Key {
    let mut state: Vec<Vec<u8>> = Vec::new();
    let contents = |path: &Path| match session.digests.digest(path) {
        Ok(digest) => digest.to_vec(),
        // Something that is no file is not nothing.
        Err(_) => vec![u8::from(Facts::of_link(path).is_ok())],
    };
    for text in [file.as_os_str(), name, plus.unwrap_or_default()] {
        state.push(text.as_bytes().to_vec());
    }
    state.push(contents(&file.with_file_name(RUSTUP)));
    let mut variables: Vec<_> = env::vars_os()
        .filter(|(name, _)| name == "HOME" || name.as_bytes().starts_with(b"RUSTUP_"))
        .flat_map(|(name, value)| [name.into_vec(), value.into_vec()])
        .collect();
    state.append(&mut variables);
    if let Some(home) = Home::of_environment() {
        state.push(contents(&home.path.join("settings.toml")));
        for directory in home.directory.ancestors() {
            state.push(directory.as_os_str().as_bytes().to_vec());
            state.extend(TOOLCHAIN_FILES.iter().map(|name| contents(&directory.join(name))));
        }
    }
    rustup_key(state.iter().map(Vec::as_slice))
}

fn failed(what: &str) -> Reason {
    Reason::new(Counter::CompilerCheckFailed, format!("rustup's toolchain: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct House(tempfile::TempDir);

    impl House {
        fn new() -> House {
            let house = House(tempfile::tempdir().unwrap());
            for name in ["stable", "1.90", "nightly-2026-01-01"] {
                let name =
                    format!("home/toolchains/{name}-{}-unknown-linux-gnu", env::consts::ARCH);
                fs::create_dir_all(house.0.path().join(name)).unwrap();
            }
            fs::create_dir_all(house.0.path().join("home/toolchains/own")).unwrap();
            fs::create_dir_all(house.0.path().join("project/sub")).unwrap();
            house.write("home/settings.toml", "default_toolchain = \"stable\"\n");
            house
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        /// The toolchain's name without the machine.
        fn found(&self, plus: Option<&str>, variable: Option<&str>) -> Option<String> {
            let path = self.0.path().join("home");
            let directory = self.0.path().join("project/sub");
            let home = Home { path, variable: variable.map(OsString::from), directory };
            let found = home.toolchain(plus.map(OsStr::new))?;
            let name = found.file_name()?.to_str()?.to_owned();
            let machine = format!("-{}-unknown-linux-gnu", env::consts::ARCH);
            Some(name.strip_suffix(&machine).unwrap_or(&name).to_owned())
        }
    }

    #[test]
    fn the_nearest_word_decides() {
        let house = House::new();
        let found = |plus, variable| house.found(plus, variable).unwrap();
        assert_eq!(found(None, None), "stable");
        house.write("project/rust-toolchain.toml", "[toolchain]\nchannel = \"1.90\"\n");
        assert_eq!(found(None, None), "1.90");
        house.write("project/rust-toolchain", "own\n");
        assert_eq!(found(None, None), "own");
        let project = house.0.path().join("project");
        let text = format!(
            "default_toolchain = \"stable\"\n[overrides]\n\"{}\" = \"nightly-2026-01-01\"\n",
            project.display()
        );
        house.write("home/settings.toml", &text);
        assert_eq!(found(None, None), "nightly-2026-01-01");
        house.write("project/sub/rust-toolchain", "[toolchain]\npath = \"../else\"\n");
        assert_eq!(found(None, None), "else");
        assert_eq!(found(None, Some("1.90")), "1.90");
        assert_eq!(found(Some("own"), Some("1.90")), "own");
    }

    #[test]
    fn what_is_not_certain_is_asked_for() {
        let house = House::new();
        house.write("project/rust-toolchain", "[toolchain]\nchannel = \"1.90\"\ntargets = []\n");
        assert_eq!(house.found(None, None), None);
        house.write("project/rust-toolchain", "[toolchain\n");
        assert_eq!(house.found(None, None), None);
        assert_eq!(house.found(None, Some("beta")), None);
        let other = format!("home/toolchains/1.90-{}-unknown-linux-musl", env::consts::ARCH);
        fs::create_dir_all(house.0.path().join(other)).unwrap();
        assert_eq!(house.found(None, Some("1.90")), None);
        house.write(
            "home/settings.toml",
            "default_toolchain = \"1.90\"\ndefault_host_triple = \"m68k-unknown-linux-gnu\"\n",
        );
        fs::remove_file(house.0.path().join("project/rust-toolchain")).unwrap();
        assert_eq!(house.found(None, None).as_deref(), Some("1.90-m68k-unknown-linux-gnu"));
    }

    #[test]
    fn channels_are_told_from_names() {
        for name in ["stable", "beta", "nightly", "1.90", "1.90.1", "nightly-2026-01-01"] {
            assert!(is_channel(name), "{name}");
        }
        for name in ["own", "stable-x86_64-unknown-linux-gnu", "stage1", "1.90-mine", "rust-1"] {
            assert!(!is_channel(name), "{name}");
        }
    }
}
