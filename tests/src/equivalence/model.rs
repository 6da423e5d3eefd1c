//! Changes of one thing at a time, drawn for what stands there now, and the way back.
//!
//! 1. The changes are kept in a model of the project, so that the next one meets what is there.
//! 2. A quarter of them takes an earlier one back: that leads to results which are stored already,
//!    and to manifests with several variants.

use std::collections::BTreeMap;

use super::script::{Action, Call, Entry, Script, Step, Time, Way};
use super::{Language, flags, rust};
use crate::sample::Random;

/// What stands there now, and how to come back to what stood there before.
pub struct Model {
    language: Language,
    pub(super) files: BTreeMap<String, Entry>,
    pub(super) call: Call,
    undo: Vec<Vec<Action>>,
    /// What stood there at first.
    first: (BTreeMap<String, Entry>, Call),
    /// Whether the last change ended where nothing is cached, or nothing is made.
    is_stuck: bool,
}

impl Model {
    /// A project at its beginning.
    pub fn new(script: &Script, language: Language) -> Model {
        Model {
            language,
            files: script.files.clone(),
            call: script.call.clone(),
            undo: Vec::new(),
            first: (script.files.clone(), script.call.clone()),
            is_stuck: false,
        }
    }

    /// The next step.
    pub fn step(&mut self, random: &mut Random) -> Step {
        let actions = self.next(random);
        let mut back: Vec<Action> = actions.iter().filter_map(|action| self.take(action)).collect();
        back.reverse();
        if !back.is_empty() {
            self.undo.push(back);
        }
        let meanwhile = (random.below(20) == 0).then(|| {
            let action = self.content(random);
            self.take(&action);
            let longest_us = if self.language == Language::Rust { 150_000 } else { 40_000 };
            (random.below(longest_us), action)
        });
        let shared = match self.language {
            Language::C => flags::SHARED_OUTPUTS,
            Language::Rust => rust::flags::SHARED_OUTPUTS,
            Language::Link => &["-Wl,-Map"],
        };
        let may_share =
            |word: &String| shared.iter().any(|option| word.starts_with(option)) && word != "-MF";
        Step {
            actions,
            is_silent: random.below(12) == 0,
            parts_skipped: match self.call.parts.len() as u64 {
                0 => 0,
                count => random.below(2 * count + 1) as usize,
            },
            larder_first: random.below(2) == 0,
            by_link: random.below(4) == 0,
            copy_first: random.below(6) == 0,
            has_twin: random.below(10) == 0 && !self.call.words().any(may_share),
            meanwhile,
        }
    }

    /// Hears how larder's calls were counted after the last step.
    pub fn hear(&mut self, counted: &[String], has_succeeded: bool) {
        let is_cached = |name: &String| name.ends_with("cache_hit") || name == "cache_miss";
        let is_useful = has_succeeded && counted.iter().any(is_cached);
        self.is_stuck = !counted.is_empty() && !is_useful;
    }

    /// A new change or an old one taken back; mostly the last one where nothing is cached.
    fn next(&mut self, random: &mut Random) -> Vec<Action> {
        if self.is_stuck && random.below(3) != 0 {
            match self.undo.pop() {
                Some(last) if random.below(4) != 0 => return last,
                _ => return self.anew(),
            }
        }
        if self.undo.is_empty() || random.below(4) != 0 {
            return self.change(random);
        }
        let at = random.below(self.undo.len() as u64) as usize;
        self.undo.remove(at)
    }

    /// Everything as it stood at first.
    fn anew(&self) -> Vec<Action> {
        let (files, call) = &self.first;
        let gone = self.files.keys().filter(|name| !files.contains_key(*name));
        let mut actions: Vec<Action> = gone.map(|name| Action::Remove(name.clone())).collect();
        let other = files.iter().filter(|(name, entry)| self.files.get(*name) != Some(*entry));
        actions.extend(other.map(|(name, entry)| match entry.clone() {
            Entry::File(text) => {
                Action::Write { name: name.clone(), text, time: Time::Now, way: Way::Over }
            }
            Entry::Link(target) => Action::Link(name.clone(), target),
        }));
        let names = self.call.variables.keys().chain(call.variables.keys());
        let other =
            names.filter(|name| self.call.variables.get(*name) != call.variables.get(*name));
        actions.extend(
            other.map(|name| Action::Variable(name.clone(), call.variables.get(name).cloned())),
        );
        actions.extend([
            Action::Directory(call.directory.clone()),
            Action::Umask(call.umask),
            Action::Compiler(call.compiler.clone()),
            Action::Arguments(call.units.clone()),
        ]);
        let parts = call.parts.iter().enumerate();
        actions.extend(parts.map(|(at, part)| Action::PartArguments(at, part.units.clone())));
        actions
    }

