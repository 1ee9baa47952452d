//! The result of a comparison.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The code of a report with breaks.
const CODE: &str = "contract_broken";

/// The differences between two releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// The changes that break a consumer or stored data.
    pub breaks: Vec<Break>,
    /// The changes that break nothing.
    pub changes: Vec<String>,
}

/// A change that breaks something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ContractBreak")]
#[non_exhaustive]
pub struct Break {
    /// The message, or the stored data, that has changed.
    pub subject: String,
    /// The differences.
    pub differences: Vec<String>,
    /// The parts of the system that are affected.
    pub affected: Vec<String>,
    /// The way to make the change without breaking anything.
    pub advice: String,
}

impl Comparison {
    /// Returns whether nothing breaks.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.breaks.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.breaks.is_empty() {
            let breaks = self.breaks.len();
            writeln!(
                f,
                "{breaks} changes break contracts [{CODE}: docs/errors/{CODE}.md]:"
            )?;
        }
        for broken in &self.breaks {
            writeln!(f, "\n{broken}")?;
        }
        if !self.changes.is_empty() {
            let changes = self.changes.len();
            writeln!(
                f,
                "\n{changes} changes break nothing. Refresh the files with `<program> contracts \
                 <directory>`:"
            )?;
        }
        for change in &self.changes {
            writeln!(f, "- {change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.subject)?;
        for difference in &self.differences {
            writeln!(f, "  - {difference}")?;
        }
        if !self.affected.is_empty() {
            writeln!(f, "  affects: {}", self.affected.join(", "))?;
        }
        write!(f, "  to do: {}", self.advice)
    }
}
