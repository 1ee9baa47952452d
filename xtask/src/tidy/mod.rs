//! The rules of this workspace that neither the compiler nor clippy knows.
//!
//! A rule is a function from the [`Tree`] to findings, and has a test that shows it refusing
//! something. Add a rule to [`RULES`], and its negative control beside it.

mod code;
mod codes;
mod direction;
mod domain;
mod length;
mod manifest;
mod ratchet;
pub(crate) mod sabotage;
mod select;
mod testing;
mod tree;
mod words;

use std::fmt;

use crate::workspace::Workspace;
use tree::Tree;

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    direction::check,
    manifest::check,
    domain::check,
    length::check,
    select::check,
    testing::check,
    words::check,
    codes::check,
    sabotage::check,
];

/// Something that a rule refuses, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// A path in the workspace, `path:line`, or a package.
    place: String,
    problem: String,
}

/// What all rules found.
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
}

/// Which lengths `--bless` may write down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bless {
    /// Only those that have shrunk.
    Downward,
    /// Whatever is there, longer ones too.
    Everything,
}

/// Applies every rule to the workspace and prints the findings.
///
/// # Errors
/// When the workspace cannot be read. A finding is not an error.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<Report> {
    let tree = Tree::read(workspace)?;
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
    if length::has_shrunk(&tree) {
        println!("tidy: recorded lengths can be lowered: cargo xtask tidy --bless");
    }
    Ok(Report { findings })
}

/// Rewrites the recorded lengths. True, as there is nothing that could be refused.
///
/// # Errors
/// When the workspace cannot be read or the file not be written.
pub(crate) fn bless(workspace: &Workspace, bless: Bless) -> anyhow::Result<bool> {
    let tree = Tree::read(workspace)?;
    length::blessed(&tree, bless).write(&workspace.root)?;
    Ok(true)
}

impl Report {
    /// Did no rule refuse anything?
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
