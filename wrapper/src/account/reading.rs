//! What a compile has read, as the manifest remembers it, and what of that differs from another
//! reading or from the files of now.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::{Record, RecordKind, SectionKind, Store};

use super::Account;
use super::compare::{Difference, Kind};
use crate::digest::{Digest, Mentions};
use crate::manifest::Manifest;
use crate::rust::coded::{MACROS, is_coded, value_digest, variable_of, words_of};

/// One remembered state of the inputs of a call.
pub struct Reading {
    /// Every file, the source too, by the name that the compiler gave it.
    pub files: BTreeMap<PathBuf, Digest>,
    /// Names that were looked for in vain: paths by their letters.
    absent: Vec<PathBuf>,
    mentions: Mentions,
    moment: Digest,
    messages: u64,
    directory: PathBuf,
    source: PathBuf,
}

impl Reading {
    /// What the compile of an account has read; `None` if the store has no longer a manifest that
    /// knows of its result.
    pub fn of(store: &Store, account: &Account) -> Option<Reading> {
        let (direct, result) = (account.direct?, account.result?);
        let record = store.get(&direct).ok()??;
        let manifest = Manifest::decode(&section(&record, SectionKind::Manifest)?)?;
        let manifest = manifest.with_names(section(&record, SectionKind::Data).unwrap_or_default());
        let variant = manifest.newest_first().find(|variant| variant.result == result)?;
        let files = manifest.inputs_of(variant);
        let named = |(path, digest): (usize, &Digest)| {
            Some((manifest.paths().get(path)?.to_path_buf(), *digest))
        };
        let mut absent = Vec::new();
        for group in manifest.absent_of(variant) {
            let Some((prefix, names)) = manifest.names_of(&group) else { continue };
            for name in names {
                let below = [prefix, name].concat();
                let name = Path::new(OsStr::from_bytes(&below));
                absent.push(group.directory.join(name));
            }
        }
        Some(Reading {
            files: files.filter_map(named).collect(),
            absent,
            mentions: variant.mentions,
            moment: variant.moment,
            messages: variant.messages,
            directory: account.directory.clone(),
            // Of a crate the manifest has the source as well.
            source: match account.row("source") {
                Some(_) => account.source.clone(),
                None => PathBuf::new(),
            },
        })
    }

    /// Whether a path is the source's: its contents are in the direct key.
    fn is_source(&self, path: &Path) -> bool {
        super::plain_path(&self.directory, path) == self.source
    }

    fn was_absent(&self, path: &Path) -> bool {
        let plain = |path: &Path| super::plain_path(&self.directory, path);
        self.absent.iter().any(|name| plain(name) == plain(path))
    }

    /// What a later compile has read otherwise.
    pub fn differences(&self, newer: &Reading) -> Vec<Difference> {
        let mut found = Vec::new();
        for (path, digest) in newer.files.iter().filter(|(path, _)| !newer.is_source(path)) {
            match self.files.get(path) {
                Some(older) if older == digest => {}
                Some(older) => found.push(changed(path, older, Some(digest))),
                None => found.push(self.added(path, digest)),
            }
        }
        let gone = self.files.keys().filter(|path| !self.is_source(path));
        for path in gone.filter(|path| !newer.files.contains_key(*path)) {
            let text = format!("{} was read before and no longer is", name_of(path));
            found.push(Difference::new(Kind::InputRemoved, text).of_file(path.clone(), None, None));
        }
        if self.moment != newer.moment {
            found.push(self.moment_differs(newer.mentions));
        }
        if self.messages != newer.messages && found.is_empty() {
            found.push(messages_differ());
        }
        found
    }

    fn added(&self, path: &Path, digest: &Digest) -> Difference {
        let text = match self.was_absent(path) {
            true => format!(
                "{} is there now, where the earlier compile looked in vain: it comes before what \
                 was found elsewhere",
                path.display()
            ),
            false => format!("{} is read now and was not before", name_of(path)),
        };
        let kind = if self.was_absent(path) { Kind::InputAppeared } else { Kind::InputAdded };
        Difference::new(kind, text).of_file(path.to_path_buf(), None, Some(*digest))
    }

