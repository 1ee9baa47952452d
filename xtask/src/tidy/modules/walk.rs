//! The walk of a message: the table of `ARCHITECTURE.md` lists the modules so that each one imports
//! only modules above it.

use std::collections::BTreeMap;

use super::super::Finding;
use super::super::tree::Tree;
use super::graph::{self, Siblings};
use super::source;

/// The crate whose modules the table lists.
const CRATE: &str = "wingbeat";
const PAGE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## The path of a message";

/// Refuses modules that the table does not list, and rows below a row that imports them.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let (Some(page), Some(krate)) = (
        tree.file(PAGE),
        source::read(tree).into_iter().find(|it| it.name == CRATE),
    ) else {
        return Vec::new();
    };
    let rows = rows(&page.text);
    let siblings = graph::siblings(&krate);
    let Some(siblings) = siblings.get(&0) else {
        return Vec::new();
    };
    let unlisted = siblings.names().filter(|name| !rows.contains_key(name));
    let unlisted = unlisted.map(|name| {
        let problem = format!("the table of modules does not list `{name}`");
        Finding::new(PAGE, problem)
    });
    unlisted.chain(backwards(siblings, &rows)).collect()
}

/// The imports of modules that stand further down.
fn backwards(
    siblings: &Siblings,
    rows: &BTreeMap<String, (usize, usize)>,
) -> impl Iterator<Item = Finding> {
    siblings.imports().filter_map(|(from, to, place)| {
        let (above, (below, line)) = (rows.get(&from)?.0, *rows.get(&to)?);
        let problem = format!("`{from}` stands before `{to}`, which it imports ({place})");
        (above < below).then(|| Finding::new(format!("{PAGE}:{line}"), problem))
    })
}

/// The modules of the table with their positions and lines.
fn rows(page: &str) -> BTreeMap<String, (usize, usize)> {
    let lines = page.lines().enumerate();
    let table = lines.skip_while(|(_, line)| !line.starts_with(HEADING));
    let table = table.skip_while(|(_, line)| !line.starts_with('|'));
    let table = table.take_while(|(_, line)| line.starts_with('|'));
    let names = table.flat_map(|(number, line)| {
        let cell = line.split('|').nth(1).unwrap_or_default();
        let names = cell.split('`').skip(1).step_by(2);
        names.map(move |name| (name.to_owned(), number + 1))
    });
    let numbered = names.enumerate();
    numbered
        .map(|(position, (name, line))| (name, (position, line)))
        .collect()
}
