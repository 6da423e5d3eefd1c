//! Dependencies run one way: tests and benches, tools, wrapper, engine, and nothing below.

use super::{assert_complains, assert_tidy, document};

/// Each package's manifest, its name as a dependency, and its height.
const PACKAGES: &[(&str, &str, u32)] = &[
    ("engine/Cargo.toml", "larder-engine", 0),
    ("wrapper/Cargo.toml", "larder", 1),
    ("tools/Cargo.toml", "larder-tools", 2),
    ("benches/Cargo.toml", "larder-benches", 3),
    ("tests/Cargo.toml", "larder-tests", 3),
];

fn check(manifest: &str, height: u32, text: &str) -> Vec<String> {
    let keys = text.lines().filter_map(|line| line.split(['.', '=', ' ']).next());
    let known = keys.filter_map(|key| PACKAGES.iter().find(|(_, name, _)| *name == key));
    let wrong = known.filter(|(_, _, other)| *other >= height);
    wrong.map(|(_, name, _)| format!("{manifest}: must not depend on {name}")).collect()
}

#[test]
fn dependencies_run_one_way() {
    let check =
        |(manifest, _, height): &(&str, _, u32)| check(manifest, *height, &document(manifest));
    assert_tidy(PACKAGES.iter().flat_map(check));
}

#[test]
fn a_dependency_upwards_fails() {
    let text = "[dependencies]\nlarder-engine.workspace = true\nlarder-tools = { path = \"x\" }\n";
    assert_complains(check("wrapper/Cargo.toml", 1, text), "must not depend on larder-tools");
    assert_tidy(check("tests/Cargo.toml", 3, text));
}
