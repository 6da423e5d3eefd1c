//! Changes of a workspace: its texts, the places of its modules, its options and variables.

use super::flags;
use super::project::{MODULES, archive, item, module_text};
use crate::equivalence::model::{Model, other_number, time};
use crate::equivalence::script::{Action, Entry, Time, Way};
use crate::sample::Random;

impl Model {
    pub(in crate::equivalence) fn change_rust(&mut self, random: &mut Random) -> Vec<Action> {
        let one = match random.below(40) {
            0..=11 => self.content_rust(random),
            12 => Action::Touch(self.input(random), time(random)),
            13 | 14 => self.added_file(random),
            15 => Action::Remove(self.input(random)),
            16 | 17 => self.moved(random),
            18 => self.linked_file(random),
            19..=23 => self.variable_rust(random),
            24 => Action::Directory(random.choose(&[".", "src", "here"]).to_string()),
            25 => Action::Umask(*random.choose(&[0o022, 0o077, 0o002, 0o027, 0o000])),
            26 => Action::Compiler((*random.choose(flags::COMPILERS)).to_owned()),
            27..=33 => Action::Arguments(self.other_arguments(random)),
            34..=36 => self.part_arguments(random),
            37 => self.other_extern(random),
            _ => self.occupied(random),
        };
        vec![one]
    }

    /// The name of a file that a crate may read.
    fn input(&self, random: &mut Random) -> String {
        let is_input = |(name, entry): &(&String, &Entry)| {
            let is_output = name.starts_with("out") || name.starts_with("odd");
            matches!(entry, Entry::File(_)) && !is_output
        };
        let names: Vec<&String> =
            self.files.iter().filter(is_input).map(|(name, _)| name).collect();
        let of_top: Vec<&String> =
            names.iter().filter(|name| name.starts_with("src/")).copied().collect();
        match random.below(2) {
            0 if !of_top.is_empty() => (*random.choose(&of_top)).clone(),
            _ if !names.is_empty() => (*random.choose(&names)).clone(),
            _ => "src/lib.rs".to_owned(),
        }
    }

    /// A text with another line, without one, or with another number or blank in it.
    pub(in crate::equivalence) fn content_rust(&mut self, random: &mut Random) -> Action {
        let name = self.input(random);
        let time = *random.choose(&[Time::Now, Time::Now, Time::Kept, Time::At(1_000_000_001)]);
        let way = *random.choose(&[Way::Into, Way::Over]);
        if name.ends_with(".a") {
            let text: &&str = random.choose(&["one", "two", "three and more"]);
            let text = archive(text);
            return Action::Write { name, text, time, way };
        }
        let old = match self.files.get(&name) {
            Some(Entry::File(text)) => text.clone(),
            _ => String::new(),
        };
        let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
        let place = random.below(lines.len() as u64 + 1) as usize;
        // Attributes of the crate stand before everything else.
        let first = lines.iter().take_while(|line| line.starts_with("#![")).count();
        let is_source = name.ends_with(".rs") && !name.starts_with("gen");
        let has_macro = name.starts_with("src/") && self.files.contains_key("mac/lib.rs");
        match random.below(9) {
            0 => lines.insert(place, String::new()),
            1 if is_source => lines.insert(place, format!("// comment {}", random.below(10))),
            2 if place < lines.len() => drop(lines.remove(place)),
            3 | 4 if place < lines.len() => lines[place] = other_number(&lines[place], random),
            5 if place < lines.len() => lines[place] = lines[place].replacen(' ', "  ", 1),
            6 if place + 1 < lines.len() => lines.swap(place, place + 1),
            _ if is_source => {
                let up = "../".repeat(name.matches('/').count());
                lines.insert(place.max(first), item(random, &format!("{up}data"), has_macro));
            }
            _ => lines = lines.iter().map(|line| other_number(line, random)).collect(),
        }
        let mut text = lines.join("\n");
        if random.below(30) != 0 {
            text.push('\n');
        }
        Action::Write { name, text, time, way }
    }

    /// A file that was not there: a module under its other name, settings of clippy, a library.
    fn added_file(&mut self, random: &mut Random) -> Action {
        let (name, text) = match random.below(7) {
            0 => (
                (*random.choose(&["clippy.toml", ".clippy.toml", "base/clippy.toml"])).to_owned(),
                format!("too-many-lines-threshold = {}\n", random.below(3)),
            ),
            1 => ("gen/further.txt".to_owned(), format!("{}\n", random.below(3))),
            2 => (
                (*random.choose(&["nat/libother.a", "nat/libnat.a", "out/libnat.a"])).to_owned(),
                archive(if random.below(2) == 0 { "four" } else { "five" }),
            ),
            3 => ("Cargo.toml".to_owned(), "[package]\nname = \"top\"\n".to_owned()),
            _ => {
                let name = (*random.choose(MODULES)).to_owned();
                let text = module_text(random, &name);
                (name, text)
            }
        };
        let time = *random.choose(&[Time::Now, Time::At(1_000_000_000)]);
        Action::Write { name, text, time, way: Way::Over }
    }

