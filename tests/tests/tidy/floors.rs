//! Module floors: a module imports only from lower floors, and every module has its place.
//!
//! The tables stand in docs/ARCHITECTURE.md. The rule holds between *rooms*, the modules right
//! below the crate's root; inside a room (`log::tail` and `log::segment`) imports are free. A table
//! row that names modules of a room (`format::{frame, body}`) names them all; one that names only
//! the room leaves them free. lib.rs is the map of the crate and imports what it exports.

use std::collections::{BTreeMap, BTreeSet};

use super::paths;
use super::source::Source;
use super::{assert_complains, assert_tidy, document, sources};

/// One crate's modules with their floors.
struct Floors {
    /// The floor of each listed module, as `format::body`.
    listed: BTreeMap<String, u32>,
}

impl Floors {
    /// Reads the table below a heading.
    fn parse(document: &str, heading: &str) -> Floors {
        let below =
            document.lines().skip_while(|line| line.trim_start_matches(['#', ' ']) != heading);
        let section = below.skip(1).take_while(|line| !line.starts_with('#'));
        let mut listed = BTreeMap::new();
        for row in section.filter(|line| line.starts_with('|')) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let floor = cells[1].split(' ').next().unwrap_or_default();
            // The rows of the head and of its rule have no number.
            let Ok(floor) = floor.parse() else { continue };
            let names = cells[2].split('`').skip(1).step_by(2).flat_map(expand);
            for name in names {
                let earlier = listed.insert(name.clone(), floor);
                assert!(earlier.is_none(), "`{name}` stands twice in the table \"{heading}\"");
            }
        }
        assert!(!listed.is_empty(), "docs/ARCHITECTURE.md has no table \"{heading}\"");
        Floors { listed }
    }

    /// The floor of a module: its own, that of its room, or the one of the room's listed modules.
    fn of(&self, module: &str) -> Option<u32> {
        let room = room(module);
        let inside = || self.listed.iter().find(|(name, _)| name.starts_with(&format!("{room}::")));
        let found = self.listed.get(module).or_else(|| self.listed.get(room));
        found.copied().or_else(|| inside().map(|(_, floor)| *floor))
    }

    /// Whether the table has a place for the module.
    fn has(&self, module: &str) -> bool {
        let (room, inner) = (room(module), module.contains("::"));
        let room_names_modules =
            self.listed.keys().any(|name| name.starts_with(&format!("{room}::")));
        self.listed.contains_key(module)
            || if room_names_modules { !inner } else { self.listed.contains_key(room) }
    }
}

/// `a::{b, c}` as `a::b` and `a::c`.
fn expand(name: &str) -> Vec<String> {
    match name.split_once("::{") {
        Some((room, inner)) => {
            let inner = inner.trim_end_matches('}').split(',');
            inner.map(|module| format!("{room}::{}", module.trim())).collect()
        }
        None => vec![name.to_owned()],
    }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// The module that a file is: `log::tail` of `engine/src/log/tail.rs`, empty for lib.rs.
fn module_of(file: &str) -> String {
    let (_, inner) = file.split_once("/src/").expect("a module stands in src");
    let inner = inner.trim_end_matches(".rs").trim_end_matches("/mod");
    if inner == "lib" { String::new() } else { inner.replace('/', "::") }
}

/// What a crate's root re-exports: the name there, and the path of what it is.
fn exports(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let root = sources.iter().filter(|source| module_of(&source.name).is_empty());
    let uses = root.flat_map(|source| paths::uses(&source.live));
    let named = uses.filter_map(|path| {
        let segments: Vec<String> = path.segments.iter().map(|part| part.to_string()).collect();
        Some((segments.last()?.clone(), segments))
    });
    named.collect()
}

/// Checks every module of one crate against its table.
fn check(floors: &Floors, crate_name: &str, sources: &[Source]) -> Vec<String> {
    let is_module = |source: &&Source| !source.live.trim().is_empty();
    let modules: BTreeSet<String> =
        sources.iter().filter(is_module).map(|source| module_of(&source.name)).collect();
    let exports = exports(sources);
    let mut complaints = Vec::new();
    for name in floors.listed.keys().filter(|name| !modules.contains(*name)) {
        complaints.push(format!("the floor table lists `{name}`, which is no module"));
    }
    for source in sources.iter().filter(is_module) {
        let module = module_of(&source.name);
        if module.is_empty() {
            continue;
        }
        if !floors.has(&module) {
            complaints.push(format!("{}: `{module}` is not in the floor table", source.name));
            continue;
        }
        for (offset, segments) in imports(source, crate_name, &module) {
            let target = resolve(&segments, &modules, &exports);
            let place = source.place(offset);
            let path = segments.join("::");
            match target {
                None => complaints.push(format!("{place}: `{path}` leads to no module")),
                Some(target) if room(&target) == room(&module) => {}
                Some(target) => {
                    let (from, to) = (floors.of(&module), floors.of(&target));
                    // A target without a floor is complained about as a module.
                    if to.is_some() && to >= from {
                        complaints.push(format!(
                            "{place}: `{module}` (floor {}) imports `{path}` (floor {})",
                            from.unwrap_or(0),
                            to.unwrap_or(0),
                        ));
                    }
                }
            }
        }
    }
    complaints
}

/// The paths from the crate's root that a module names, and where.
fn imports(source: &Source, crate_name: &str, module: &str) -> Vec<(usize, Vec<String>)> {
    let owned = |path: paths::Named<'_>| {
        (path.offset, path.segments.iter().map(|part| part.to_string()).collect::<Vec<_>>())
    };
    let rooted = ["crate", crate_name].map(|root| paths::rooted(&source.live, root));
    let mut imports: Vec<_> = rooted.into_iter().flatten().map(owned).collect();
    let depth = module.split("::").count();
    let to_root = paths::above(&source.live).into_iter().filter(|(levels, _)| *levels >= depth);
    imports.extend(to_root.map(|(_, path)| owned(path)));
    imports.retain(|(_, segments)| !segments.is_empty());
    imports
}

