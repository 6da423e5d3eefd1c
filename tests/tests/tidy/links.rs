//! Links between documents: what a relative one leads to is a file or folder of the tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use super::{assert_complains, assert_tidy, files, root};

/// The targets of the links of a document, with their lines. Code blocks and spans have none.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            let is_span = line[..start].matches('`').count() % 2 == 1;
            let end = line[start..].find(')').map(|length| start + length);
            if let (false, Some(end)) = (is_span, end) {
                found.push((at + 1, &line[start + 2..end]));
            }
        }
        // `[name]: target`
        if let Some((name, target)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            found.push((at + 1, target.split_whitespace().next().unwrap_or_default()));
        }
    }
    found
}

/// The path in the tree that a target leads to from a document; `None` for one outside.
fn place(document: &str, target: &str) -> Option<String> {
    let mut path: Vec<&str> = document.split('/').collect();
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(path.pop()?),
            Component::Normal(name) => path.push(name.to_str()?),
            _ => return None,
        }
    }
    Some(path.join("/"))
}

/// Links of a document that lead nowhere, in a tree of these files.
fn dead(document: &str, text: &str, files: &BTreeSet<String>) -> Vec<String> {
    let is_there = |place: &str| {
        let folder = format!("{place}/");
        files.contains(place) || files.iter().any(|file| file.starts_with(&folder))
    };
    let is_ours = |target: &str| {
        !target.contains("://")
            && !target.starts_with(['#', '<', '$'])
            && !target.starts_with("mailto:")
    };
    let ours = links(text).into_iter().filter(|(_, target)| is_ours(target));
    let dead = ours.filter(|(_, target)| {
        let file = target.split('#').next().unwrap_or_default();
        !place(document, file).is_some_and(|place| is_there(&place))
    });
    dead.map(|(at, target)| format!("{document}:{at}: `{target}` leads nowhere")).collect()
}

#[test]
fn links_between_documents_lead_to_files() {
    let files: BTreeSet<String> = files().into_iter().collect();
    let documents = files.iter().filter(|file| file.ends_with(".md"));
    let text = |file: &str| fs::read_to_string(root().join(file)).expect("documents are UTF-8");
    let count: usize = documents.clone().map(|file| links(&text(file)).len()).sum();
    assert!(count > 20, "only {count} links were found: the search is broken");
    assert_tidy(documents.flat_map(|file| dead(file, &text(file), &files)));
}

#[test]
fn a_link_that_leads_nowhere_fails() {
    let files: BTreeSet<String> =
        ["README.md", "docs/a.md", "docs/b/c.md"].map(str::to_owned).into();
    let dead = |text| dead("docs/a.md", text, &files);
    assert_tidy(dead(
        "[a](a.md#x) [b](b/) [c](./b/c.md) [r](../README.md) [w](https://x.y) [h](#h)",
    ));
    assert_tidy(dead("`[a](x.md)`\n```\n[a](x.md)\n```\n[a]: b/c.md"));
    assert_complains(dead("see\n[x](b/x.md)"), "docs/a.md:2: `b/x.md`");
    assert_complains(dead("[x](README.md)"), "`README.md`");
    assert_complains(dead("[x](../../README.md)"), "leads nowhere");
    assert_complains(dead("`a` [x](x.md) `b`"), "`x.md`");
    assert_complains(dead("[x]: x.md"), "`x.md`");
}
