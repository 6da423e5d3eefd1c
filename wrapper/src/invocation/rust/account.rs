//! The account of a crate that was no hit, for `larder explain`, and what would become of a call
//! now.
//!
//! 1. The rows are those of the table in [`crate::rust::key`]; there is one for each variable.
//!    Words for the linker are among the arguments.
//! 2. They are made on a miss only, from what the job has kept of its key.
//! 3. What the source reads stands in the manifest, variables of `env!` among it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use larder_engine::{Entry, Key};

use super::super::Session;
use super::super::foresee::Foreseen;
use super::{Job, Variables, fitting, inputs};
use crate::account::{Account, Differs, Obstacle, Part, plain_path};
use crate::digest::Digest;
use crate::fingerprint::Row;
use crate::manifest::{Input, Manifest};
use crate::place::MARK;

/// What the key of a job has beside its command line.
pub(super) struct Told {
    pub(super) namespace: String,
    /// The contents of each extern, in the order of the command line.
    pub(super) externs: Vec<Option<Digest>>,
    pub(super) searched: Vec<(String, Digest)>,
    /// What options name, then what the settings name.
    pub(super) named: Vec<(PathBuf, Digest)>,
    pub(super) native: Option<Digest>,
    pub(super) variables: Variables,
    pub(super) directory: PathBuf,
}

/// Remembers what there is to tell, before it is known how the call ends.
pub(super) fn describe(session: &Session<'_>, job: &Job, cost_us: u32) {
    session.account.replace(Account { cost_us, ..account_of(session, job) });
}

/// What is stored with a result.
pub(super) fn entries(
    session: &Session<'_>,
    job: &Job,
    list: &[Input],
    result: &Key,
) -> Vec<Entry<'static>> {
    session.entries_of_account(&job.told.directory, list, result)
}

/// What is in the way of a hit, by what the newest variant has.
pub(super) fn obstacle(session: &Session<'_>, job: &Job, manifest: &Manifest) -> Obstacle {
    let Some(variant) = manifest.newest_first().next() else { return Obstacle::NoManifest };
    if ![0, job.messages].contains(&variant.messages) {
        return Obstacle::NoVariant(Differs::Messages);
    }
    for (path, digest) in manifest.inputs_of(variant) {
        let Some(path) = manifest.paths().get(path) else { continue };
        if inputs::digest(session, job, path) != Some(*digest) {
            return Obstacle::NoVariant(Differs::Input(path.to_path_buf()));
        }
    }
    let group = manifest.absent_of(variant).next();
    match group.filter(|_| !inputs::is_absent(session, job, manifest, variant)) {
        Some(group) => Obstacle::NoVariant(Differs::Absent(group.directory.to_path_buf())),
        None => Obstacle::Unknown,
    }
}

/// What would become of the call of a dry session.
pub(in super::super) fn foresee(session: &Session<'_>) -> Foreseen {
    let job = match Job::of(session) {
        Ok(job) => job,
        Err(reason) => return Foreseen::Uncached(reason),
    };
    let fits = |manifest: &Manifest| {
        fitting(session, &job, manifest).map(|variant| (variant.result, variant.cost_us))
    };
    if let Some(hit) =
        session.foresee_hit(&job.direct, fits, |found| obstacle(session, &job, found))
    {
        return hit;
    }
    Foreseen::Miss(Box::new(account_of(session, &job)))
}

fn account_of(session: &Session<'_>, job: &Job) -> Account {
    let directory = &job.told.directory;
    // The driver and its program say enough; the digest of all files is in a row.
    let is_main = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name == b"rustc" || name.starts_with(b"librustc_driver")
    };
    let part = |path: &PathBuf| {
        let digest = session.digests.digest(path).ok()?;
        Some(Part { path: path.clone(), digest: digest.first_chunk().copied()? })
    };
    Account {
        at_ns: session.call.started_ns,
        source: plain_path(directory, &job.made.source),
        directory: directory.clone(),
        compiler: session.call.compiler.to_path_buf(),
        direct: Some(job.direct),
        rows: rows(job),
        parts: job.toolchain.files.iter().filter(is_main).filter_map(part).collect(),
        hits_before: session.hits(),
        obstacle: session.obstacle.borrow().clone(),
        ..Account::default()
    }
}

/// The rows of the direct key. Variables that are not set have none.
fn rows(job: &Job) -> Vec<Row> {
    let (made, told) = (&job.made, &job.told);
    let row = |name: &str, fields: Vec<Vec<u8>>| Row { name: name.to_owned(), fields };
    let number = |number: usize| (number as u64).to_le_bytes().to_vec();
    let mut rows = vec![
        row("namespace", vec![told.namespace.clone().into_bytes()]),
        row("toolchain", vec![job.toolchain.identity.to_vec()]),
    ];
    let words = words(job);
    let list = words.into_iter().map(String::into_bytes);
    let list: Vec<_> = list.collect();
    rows.push(row("arguments", [vec![number(list.len())], list].concat()));
    let directory = match &job.checkout {
        Some(_) => vec![MARK],
        None => told.directory.as_os_str().as_bytes().to_vec(),
    };
    rows.push(row("working directory", vec![directory]));
    let externs = made.externs.iter().zip(&told.externs).flat_map(|(external, digest)| {
        let name = match external.modifiers.as_str() {
            "" => external.name.clone(),
            modifiers => format!("{modifiers}:{}", external.name),
        };
        [name.into_bytes(), digest.map_or_else(Vec::new, |digest| digest.to_vec())]
    });
    rows.push(row("externs", externs.collect()));
    let searched = told.searched.iter();
    let searched = searched.flat_map(|(name, digest)| [name.clone().into_bytes(), digest.to_vec()]);
    rows.push(row("searched libraries", searched.collect()));
    let named = told.named.iter();
    let named =
        named.flat_map(|(path, digest)| [path.as_os_str().as_bytes().to_vec(), digest.to_vec()]);
    let named: Vec<_> = named.collect();
    rows.push(row("named files", [vec![number(named.len() / 2)], named].concat()));
    rows.push(row("processor", told.native.iter().map(|digest| digest.to_vec()).collect()));
    rows.push(row("further inputs", job.extra.iter().map(|digest| digest.to_vec()).collect()));
    for (name, value) in &told.variables {
        if let Some(value) = value {
            let name = String::from_utf8_lossy(name);
            rows.push(row(&name, vec![number(1), value.clone()]));
        }
    }
    rows
}

/// The words that count, as they might be written; what counts in the form of something else than
/// text is left out.
fn words(job: &Job) -> Vec<String> {
    let made = &job.made;
    let mut words = vec![format!("--crate-name {}", made.name)];
    words.push(match &job.checkout {
        Some(checkout) => String::from_utf8_lossy(checkout.source()).into_owned(),
        None => made.source.display().to_string(),
    });
    words.extend(made.types.iter().map(|kind| format!("--crate-type {}", kind.name())));
    words.extend(made.is_test.then(|| "--test".to_owned()));
    let emit: Vec<&str> = made.emit.iter().map(|(emit, _)| emit.name()).collect();
    words.push(format!("--emit {}", emit.join(",")));
    words.extend(made.notifies.then(|| "--json artifacts".to_owned()));
    for pair in made.key_words.chunks(2) {
        words.push(pair.join(" ").trim_end().to_owned());
    }
    let is_split = made.split_debuginfo.as_deref().is_some_and(|kind| kind != "off");
    if let Some(place) = made.out_dir.as_deref().filter(|_| is_split) {
        words.push(format!("--out-dir {}", place.display()));
    }
    words
}
