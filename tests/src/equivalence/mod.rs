//! The randomised equivalence test: whatever happens to a project, a compile through larder leaves
//! what the compiler alone leaves.
//!
//! 1. A seed gives a small project ([`project`]; [`rust`]: a few crates; [`link`]) and changes of
//!    one thing at a time ([`model`]).
//! 2. After each change the same command runs without larder and twice with it, in the same place,
//!    and everything that they leave is compared ([`arena`]).
//! 3. A failure is made small ([`shrink`]) and printed as commands ([`script`]).

pub mod arena;
mod flags;
mod link;
mod model;
mod mutate;
mod project;
mod rust;
pub mod script;
mod shrink;
pub mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io;

pub use self::arena::Kitchen;
use self::arena::{Arena, Outcome};
use self::model::Model;
use self::script::{Script, Step};
use crate::sample::Random;

/// Changes of one project. More of them meet more states that are stored, fewer meet more projects.
pub const CHANGES: u64 = 25;

/// Projects that a seed tries until the first call of one is cached.
const PROJECTS_MAX: u64 = 4;

/// How often a failure may fail to come again before its script is given up and told as it is.
const REPEATS_MAX: usize = 3;

/// What the projects are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// C, C++ and assembler, through gcc and clang.
    C,
    /// Rust, through rustc and clippy.
    Rust,
    /// Objects, archives and libraries that are linked.
    Link,
}

/// A file: its name and its text.
type Source = (&'static str, &'static str);

impl Language {
    fn generate(self, random: &mut Random) -> Script {
        match self {
            Language::C => project::generate(random),
            Language::Rust => rust::project::generate(random),
            Language::Link => link::project::generate(random),
        }
    }

    /// A source, and calls after which larder knows the compilers.
    fn trials(self) -> (Source, &'static [&'static [&'static str]]) {
        match self {
            // Which linker there is depends on more, and is asked for in each project.
            Language::C | Language::Link => (
                ("a.c", "int x;\n"),
                &[
                    &["gcc", "-c", "a.c"],
                    &["g++", "-c", "a.c"],
                    &["clang", "-c", "a.c"],
                    &["clang++", "-c", "a.c"],
                ],
            ),
            Language::Rust => (
                ("a.rs", "\n"),
                &[
                    &["rustc", "--crate-name=a", "a.rs", "--crate-type=lib", "--out-dir=."],
                    &[
                        "clippy-driver",
                        "--crate-name=a",
                        "a.rs",
                        "--crate-type=lib",
                        "--out-dir=.",
                        "--emit=metadata",
                    ],
                ],
            ),
        }
    }
}

/// What was run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Changes after which something ran.
    pub mutations: u64,
    /// Those of them with which the compiler alone succeeds.
    pub successes: u64,
    /// Parts that were not judged, because the compiler is not identical to itself there.
    pub unstable: u64,
    /// What larder counted, by counter.
    pub counted: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds what another one has.
    pub fn add(&mut self, other: &Tally) {
        self.mutations += other.mutations;
        self.successes += other.successes;
        self.unstable += other.unstable;
        for (name, count) in &other.counted {
            *self.counted.entry(name.clone()).or_default() += count;
        }
    }

    /// Calls that were answered from the store.
    pub fn hits(&self) -> u64 {
        let of = |name| self.counted.get(name).copied().unwrap_or(0);
        of("direct_cache_hit") + of("preprocessed_cache_hit")
    }

    fn take(&mut self, outcome: &Outcome) {
        self.mutations += 1;
        self.successes += u64::from(outcome.is_success);
        self.unstable += u64::from(!outcome.unstable.is_empty());
        for name in &outcome.counted {
            *self.counted.entry(name.clone()).or_default() += 1;
        }
    }
}

/// A script that ended differently with larder, made small.
#[derive(Debug)]
pub struct Failure {
    /// The seed of its project.
    pub seed: u64,
    /// What is left of it.
    pub script: Script,
    /// What was wrong.
    pub wrong: Vec<String>,
    /// Larder's log of the small script.
    pub log: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "=== seed {} failed; made small:\n{}", self.seed, self.script)?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "{wrong}"))?;
        let last: Vec<&str> = self.log.lines().rev().take(6).collect();
        writeln!(f, "--- the end of the log")?;
        last.iter().rev().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Runs one project of a seed with `changes` of it.
