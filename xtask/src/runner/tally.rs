//! Counts of tests.

use std::fmt;
use std::ops::AddAssign;

/// The numbers of tests that passed, failed and were ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// The counts of a closing line of libtest; nothing for any other line.
    pub(super) fn of_closing(line: &str) -> Option<Self> {
        // "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …"
        let counts = line.trim_start().strip_prefix("test result: ")?;
        let (_, counts) = counts.split_once(". ")?;
        let mut tally = Self::default();
        for count in counts.split(';') {
            match count.trim().split_once(' ') {
                Some((n, "passed")) => tally.passed = n.parse().ok()?,
                Some((n, "failed")) => tally.failed = n.parse().ok()?,
                Some((n, "ignored")) => tally.ignored = n.parse().ok()?,
                _ => {}
            }
        }
        Some(tally)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.ignored {
            0 => Ok(()),
            ignored => write!(f, ", {ignored} skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_has_counts_and_other_lines_do_not() {
        let line = "test result: FAILED. 2 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        let tally = Tally::of_closing(line).unwrap();
        assert_eq!(tally.to_string(), "2 passed, 3 failed, 1 skipped");
        assert_eq!(Tally::of_closing("test a_result_of_5 ... ok"), None);
    }
}
