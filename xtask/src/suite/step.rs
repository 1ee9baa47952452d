//! A part of the suite.

use std::time::Duration;

use crate::process::Console;
use crate::runner::Tests;
use crate::workspace::Workspace;

/// A part of the suite.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// A phrase for the heading.
    pub(crate) about: &'static str,
    pub(crate) lane: Lane,
    /// A step in the background whose result this step uses.
    pub(crate) after: Option<&'static str>,
    pub(crate) run: fn(&Context<'_>) -> anyhow::Result<Outcome>,
}

/// The lane in which a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// One step after the other, shown on the terminal.
    Front,
    /// Beside the others at the lowest priority; its output is shown when it has ended.
    Background,
}

/// The surroundings of a running step.
pub(crate) struct Context<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) console: Console,
}

/// The result of a step that did not fail.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tests: Tests,
    /// The part of the step's time that went into compiling.
    pub(crate) compiling: Option<Duration>,
    /// Remarks for the summary, such as a check that was not possible.
    pub(crate) remarks: Vec<String>,
}

impl Outcome {
    pub(crate) fn with_remarks(remarks: Vec<String>) -> Self {
        Self {
            remarks,
            ..Self::default()
        }
    }
}
