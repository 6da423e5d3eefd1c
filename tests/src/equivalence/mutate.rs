//! Changes of a project in C: its texts, the places of its headers, its options and variables.

use super::flags;
use super::model::{Model, other_number, time};
use super::project::{DIRECTORIES, HEADERS, header_line, source_line};
use super::script::{Action, Entry, Time, Way};
use crate::sample::Random;

impl Model {
    pub(super) fn change_c(&mut self, random: &mut Random) -> Vec<Action> {
        let one = match random.below(40) {
            0..=9 => self.content_c(random),
            10 | 11 => Action::Touch(self.text_file(random), time(random)),
            12..=15 => self.added(random),
            16 => Action::Remove(self.text_file(random)),
            17 => self.renamed(random),
            18 | 19 => self.linked(random),
            20 => return self.replaced_directory(random),
            21..=24 => self.variable(random),
            25 => Action::Directory(random.choose(&[".", "src", "inc", "here"]).to_string()),
            26 => Action::Umask(*random.choose(&[0o022, 0o077, 0o002, 0o027, 0o000])),
            27 | 28 => Action::Compiler((*random.choose(flags::COMPILERS)).to_owned()),
            29..=35 => self.arguments(random),
            _ => self.output(random),
        };
        vec![one]
    }

    /// The name of a file with text, where there is one.
    fn text_file(&self, random: &mut Random) -> String {
        let is_text = |(name, entry): &(&String, &Entry)| {
            let is_input = !name.starts_with("out/") && !name.starts_with("tools/");
            matches!(entry, Entry::File(_)) && is_input
        };
        let names: Vec<&String> = self.files.iter().filter(is_text).map(|(name, _)| name).collect();
        // The source, and headers before others, are what counts.
        let input =
            names.iter().filter(|name| self.call.words().any(|word| word.ends_with(**name)));
        match random.below(3) {
            0 => input.map(|name| (**name).clone()).next(),
            _ => None,
        }
        .unwrap_or_else(|| {
            names
                .get(random.below(names.len() as u64) as usize)
                .map_or_else(|| "inc/h0.h".to_owned(), |name| (**name).clone())
        })
    }

    /// A text with another line, without one, or with another number or blank in it.
    pub(super) fn content_c(&mut self, random: &mut Random) -> Action {
        let name = self.text_file(random);
        let old = match self.files.get(&name) {
            Some(Entry::File(text)) => text.clone(),
            _ => String::new(),
        };
        let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
        let place = if random.below(10) == 0 {
            random.below(lines.len() as u64 + 1) as usize
        } else {
            *random.choose(&plain_places(&lines))
        };
        let number = HEADERS.iter().position(|header| name.ends_with(header));
        match random.below(8) {
            0 => lines.insert(place, String::new()),
            1 => lines.insert(place, format!("/* comment {} */", random.below(10))),
            2 if place < lines.len() => drop(lines.remove(place)),
            3 if place < lines.len() => lines[place] = other_number(&lines[place], random),
            4 if place < lines.len() => lines[place] = lines[place].replacen(' ', "  ", 1),
            5 if place < lines.len() => lines.push(lines[place].clone()),
            _ => match number {
                Some(number) => lines.insert(place, header_line(random, number)),
                None if name.starts_with("src") || name.contains(".c") => {
                    lines.insert(place, source_line(random, !name.ends_with(".c")));
                }
                None => lines = lines.iter().map(|line| other_number(line, random)).collect(),
            },
        }
        let mut text = lines.join("\n");
        if random.below(30) != 0 {
            text.push('\n');
        }
        let time = *random.choose(&[Time::Now, Time::Now, Time::Kept, Time::At(1_000_000_001)]);
        let way = *random.choose(&[Way::Into, Way::Over]);
        Action::Write { name, text, time, way }
    }

    /// A header that was not there: it may shadow another one, or be asked for.
    fn added(&mut self, random: &mut Random) -> Action {
        let directory = random.choose(DIRECTORIES);
        if random.below(12) == 0 {
            let name =
                random.choose(&["out/a.gcda", "prof", "a.gcda", "prof/a.gcda", "inc/h0.h.gch"]);
            let text = format!("no profile {}\n", random.below(3));
            return Action::Write {
                name: (*name).to_owned(),
                text,
                time: Time::Now,
                way: Way::Over,
            };
        }
        let (base, text) = if random.below(3) == 0 {
            (
                format!("new{}.h", random.below(10)),
                "#define NEWER 1\nextern int newer;\n".to_owned(),
            )
        } else {
            let number = random.below(HEADERS.len() as u64) as usize;
            (HEADERS[number].to_owned(), super::project::text(random, number))
        };
        let name = match random.below(8) {
            0 => base,
            _ => format!("{directory}/{base}"),
        };
        let time = *random.choose(&[Time::Now, Time::At(1_000_000_000)]);
        Action::Write { name, text, time, way: Way::Over }
    }

    fn renamed(&mut self, random: &mut Random) -> Action {
        let name = self.text_file(random);
        let base = name.rsplit('/').next().unwrap_or(&name).to_owned();
        Action::Rename(name, format!("{}/{base}", random.choose(DIRECTORIES)))
    }

    fn linked(&mut self, random: &mut Random) -> Action {
        match random.below(5) {
            0 => {
                let (name, target) = random.choose(flags::TARGETS);
                Action::Link((*name).to_owned(), (*target).to_owned())
            }
            1 => Action::Link("link".to_owned(), (*random.choose(DIRECTORIES)).to_owned()),
            2 => {
                let target = random.choose(HEADERS);
                Action::Link("inc/linked.h".to_owned(), (*target).to_owned())
            }
            3 => {
                let (old, directory) = (self.text_file(random), random.choose(DIRECTORIES));
                let base = old.rsplit('/').next().unwrap_or(&old);
                Action::HardLink(format!("{directory}/{base}"), old.clone())
            }
            _ => {
                let header = random.choose(HEADERS);
                let target = format!("@ROOT@/inc/{header}");
                Action::Link(format!("first/{header}"), target)
            }
        }
    }