    /// Keeps an action in mind; what takes it back.
    fn take(&mut self, action: &Action) -> Option<Action> {
        let back = match action {
            Action::Write { name, text, time, way } => {
                let old = self.files.insert(name.clone(), Entry::File(text.clone()));
                self.put_back(name, old, *time, *way)
            }
            Action::Remove(name) => {
                let old = self.files.remove(name);
                self.put_back(name, old, Time::Now, Way::Into)
            }
            Action::Link(name, target) => {
                let old = self.files.insert(name.clone(), Entry::Link(target.clone()));
                self.put_back(name, old, Time::Now, Way::Into)
            }
            Action::HardLink(name, old) => {
                let entry = self.files.get(old).cloned()?;
                self.files.insert(name.clone(), entry);
                Action::Remove(name.clone())
            }
            Action::Rename(from, to) => {
                self.rename(from, to);
                Action::Rename(to.clone(), from.clone())
            }
            Action::Touch(name, _) => Action::Touch(name.clone(), Time::At(1_000_000_000)),
            Action::Mode(name, _) => Action::Mode(name.clone(), 0o644),
            Action::Variable(name, _) => {
                Action::Variable(name.clone(), self.call.variables.get(name).cloned())
            }
            Action::Directory(_) => Action::Directory(self.call.directory.clone()),
            Action::Umask(_) => Action::Umask(self.call.umask),
            Action::Compiler(_) => Action::Compiler(self.call.compiler.clone()),
            Action::Arguments(_) => Action::Arguments(self.call.units.clone()),
            Action::PartArguments(at, _) => {
                Action::PartArguments(*at, self.call.parts.get(*at)?.units.clone())
            }
        };
        self.call.take(action);
        Some(back)
    }

    fn put_back(&self, name: &str, old: Option<Entry>, time: Time, way: Way) -> Action {
        let name = name.to_owned();
        match old {
            Some(Entry::File(text)) => Action::Write { name, text, time, way },
            Some(Entry::Link(target)) => Action::Link(name, target),
            None => Action::Remove(name),
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let inside = format!("{from}/");
        let moved: Vec<String> = self
            .files
            .keys()
            .filter(|name| *name == from || name.starts_with(&inside))
            .cloned()
            .collect();
        for name in moved {
            if let Some(entry) = self.files.remove(&name) {
                self.files.insert(format!("{to}{}", &name[from.len()..]), entry);
            }
        }
    }

    fn change(&mut self, random: &mut Random) -> Vec<Action> {
        match self.language {
            Language::C => self.change_c(random),
            Language::Rust => self.change_rust(random),
            Language::Link => self.change_link(random),
        }
    }

    fn content(&mut self, random: &mut Random) -> Action {
        match self.language {
            Language::C => self.content_c(random),
            Language::Rust => self.content_rust(random),
            Language::Link => self.content_link(random),
        }
    }
}

pub(super) fn time(random: &mut Random) -> Time {
    *random.choose(&[Time::Now, Time::At(1_000_000_000), Time::At(1_000_000_777), Time::At(1)])
}

/// A line with another digit in the place of one.
pub(super) fn other_number(line: &str, random: &mut Random) -> String {
    let digits: Vec<usize> = line
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_digit())
        .map(|(at, _)| at)
        .collect();
    let Some(at) = digits.get(random.below(digits.len() as u64) as usize) else {
        return format!("{line} ");
    };
    format!("{}{}{}", &line[..*at], random.below(10), &line[at + 1..])
}