/// The module that a path from the root leads into.
fn resolve(
    segments: &[String],
    modules: &BTreeSet<String>,
    exports: &BTreeMap<String, Vec<String>>,
) -> Option<String> {
    let longest = |segments: &[String]| {
        (1..=segments.len()).rev().map(|n| segments[..n].join("::")).find(|m| modules.contains(m))
    };
    longest(segments).or_else(|| exports.get(&segments[0]).and_then(|path| longest(path)))
}

#[test]
fn engine_modules_import_from_lower_floors_only() {
    let floors = Floors::parse(&document("docs/ARCHITECTURE.md"), "Engine floors");
    assert_tidy(check(&floors, "larder_engine", &sources("engine/src/")));
}

#[test]
fn wrapper_modules_import_from_lower_floors_only() {
    let floors = Floors::parse(&document("docs/ARCHITECTURE.md"), "Wrapper floors");
    assert_tidy(check(&floors, "larder", &sources("wrapper/src/")));
}

#[cfg(test)]
const TABLE: &str = "
# Some floors

| floor | modules |
|---|---|
| 3 top | `store` (its doors) |
| 2 upper | `log`, `recency` |
| 1 middle | `format::{body, frame}` |
| 0 lowest | `error` |

# Other floors
| 0 | `other` |
";

/// A crate with one module changed.
#[cfg(test)]
fn complaints(file: &str, text: &str) -> Vec<String> {
    let mut files = BTreeMap::from([
        ("x/src/lib.rs", "pub mod store; pub use error::Error; pub use format::body::Entry;"),
        ("x/src/store.rs", "use crate::{log::tail::Tail, Error, format::body::{self, Head}};"),
        ("x/src/log/mod.rs", "mod tail; use super::format;"),
        ("x/src/recency.rs", "struct Recency;"),
        ("x/src/log/tail.rs", "use super::Log; use crate::log::Other; use super::super::error;"),
        ("x/src/format/mod.rs", "use crate::error;"),
        ("x/src/format/body.rs", "use crate::format::frame::Frame;"),
        ("x/src/format/frame.rs", "#[cfg(test)] mod tests { use crate::store; } fn f() {}"),
        ("x/src/error.rs", "// use crate::store;\nconst A: u8 = 1;"),
    ]);
    files.insert(file, text);
    let sources: Vec<_> = files.iter().map(|(file, text)| Source::new(file, text)).collect();
    check(&Floors::parse(TABLE, "Some floors"), "x", &sources)
}

#[test]
fn a_good_crate_passes() {
    assert_tidy(complaints("x/src/error.rs", "const A: u8 = 1;"));
}

#[test]
fn upward_and_sideways_imports_fail() {
    assert_complains(complaints("x/src/error.rs", "use crate::store::Store;"), "imports `store");
    assert_complains(complaints("x/src/error.rs", "\nuse super::store;"), "error.rs:2: ");
    assert_complains(complaints("x/src/error.rs", "fn f() -> crate::Entry {}"), "(floor 1)");
    assert_complains(complaints("x/src/error.rs", "use x::log::tail;"), "imports `log::tail`");
    assert_complains(complaints("x/src/recency.rs", "use crate::log::Log;"), "imports `log::Log`");
}

#[test]
fn unknown_modules_and_paths_fail() {
    assert_complains(complaints("x/src/new.rs", "fn f() {}"), "`new` is not in the floor table");
    assert_complains(complaints("x/src/format/new.rs", "fn f() {}"), "`format::new` is not in");
    assert_complains(complaints("x/src/store.rs", "use crate::nothing;"), "leads to no module");
    assert_complains(complaints("x/src/recency.rs", ""), "lists `recency`, which is no");
}