    /// A module goes to its other name, or a file to another directory.
    fn moved(&mut self, random: &mut Random) -> Action {
        let name = self.input(random);
        let to = match name.strip_suffix("/mod.rs") {
            Some(stem) => format!("{stem}.rs"),
            None => match name.strip_suffix(".rs") {
                Some(stem) => format!("{stem}/mod.rs"),
                None => format!("{name}.old"),
            },
        };
        let folder = to.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let inside = format!("{folder}/");
        match self.files.keys().any(|known| known.starts_with(&inside)) {
            true => Action::Rename(name, to),
            // A rename needs the directory.
            false => Action::Link(name, "m1/mod.rs".to_owned()),
        }
    }

    fn linked_file(&mut self, random: &mut Random) -> Action {
        match random.below(4) {
            0 => Action::Link("src/m2.rs".to_owned(), "../elsewhere/p.rs".to_owned()),
            1 => {
                let number = random.below(3);
                Action::Link("data/t1.txt".to_owned(), format!("t{number}.txt"))
            }
            2 => Action::Link("src/m0.rs".to_owned(), "@ROOT@/elsewhere/p.rs".to_owned()),
            _ => Action::HardLink("data/t2.txt".to_owned(), "data/t0.txt".to_owned()),
        }
    }

    fn variable_rust(&mut self, random: &mut Random) -> Action {
        let set: Vec<&String> = self.call.variables.keys().collect();
        if !set.is_empty() && random.below(3) == 0 {
            let name = set[random.below(set.len() as u64) as usize].clone();
            return Action::Variable(name, None);
        }
        let (name, values) = random.choose(flags::VARIABLES);
        let value = random.choose(values);
        Action::Variable((*name).to_owned(), Some((*value).to_owned()))
    }

    fn other_arguments(&self, random: &mut Random) -> Vec<Vec<String>> {
        let mut units = changed(self.call.units.clone(), random);
        match random.below(10) {
            0 => {
                units.retain(|unit| !unit[0].starts_with("--emit"));
                units.push(flags::one_of(random, flags::EMITS));
            }
            1 | 2 => {
                units.retain(|unit| unit[0] != "--out-dir");
                let place = (*random.choose(flags::OUT_DIRS)).to_owned();
                units.push(vec!["--out-dir".to_owned(), place]);
            }
            _ => {}
        }
        units
    }

    fn part_arguments(&self, random: &mut Random) -> Action {
        let at = random.below(self.call.parts.len() as u64) as usize;
        let units = self.call.parts.get(at).map(|part| part.units.clone()).unwrap_or_default();
        Action::PartArguments(at, changed(units, random))
    }

    /// What stands behind the name of an extern is another file, or has another name.
    fn other_extern(&self, random: &mut Random) -> Action {
        let mut units = self.call.units.clone();
        for words in units.iter_mut().filter(|words| words[0] == "--extern") {
            let Some(value) = words.get_mut(1) else { continue };
            let Some((name, path)) = value.split_once('=') else { continue };
            let swapped = |path: &str| match path.contains("libbase-b") {
                true => path.replace("libbase-b", "libother-o"),
                false => path.replace("libother-o", "libbase-b"),
            };
            let other = match random.below(5) {
                0 | 1 => format!("{name}={}", swapped(path)),
                2 if path.ends_with(".rlib") => value.replace(".rlib", ".rmeta"),
                3 if path.ends_with(".rmeta") => value.replace(".rmeta", ".rlib"),
                4 => value.replace("=out", "=@ROOT@/out"),
                _ => continue,
            };
            *value = other;
        }
        Action::Arguments(units)
    }

    /// Something stands where an output goes, or goes from there.
    fn occupied(&mut self, random: &mut Random) -> Action {
        let name = random.choose(&[
            "out/libtop.rlib",
            "out/libtop.rmeta",
            "out/top.d",
            "out/libtop.rlib",
            "out/libbase-b.rlib",
        ]);
        let name = (*name).to_owned();
        let write = |name, text: &str| Action::Write {
            name,
            text: text.to_owned(),
            time: Time::Now,
            way: Way::Over,
        };
        match random.below(7) {
            0 => Action::Remove(name),
            1 => Action::Mode(name, *random.choose(&[0o600, 0o444, 0o755, 0o666])),
            2 => Action::Link(name, "keep".to_owned()),
            3 => Action::Link(name, "absent".to_owned()),
            4 => Action::HardLink("out/second".to_owned(), name),
            5 => write(name, ""),
            _ => write(name, "something old"),
        }
    }
}

/// Command lines with one option more, less, again, or elsewhere.
fn changed(mut units: Vec<Vec<String>>, random: &mut Random) -> Vec<Vec<String>> {
    let count = units.len().max(1) as u64;
    let at = random.below(count) as usize;
    match random.below(9) {
        0..=4 => units.insert(random.below(count + 1) as usize, flags::option(random)),
        5 | 6 if !is_core(&units[at]) || random.below(10) == 0 => drop(units.remove(at)),
        7 => units.swap(at, random.below(count) as usize),
        _ if !is_core(&units[at]) => units.push(units[at].clone()),
        _ => {}
    }
    // Everything but a few options goes, or the calls grow until none is cached.
    while units.len() > 15 {
        let at = random.below(units.len() as u64) as usize;
        if !is_core(&units[at]) || random.below(30) == 0 {
            units.remove(at);
        }
    }
    units
}

/// Whether a call hardly works without it, or with it twice.
fn is_core(unit: &[String]) -> bool {
    let names = ["--crate-name", "--crate-type", "--out-dir", "--edition", "--extern"];
    unit[0].ends_with(".rs") || names.iter().any(|name| unit[0].starts_with(name))
}
