//! Changes of a project that is linked: sources, libraries, their places and order, lists, options,
//! variables, and what stands where an output goes.

use super::project::{
    COMPILERS, LISTS, MORE, PLACES, SCRIPTS, SOURCES, SPECS, TEXTS, VERSIONS, WORDS, is_core,
    library, option,
};
use crate::equivalence::model::{Model, other_number, time};
use crate::equivalence::script::{Action, Entry, Time, Way};
use crate::sample::Random;

/// Variables and values of them.
const VARIABLES: &[(&str, &[&str])] = &[
    ("LIBRARY_PATH", &["a", "b", "c:a", ""]),
    ("LD_RUN_PATH", &["/run", "b"]),
    ("LD_LIBRARY_PATH", &["b", "c", "@ROOT@/a"]),
    ("COMPILER_PATH", &["tools", "c"]),
    ("SOURCE_DATE_EPOCH", &["0", "1"]),
    ("LANG", &["C", "C.UTF-8", "de_DE.UTF-8"]),
    ("LDFLAGS", &["-s"]),
    ("LDEMULATION", &["elf_x86_64"]),
    ("COLLECT_NO_DEMANGLE", &["1"]),
    ("GCC_EXEC_PREFIX", &["@ROOT@/tools/"]),
    ("ZERO_AR_DATE", &["1"]),
    ("GNUTARGET", &["elf64-x86-64"]),
];

impl Model {
    pub(in crate::equivalence) fn change_link(&mut self, random: &mut Random) -> Vec<Action> {
        let one = match random.below(40) {
            0..=6 => self.content_link(random),
            7..=9 => self.other_library(random),
            10..=12 => return replaced_place(random),
            13 | 14 => library_text(random),
            15 | 16 => Action::Remove(a_library(random)),
            17 => Action::Touch(SOURCES[random.below(4) as usize].0.to_owned(), time(random)),
            18 => Action::Link(a_library(random), format!("../{}", a_library(random))),
            19..=21 => self.variable_link(random),
            22 => Action::Umask(*random.choose(&[0o022, 0o077, 0o002, 0o027, 0o000, 0o177])),
            23 | 24 => Action::Compiler((*random.choose(COMPILERS)).to_owned()),
            25 | 26 => occupied(random),
            27 => list(random),
            _ => Action::Arguments(self.arguments_link(random)),
        };
        vec![one]
    }

    /// A source with another number, or a list.
    pub(in crate::equivalence) fn content_link(&mut self, random: &mut Random) -> Action {
        if random.below(3) == 0 {
            return list(random);
        }
        let (name, first) = random.choose(SOURCES);
        let old = match self.files.get(*name) {
            Some(Entry::File(text)) => text.clone(),
            _ => (*first).to_owned(),
        };
        let text = match random.below(6) {
            0 => format!("{old}int more{};\n", random.below(100)),
            1 => (*first).to_owned(),
            2 => old
                .replace("return nat()", "return other() + nat()")
                .replace("int nat(void);\nint main", "int other(void);\nint nat(void);\nint main"),
            _ => old.lines().map(|line| other_number(line, random) + "\n").collect(),
        };
        let time = *random.choose(&[Time::Now, Time::Now, Time::Kept]);
        Action::Write { name: (*name).to_owned(), text, time, way: Way::Into }
    }

    /// One of the libraries is made in another way or place.
    fn other_library(&mut self, random: &mut Random) -> Action {
        let (at, name, object) = *random.choose(&[
            (4, "nat", "obj/one.o"),
            (5, "nat", "obj/two.o"),
            (6, "other", "obj/three.o"),
        ]);
        let part = library(random, name, object);
        let same = self.call.parts.get(at).is_some_and(|old| old.compiler == part.compiler);
        match same {
            true => Action::PartArguments(at, part.units),
            false => Action::Remove(a_library(random)),
        }
    }

    fn variable_link(&mut self, random: &mut Random) -> Action {
        let set: Vec<&String> = self.call.variables.keys().collect();
        if !set.is_empty() && random.below(2) == 0 {
            return Action::Variable((*random.choose(&set)).clone(), None);
        }
        let (name, values) = random.choose(VARIABLES);
        Action::Variable((*name).to_owned(), Some((*random.choose(values)).to_owned()))
    }

    fn arguments_link(&self, random: &mut Random) -> Vec<Vec<String>> {
        let mut units = self.call.units.clone();
        let at = random.below(units.len().max(1) as u64) as usize;
        match random.below(8) {
            0..=2 => units.insert(at, option(random)),
            3 | 4 if units.len() > 1 => {
                let other = random.below(units.len() as u64) as usize;
                units.swap(at, other);
            }
            5 if !units.is_empty() => {
                units.retain(|unit| unit[0] != "-o");
                let name = *random.choose(&["out/m", "out/n.so", "out/m.o"]);
                units.push(vec!["-o".to_owned(), name.to_owned()]);
            }
            _ if units.get(at).is_some_and(|unit| !is_core(unit) || random.below(20) == 0) => {
                units.remove(at);
            }
            _ => units.push(option(random)),
        }
        // Everything but a few options goes, or the calls grow until none is cached.
        while units.len() > 12 {
            let at = random.below(units.len() as u64) as usize;
            if !is_core(&units[at]) || random.below(30) == 0 {
                units.remove(at);
            }
        }
        units
    }
}

fn a_library(random: &mut Random) -> String {
    let name = random.choose(&["libnat.a", "libnat.so", "libother.a", "libother.so"]);
    format!("{}/{name}", random.choose(PLACES))
}

/// Two places change their contents.
fn replaced_place(random: &mut Random) -> Vec<Action> {
    let (one, other) = (random.choose(PLACES), random.choose(PLACES));
    let rename = |from: &str, to: &str| Action::Rename(from.to_owned(), to.to_owned());
    match one == other {
        true => vec![rename(one, "tools/aside"), rename("tools/aside", one)],
        false => vec![rename(one, "aside"), rename(other, one), rename("aside", other)],
    }
}

/// A library that is a text.
fn library_text(random: &mut Random) -> Action {
    let name = a_library(random).replace(".a", ".so");
    let text = (*random.choose(TEXTS)).to_owned();
    Action::Write { name, text, time: Time::Now, way: Way::Over }
}

fn list(random: &mut Random) -> Action {
    let (name, texts) = *random.choose(&[
        ("v.map", VERSIONS),
        ("d.list", LISTS),
        ("words", WORDS),
        ("s.ld", SCRIPTS),
        ("more.ld", MORE),
        ("c/more.ld", MORE),
        ("own.specs", SPECS),
    ]);
    let text = (*random.choose(texts)).to_owned();
    let way = *random.choose(&[Way::Into, Way::Over]);
    Action::Write { name: name.to_owned(), text, time: Time::Now, way }
}

/// Something stands where an output goes, or goes from there.
fn occupied(random: &mut Random) -> Action {
    let name = (*random.choose(&["out/m", "out/m", "out/m.map", "a/libnat.a"])).to_owned();
    let write = |text: &str| Action::Write {
        name: name.clone(),
        text: text.to_owned(),
        time: Time::Now,
        way: Way::Over,
    };
    match random.below(6) {
        0 => Action::Remove(name),
        1 => Action::Mode(name, *random.choose(&[0o600, 0o444, 0o755, 0o666, 0o4755])),
        2 => Action::Link(name, "keep".to_owned()),
        3 => Action::HardLink("out/second".to_owned(), name),
        4 => write(""),
        _ => write("something old"),
    }
}
