//! The table at the end of a run.

use std::fmt;
use std::time::Duration;

use super::step::{Outcome, Step};
use crate::runner::{Tally, Tests};

/// Unstable tests that a run tolerates.
const UNSTABLE_MAX: usize = 2;

/// The slowest tests that the summary lists.
const SLOWEST: usize = 10;

/// The end of a step.
pub(super) struct Line {
    pub(super) step: &'static str,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

pub(super) enum Verdict {
    Passed(Outcome),
    Failed(anyhow::Error),
    NotRun,
}

impl Line {
    pub(super) fn left_out(step: &Step) -> Self {
        Self {
            step: step.name,
            verdict: Verdict::NotRun,
            took: Duration::ZERO,
        }
    }

    /// Returns the remarks that nobody must overlook.
    fn warnings(&self) -> impl Iterator<Item = &String> {
        let remarks = match &self.verdict {
            Verdict::Passed(outcome) => outcome.remarks.as_slice(),
            Verdict::Failed(_) | Verdict::NotRun => &[],
        };
        let warns = |remark: &&String| remark.starts_with("WARNING: ");
        remarks.iter().filter(warns)
    }

    pub(super) fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = spell(self.took);
        match &self.verdict {
            Verdict::Passed(outcome) => {
                write!(f, "{:10} ok       {took:>12}", self.step)?;
                if let Some(compiling) = outcome.compiling {
                    write!(f, "  ({} compiling)", spell(compiling))?;
                }
                if outcome.tests.tally != Tally::default() {
                    write!(f, "  {}", outcome.tests.tally)?;
                }
                let mut remarks = outcome.remarks.iter();
                remarks.try_for_each(|remark| write!(f, "  {remark}"))
            }
            Verdict::Failed(error) => {
                let cause = error.to_string();
                let cause = cause.lines().next().unwrap_or_default();
                write!(f, "{:10} FAILED   {took:>12}  {cause}", self.step)
            }
            Verdict::NotRun => write!(f, "{:10} not run", self.step),
        }
    }
}

/// Prints the table, slow and unstable tests, and the counts. Returns whether the run passed.
///
/// CI reads the last line, `N passed, N failed`. A run that failed has none.
pub(super) fn close(lines: &[Line], took: Duration) -> bool {
    let (text, passed) = closing(lines, took);
    print!("{text}");
    passed
}

fn closing(lines: &[Line], took: Duration) -> (String, bool) {
    let mut text = "\n=== summary\n".to_owned();
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(&format!("{:10}          {:>12}\n", "total", spell(took)));
    let tests = sum(lines);
    text.push_str(&slowest(&tests));
    let unstable = &tests.unstable;
    if !unstable.is_empty() {
        text.push_str("unstable tests, which failed and then passed alone:\n");
        unstable
            .iter()
            .for_each(|it| text.push_str(&format!("  {it}\n")));
    }
    // A check that did not take place must not be overlooked in the table.
    for warning in lines.iter().flat_map(Line::warnings) {
        text.push_str(&format!("\n!!! {warning}\n\n"));
    }
    let too_many = unstable.len() > UNSTABLE_MAX;
    if too_many {
        let count = unstable.len();
        text.push_str(&format!(
            "FAILED: {count} unstable tests, at most {UNSTABLE_MAX} are tolerated\n"
        ));
    }
    let passed = !too_many && !lines.iter().any(Line::failed);
    if passed && tests.tally.passed > 0 {
        text.push_str(&format!("{}\n", tests.tally));
    }
    (text, passed)
}

fn sum(lines: &[Line]) -> Tests {
    let mut sum = Tests::default();
    for line in lines {
        if let Verdict::Passed(outcome) = &line.verdict {
            sum.add(outcome.tests.clone());
        }
    }
    sum
}

fn slowest(tests: &Tests) -> String {
    let mut times: Vec<_> = tests.times.iter().collect();
    times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    let mut text = String::new();
    if !times.is_empty() {
        text.push_str("slowest tests:\n");
    }
    for (name, took) in times.into_iter().take(SLOWEST) {
        text.push_str(&format!("{:>14}  {name}\n", spell(*took)));
    }
    text
}

fn spell(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: &'static str, verdict: Verdict) -> Line {
        Line {
            step,
            verdict,
            took: Duration::from_secs(65),
        }
    }

    fn passed(passed: u64, unstable: usize) -> Line {
        let tally = Tally {
            passed,
            ..Tally::default()
        };
        let tests = Tests {
            tally,
            unstable: vec!["demo it: a".into(); unstable],
            times: vec![("demo it: a".into(), Duration::from_secs(61))],
        };
        let outcome = Outcome {
            tests,
            compiling: Some(Duration::from_secs(5)),
            remarks: vec!["WARNING: advisories not checked".into()],
        };
        line("test", Verdict::Passed(outcome))
    }

    fn closed(lines: &[Line]) -> (String, bool) {
        closing(lines, Duration::from_secs(130))
    }

    #[test]
    fn the_last_line_of_a_run_that_passed_is_its_counts_alone() {
        let (text, is_passed) = closed(&[passed(7, 0), passed(2, 0)]);
        assert!(is_passed);
        assert_eq!(text.lines().last(), Some("9 passed, 0 failed"));
    }

    #[test]
    fn one_failed_step_fails_the_run_and_leaves_the_counts_out() {
        let failed = line("tidy", Verdict::Failed(anyhow::anyhow!("2 findings")));
        let (text, is_passed) = closed(&[passed(7, 0), failed]);
        assert!(!is_passed);
        assert!(text.contains("FAILED     1 min 05 s  2 findings"), "{text}");
        assert!(!text.contains("7 passed, 0 failed\n"), "{text}");
    }

    #[test]
    fn the_table_shows_verdict_time_compiling_tests_and_remarks() {
        let (text, _) = closed(&[passed(7, 0)]);
        for part in [
            "test       ok         1 min 05 s  (5.0 s compiling)  7 passed",
            "7 passed, 0 failed  WARNING: advisories",
            "\n!!! WARNING: advisories not checked\n",
            "total                 2 min 10 s",
            "slowest tests:\n    1 min 01 s  demo it: a",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn two_unstable_tests_are_named_and_tolerated() {
        let (text, is_passed) = closed(&[passed(7, 2)]);
        assert!(is_passed);
        assert!(
            text.contains("passed alone:\n  demo it: a\n  demo it: a\n"),
            "{text}"
        );
        assert_eq!(text.lines().last(), Some("7 passed, 0 failed"));
    }

    #[test]
    fn more_than_two_unstable_tests_fail_the_run() {
        let (text, is_passed) = closed(&[passed(7, 1), passed(2, 2)]);
        assert!(!is_passed);
        assert_eq!(
            text.lines().last(),
            Some("FAILED: 3 unstable tests, at most 2 are tolerated")
        );
    }
}
