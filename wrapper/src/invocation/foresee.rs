//! What would become of a call now, without compiling, restoring, storing or counting.
//!
//! The look-up is the one that compiles go through, in a session that is dry: it opens the store
//! to read only, and a hit ends before the first file is touched. The preprocessor runs where a
//! compile would run it. What only the compiler can find out (that it fails, that an input changes
//! meanwhile) is not foreseen.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use larder_engine::Key;
use larder_engine::env::clock_ns;

use super::records::Lead;
use super::{Answer, Call, Session, links, lookup, open_store, rust};
use crate::account::{Account, Obstacle};
use crate::config::Config;
use crate::exec;
use crate::log::Log;
use crate::manifest::Manifest;
use crate::outcome::{Counter, Reason};

/// What would happen.
pub enum Foreseen {
    /// It would be a hit of this kind, by the result of this key.
    Hit(Counter, Option<Key>),
    /// It would be compiled and, if nothing comes in the way, stored.
    Miss(Box<Account>),
    /// It would be compiled and not stored.
    Uncached(Reason),
    /// There is no such compiler.
    NoCompiler(String),
    /// `disable` is on.
    Disabled,
}

impl Session<'_> {
    /// The hit that a manifest would lead to; else what stands in its way is noted.
    pub(super) fn foresee_hit(
        &self,
        direct: &Key,
        fits: impl Fn(&Manifest) -> Option<Lead>,
        obstacle: impl FnOnce(&Manifest) -> Obstacle,
    ) -> Option<Foreseen> {
        let recache = self.call.config.recache.value;
        let manifest = if recache { None } else { self.manifest(direct, fits) };
        match manifest {
            Some((_, Some((key, _)))) if self.has_result(&key).unwrap_or(false) => {
                return Some(Foreseen::Hit(Counter::DirectCacheHit, Some(key)));
            }
            Some((_, Some((key, _)))) => self.hinder(Obstacle::ResultGone(key)),
            Some((manifest, None)) => self.hinder(obstacle(&manifest)),
            None => self.hinder(if recache { Obstacle::Recache } else { Obstacle::NoManifest }),
        }
        None
    }
}

/// Foresees `larder PROGRAM ARGUMENTS`.
///
/// # Errors
/// If the store cannot be opened.
pub fn foresee(
    config: &Config,
    program: &OsStr,
    arguments: &[OsString],
) -> larder_engine::Result<Foreseen> {
    let own_exe = Path::new(exec::OWN_EXE);
    let found = exec::find_compiler(program, env::var_os("PATH").as_deref(), own_exe);
    let exec::Program { path: compiler, file } = match found {
        Ok(program) => program,
        Err(reason) => return Ok(Foreseen::NoCompiler(reason.text)),
    };
    if config.disable.value {
        return Ok(Foreseen::Disabled);
    }
    let log = Log::default();
    let call = Call {
        started_ns: clock_ns(),
        config,
        log: &log,
        compiler: &compiler,
        compiler_file: &file,
        name: program,
        arguments,
    };
    let path = config.dir.value.as_deref().unwrap_or(Path::new(""));
    let mut readonly = config.clone();
    readonly.readonly.value = true;
    let store = open_store(&readonly, path)?;
    let session = Session { is_dry: true, ..Session::new(&call, store, path) };
    if config.ccache.is_none() && rust::is_rust(&compiler) {
        return Ok(rust::foresee(&session));
    }
    Ok(match lookup::answer(&session) {
        Answer::Hit { .. } => {
            let counts = session.counts.borrow();
            let is_direct = counts.iter().any(|(counter, _)| *counter == Counter::DirectCacheHit);
            let kind = match is_direct {
                true => Counter::DirectCacheHit,
                false => Counter::PreprocessedCacheHit,
            };
            Foreseen::Hit(kind, session.account.borrow().result)
        }
        Answer::Failure { .. } => Foreseen::Hit(Counter::FailureCacheHit, None),
        Answer::Miss { job, .. } => {
            Foreseen::Miss(Box::new(Account { at_ns: call.started_ns, ..session.account_of(&job) }))
        }
        Answer::Uncached(reason) if links::are_meant(&session, &reason) => links::foresee(&session),
        Answer::Uncached(reason) => Foreseen::Uncached(reason),
    })
}