    /// Two directories change places.
    fn replaced_directory(&mut self, random: &mut Random) -> Vec<Action> {
        let (one, other) = (random.choose(DIRECTORIES), random.choose(&["inc", "inc2", "sys"]));
        let rename = |from: &str, to: &str| Action::Rename(from.to_owned(), to.to_owned());
        vec![rename(one, "aside"), rename(other, one), rename("aside", other)]
    }

    fn variable(&mut self, random: &mut Random) -> Action {
        let set: Vec<&String> = self.call.variables.keys().collect();
        if !set.is_empty() && random.below(2) == 0 {
            let name = set[random.below(set.len() as u64) as usize].clone();
            return Action::Variable(name, None);
        }
        let (name, values) = random.choose(flags::VARIABLES);
        let value = random.choose(values);
        Action::Variable((*name).to_owned(), Some((*value).to_owned()))
    }

    fn arguments(&mut self, random: &mut Random) -> Action {
        let mut units = self.call.units.clone();
        let place = |random: &mut Random, count: usize| random.below(count as u64) as usize;
        let at = place(random, units.len().max(1)).min(units.len().saturating_sub(1));
        match random.below(11) {
            10 => return Action::Arguments(self.precompiling(random)),
            0..=3 => {
                let place = place(random, units.len() + 1);
                units.insert(place, flags::option(random, &self.call.compiler));
            }
            4 | 5 if !units.is_empty() => {
                // A call without source or `-c` is asked for rarely.
                let is_core = units[at].iter().any(|word| {
                    word == "-c" || self.files.keys().any(|name| word.ends_with(name.as_str()))
                });
                if !is_core || random.below(20) == 0 {
                    units.remove(at);
                }
            }
            6 if units.len() > 1 => {
                let other = place(random, units.len());
                units.swap(at, other);
            }
            7 if !units.is_empty() => {
                let again = units[at].clone();
                units.push(again);
            }
            _ => {
                let new = if random.below(2) == 0 { "out/a.o" } else { "out/other.o" };
                units.retain(|unit| unit[0] != "-o");
                units.push(vec!["-o".to_owned(), new.to_owned()]);
            }
        }
        // Everything but a few options goes, or the calls grow until none is cached.
        while units.len() > 12 {
            let at = place(random, units.len());
            let is_core = units[at].len() > 1 || !units[at][0].starts_with('-');
            if !is_core && units[at][0] != "-c" || random.below(30) == 0 {
                units.remove(at);
            }
        }
        Action::Arguments(units)
    }

    /// The same call, but it makes a header into a precompiled one beside it.
    fn precompiling(&self, random: &mut Random) -> Vec<Vec<String>> {
        let is_source = |unit: &&Vec<String>| {
            let names: Vec<&str> = ["-c", "-S", "-E", "-o", "-x"].to_vec();
            let is_named = self.files.keys().any(|name| unit[0].ends_with(name.as_str()));
            names.contains(&unit[0].as_str()) || unit[0].starts_with("-o") || is_named
        };
        let mut units = self.call.units.clone();
        units.retain(|unit| !is_source(&unit));
        let header = format!("{}/{}", random.choose(&["inc", "first"]), random.choose(HEADERS));
        let is_cpp = self.call.compiler.contains("++")
            || self.call.words().any(|word| word.contains("src/b."));
        let language = if is_cpp { "c++-header" } else { "c-header" };
        let ending = if self.call.compiler.contains("clang") { "pch" } else { "gch" };
        let pair = |one: &str, other: String| vec![one.to_owned(), other];
        units.push(pair("-x", language.to_owned()));
        units.push(vec![header.clone()]);
        units.push(pair("-o", format!("{header}.{ending}")));
        units
    }

    /// Something stands where an output goes, or goes from there.
    fn output(&mut self, random: &mut Random) -> Action {
        let object = self.call.units.iter().find(|unit| unit[0] == "-o").and_then(|u| u.get(1));
        let object = object.map_or("a.o", String::as_str).replace("@ROOT@/", "");
        let name = match random.below(5) {
            0 => object.replace(".o", ".d"),
            1 => "dep.d".to_owned(),
            _ => object,
        };
        match random.below(7) {
            0 => Action::Remove(name),
            1 => Action::Mode(name, *random.choose(&[0o600, 0o444, 0o755, 0o666, 0o4755])),
            2 => Action::Link(name, "keep".to_owned()),
            3 => Action::Link(name, "absent".to_owned()),
            4 => Action::HardLink("out/second".to_owned(), name),
            5 => write_output(name, String::new()),
            _ => write_output(name, "something old".to_owned()),
        }
    }
}

fn write_output(name: String, text: String) -> Action {
    Action::Write { name, text, time: Time::Now, way: Way::Over }
}

/// Where a line can come and go without breaking a function or a condition apart.
fn plain_places(lines: &[String]) -> Vec<usize> {
    let mut depth = 0;
    let mut places = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let is_condition = ["#if", "#el", "#endif"].iter().any(|word| line.starts_with(word));
        if depth == 0 && !is_condition && !line.contains(['{', '}', '\'']) {
            places.push(place);
        }
        depth += line.matches('{').count();
        depth = depth.saturating_sub(line.matches('}').count());
    }
    if depth == 0 || places.is_empty() {
        places.push(lines.len());
    }
    places
}
