//! An example compiles few packages: that is what the first build costs a newcomer.
//!
//! Every package counts that is compiled for the example, the workspace's own, procedural macros
//! and dependencies of build scripts included.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};

use super::Finding;
use super::tree::Tree;
use crate::process;
use crate::workspace::Workspace;

/// Packages that an example compiles.
const LIMIT: usize = 90;

/// The target that is counted, so that every machine counts the same.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Refuses examples that compile more packages than their limit, or than recorded.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (example, count) in over_limit(tree) {
        let see = format!("see `cargo tree -p {example} -e normal,build`");
        match tree.ratchet.packages.get(&example) {
            None => {
                let problem = format!("compiles {count} packages, limit {LIMIT}: {see}");
                findings.push(Finding::new(example, problem));
            }
            Some(before) if count > *before => {
                let problem = format!("grew from {before} to {count} packages: {see}");
                findings.push(Finding::new(example, problem));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Examples over the limit, as entries of the ratchet.
pub(super) fn over_limit(tree: &Tree) -> BTreeMap<String, usize> {
    let counted = tree.compiled.iter();
    let over = counted.filter(|(_, count)| **count > LIMIT);
    over.map(|(example, count)| (example.clone(), *count))
        .collect()
}

/// Counts what each example of the workspace compiles, with its default features.
///
/// # Errors
///
/// Fails if cargo cannot list the packages.
pub(super) fn count(workspace: &Workspace) -> anyhow::Result<BTreeMap<String, usize>> {
    let packages = workspace.packages.iter();
    let examples = packages.filter(|package| package.folder.starts_with("examples/"));
    examples
        .map(|example| Ok((example.name.clone(), count_of(&example.name)?)))
        .collect()
}

fn count_of(example: &str) -> anyhow::Result<usize> {
    let args = [
        "tree",
        "--package",
        example,
        "--edges",
        "normal,build",
        "--target",
        TARGET,
        "--prefix",
        "none",
        "--quiet",
    ];
    let output = process::cargo(&args).output();
    let output = output.context("cargo does not start")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree: {stderr}");
    Ok(distinct(&String::from_utf8_lossy(&output.stdout)))
}

/// The number of packages in a list whose lines begin with a name and a version.
fn distinct(list: &str) -> usize {
    let packages = list.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    packages.collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::super::ratchet::Ratchet;
    use super::*;

    fn problems(count: usize, recorded: Option<usize>) -> Vec<String> {
        let entry = |count: usize| ("example".to_owned(), count);
        let tree = Tree {
            compiled: [entry(count)].into(),
            ratchet: Ratchet {
                packages: recorded.map(entry).into_iter().collect(),
                ..Ratchet::default()
            },
            ..Tree::default()
        };
        check(&tree).into_iter().map(|it| it.problem).collect()
    }

    #[test]
    fn an_example_may_not_compile_more_packages_than_the_limit_or_than_recorded() {
        assert_eq!(problems(LIMIT, None), Vec::<String>::new());
        assert_eq!(problems(LIMIT + 9, Some(LIMIT + 9)), Vec::<String>::new());
        let new = problems(LIMIT + 1, None);
        assert!(
            new[0].starts_with("compiles 91 packages, limit 90"),
            "{new:?}"
        );
        let grown = problems(LIMIT + 9, Some(LIMIT + 8));
        assert!(
            grown[0].starts_with("grew from 98 to 99 packages"),
            "{grown:?}"
        );
    }

    #[test]
    fn a_package_counts_once_and_two_versions_of_it_count_twice() {
        let list = "a v1.0.0 (/somewhere)\nb v1.0.0\nb v2.0.0\n\nc v1.0.0 (proc-macro)\n\
                    c v1.0.0 (proc-macro) (*)\na v1.0.0 (/somewhere) (*)\n";
        assert_eq!(distinct(list), 4);
    }
}