///
/// # Errors
/// If the directory for it cannot be used.
pub fn run(kitchen: &Kitchen, seed: u64, changes: u64) -> io::Result<(Tally, Option<Failure>)> {
    let (tally, failed) = try_seed(kitchen, seed, changes)?;
    let failure = failed.map(|(script, wrong)| explain(kitchen, seed, script, wrong));
    Ok((tally, failure))
}

/// What is wrong first in a project of a seed, without making it small.
///
/// # Errors
/// If the directory for it cannot be used.
pub fn first_wrong(kitchen: &Kitchen, seed: u64, changes: u64) -> io::Result<Option<Vec<String>>> {
    Ok(try_seed(kitchen, seed, changes)?.1.map(|(_, wrong)| wrong))
}

/// A script, and what was wrong after its last step.
type Failed = (Script, Vec<String>);

fn try_seed(kitchen: &Kitchen, seed: u64, changes: u64) -> io::Result<(Tally, Option<Failed>)> {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut tries = 0;
    // Most projects begin with a call that is cached: changes of it show more.
    let (mut script, mut arena, first) = loop {
        let mut script = kitchen.language.generate(&mut random);
        let mut arena = Arena::new(kitchen, &script)?;
        let step = Step::default();
        let outcome = arena.step(&step)?;
        script.steps.push(step);
        tries += 1;
        let is_cached = outcome.counted.iter().any(|name| name == "cache_miss");
        if is_cached && outcome.is_success || tries >= PROJECTS_MAX || !outcome.wrong.is_empty() {
            break (script, arena, outcome);
        }
    };
    tally.take(&first);
    if !first.wrong.is_empty() {
        return Ok((tally, Some((script, first.wrong))));
    }
    let mut model = Model::new(&script, kitchen.language);
    for _ in 0..changes {
        let step = model.step(&mut random);
        script.steps.push(step.clone());
        let outcome = arena.step(&step)?;
        model.hear(&outcome.counted, outcome.is_success);
        if !outcome.counted.is_empty() {
            tally.take(&outcome);
        }
        if !outcome.wrong.is_empty() {
            return Ok((tally, Some((script, outcome.wrong))));
        }
    }
    Ok((tally, None))
}

/// What the last step of a script ends with that is wrong, or an earlier one.
///
/// # Errors
/// If the directory for it cannot be used.
pub fn replay(kitchen: &Kitchen, script: &Script) -> io::Result<(Vec<Outcome>, String)> {
    let mut arena = Arena::new(kitchen, script)?;
    let outcomes: io::Result<Vec<Outcome>> =
        script.steps.iter().map(|step| arena.step(step)).collect();
    Ok((outcomes?, arena.log()))
}

fn explain(kitchen: &Kitchen, seed: u64, script: Script, wrong: Vec<String>) -> Failure {
    let wrong_of = |script: &Script| {
        let (outcomes, log) = replay(kitchen, script).ok()?;
        let wrong: Vec<String> = outcomes.into_iter().flat_map(|outcome| outcome.wrong).collect();
        (!wrong.is_empty()).then_some((wrong, log))
    };
    eprintln!("seed {seed}, step {}: {}", script.steps.len(), wrong.join("\n"));
    let mut last = (wrong, String::new());
    if !(0..REPEATS_MAX).any(|_| wrong_of(&script).is_some()) {
        last.0.push("(this did not happen again)".to_owned());
        return Failure { seed, script, wrong: last.0, log: last.1 };
    }
    let script = shrink::shrink(script, &mut |candidate| {
        let wrong = wrong_of(candidate);
        let fails = wrong.is_some();
        last = wrong.unwrap_or_else(|| std::mem::take(&mut last));
        fails
    });
    Failure { seed, script, wrong: last.0, log: last.1 }
}