    /// What the files of now have otherwise, as seen from `directory`.
    pub fn differences_now(&self, directory: &Path) -> Vec<Difference> {
        let mut found = Vec::new();
        for (path, older) in self.files.iter().filter(|(path, _)| !self.is_source(path)) {
            if let Some(name) = variable_of(path) {
                let newer = value_digest(env::var_os(name).as_deref());
                found.extend((newer != *older).then(|| other_value(name, older, Some(&newer))));
                continue;
            }
            if is_coded(path) {
                continue;
            }
            match fs::read(directory.join(path)) {
                Ok(text) => {
                    let newer = *blake3::hash(&text).as_bytes();
                    if newer != *older {
                        found.push(changed(path, older, Some(&newer)));
                    }
                }
                Err(error) => {
                    let text = format!("{} cannot be read: {error}", path.display());
                    let difference = Difference::new(Kind::InputRemoved, text);
                    found.push(difference.of_file(path.clone(), Some(*older), None));
                }
            }
        }
        for name in self.absent.iter().filter(|name| directory.join(name).is_file()) {
            let text = format!(
                "{} is there now, where the earlier compile looked in vain",
                super::plain_path(directory, name).display()
            );
            let difference = Difference::new(Kind::InputAppeared, text);
            found.push(difference.of_file(name.clone(), None, None));
        }
        found
    }

    /// That the time macros show something else; `mentions` are those of the later compile.
    pub fn moment_differs(&self, mentions: Mentions) -> Difference {
        let both = self.mentions.union(mentions);
        let macros = [
            (Mentions::DATE, "__DATE__"),
            (Mentions::TIME, "__TIME__"),
            (Mentions::TIMESTAMP, "__TIMESTAMP__"),
        ];
        let names = macros.iter().filter(|(bit, _)| both.any(*bit)).map(|(_, name)| *name);
        let names = names.collect::<Vec<_>>().join(" and ");
        // Those of a precompiled header of clang count, whatever the sloppiness.
        let pch = match both.any(Mentions::TIMESTAMP) {
            true => "; or clang checks the times of headers in a precompiled one",
            false => "",
        };
        let text = format!(
            "an input mentions {names}, which shows something else now (sloppiness=time_macros \
             lets that not count){pch}"
        );
        Difference::new(Kind::Time, text)
    }

    /// What the inputs mention.
    pub fn mentions(&self) -> Mentions {
        self.mentions
    }
}

/// That messages look otherwise, or show another directory.
pub fn messages_differ() -> Difference {
    let text = "the compile has messages, and how they look (colours, links, GCC_COLORS), or the \
                directory that they show, is another one";
    Difference::new(Kind::Messages, text)
}

/// A file's name, or in words a variable that `env!` has read.
pub fn name_of(path: &Path) -> String {
    words_of(path).unwrap_or_else(|| path.display().to_string())
}

/// A variable has another value. A manifest has no values, only their digests.
fn other_value(name: &OsStr, older: &Digest, newer: Option<&Digest>) -> Difference {
    let now = env::var_os(name);
    let shown = |digest: &Digest| match &now {
        _ if *digest == value_digest(None) => Some("not set".to_owned()),
        Some(value) if *digest == value_digest(Some(value)) => {
            Some(format!("\"{}\"", value.to_string_lossy().replace(char::is_control, "?")))
        }
        _ => None,
    };
    let (was, is) = (shown(older), newer.and_then(shown));
    let name = name.display();
    let text = match (was, is) {
        (Some(was), Some(is)) => format!("{name}, which the source reads, was {was} and is {is}"),
        (Some(was), None) => format!("{name}, which the source reads, was {was} and no longer is"),
        (None, Some(is)) => {
            format!("{name}, which the source reads, had another value and is {is}")
        }
        (None, None) => format!("{name}, which the source reads, has another value"),
    };
    Difference::new(Kind::Variable, text)
}

fn changed(path: &Path, older: &Digest, newer: Option<&Digest>) -> Difference {
    if let Some(name) = variable_of(path) {
        return other_value(name, older, newer);
    }
    let text = format!("{} has changed", name_of(path));
    if is_coded(path) {
        let is_macros = path.as_os_str().as_bytes() == MACROS;
        return Difference::new(if is_macros { Kind::MacroInputs } else { Kind::Extern }, text);
    }
    Difference::new(Kind::InputChanged, text).of_file(
        path.to_path_buf(),
        Some(*older),
        newer.copied(),
    )
}

fn section(record: &Record, kind: SectionKind) -> Option<Vec<u8>> {
    (record.kind() == Some(RecordKind::Manifest)).then_some(())?;
    let at = record.sections().iter().position(|info| info.kind == Some(kind))?;
    record.read(at).ok()
}
