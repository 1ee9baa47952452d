//! The rules of this workspace that neither the compiler nor clippy checks.
//!
//! A rule is a function from the [`Tree`] to findings. To add one, list it in [`RULES`] and write a
//! test that shows a violation of it.

mod code;
mod codes;
mod dependencies;
mod direction;
mod domain;
mod layout;
mod length;
mod manifest;
mod modules;
mod observing;
mod packages;
mod publish;
mod ratchet;
pub(crate) mod sabotage;
mod select;
mod testing;
mod tree;
mod width;
mod words;

use std::fmt;

use anyhow::Context as _;

use crate::workspace::Workspace;
use ratchet::Ratchet;
use tree::Tree;

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    direction::check,
    dependencies::check,
    packages::check,
    manifest::check,
    publish::check,
    modules::check,
    domain::check,
    layout::check,
    length::check,
    width::check,
    select::check,
    testing::check,
    words::check,
    codes::check,
    observing::check,
    sabotage::check,
];

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// A path in the workspace, `path:line`, or a package.
    place: String,
    problem: String,
}

/// The findings of all rules.
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
}

/// The exceptions that `--bless` records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bless {
    /// Only known exceptions that have shrunk.
    Downward,
    /// All, including new and longer ones.
    Everything,
}

/// Applies every rule to the workspace and prints the findings.
///
/// # Errors
///
/// Fails if the workspace cannot be read. A finding is not an error.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<Report> {
    let tree = read(workspace)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.extend(sabotage::in_binary(workspace)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    println!(
        "tidy: {} packages, {} files, {} findings",
        tree.packages.len(),
        tree.files.len(),
        findings.len()
    );
    if tree.ratchet.lowered_to(&needed(&tree)) != tree.ratchet {
        println!("tidy: xtask/ratchet.toml can be lowered: cargo xtask tidy --bless");
    }
    Ok(Report { findings })
}

/// Rewrites the recorded exceptions.
///
/// # Errors
///
/// Fails if the workspace cannot be read or the file cannot be written.
pub(crate) fn bless(workspace: &Workspace, bless: Bless) -> anyhow::Result<()> {
    let tree = read(workspace)?;
    let needed = needed(&tree);
    let recorded = match bless {
        Bless::Downward => tree.ratchet.lowered_to(&needed),
        Bless::Everything => needed,
    };
    recorded.write(&workspace.root)
}

/// Prints the top modules of a crate by level, with their imports.
///
/// # Errors
///
/// Fails if the workspace cannot be read or has no crate of that name.
pub(crate) fn print_modules(workspace: &Workspace, krate: &str) -> anyhow::Result<()> {
    let tree = Tree::read(workspace)?;
    let name = krate.replace('-', "_");
    let picture = modules::picture(&tree, &name);
    let picture = picture.with_context(|| format!("the workspace has no crate `{krate}`"))?;
    print!("{picture}");
    Ok(())
}

/// Reads what the rules check.
fn read(workspace: &Workspace) -> anyhow::Result<Tree> {
    Ok(Tree {
        compiled: packages::count(workspace)?,
        ..Tree::read(workspace)?
    })
}

/// The exceptions without which the code would have findings.
fn needed(tree: &Tree) -> Ratchet {
    Ratchet {
        circles: modules::circle_members(tree),
        packages: packages::over_limit(tree),
        ..length::measure(tree)
    }
}

impl Report {
    /// Returns whether there are no findings.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Finding {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}
