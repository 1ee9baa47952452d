//! Runs steps in order, times them, and closes with a table of how they ended.

use std::fmt;
use std::time::{Duration, Instant};

use crate::steps::{self, Outcome, Step};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// How a step ended, for the table.
struct Line {
    step: &'static str,
    verdict: Verdict,
    took: Duration,
}

enum Verdict {
    Done(Outcome),
    Failed(anyhow::Error),
    NotRun,
}

/// Runs the named steps, or all of them when none is named. True when none of them failed.
///
/// The first failure ends the run unless it is to keep going.
pub(crate) fn run(workspace: &Workspace, only: &[String], keep_going: bool) -> bool {
    let chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let chosen: Vec<&Step> = steps::ALL.iter().filter(chosen).collect();
    let mut lines: Vec<Line> = Vec::with_capacity(chosen.len());
    for (index, step) in chosen.iter().enumerate() {
        if !keep_going && lines.iter().any(Line::failed) {
            lines.push(step.left_out());
            continue;
        }
        println!(
            "\n=== {}/{} {}: {}",
            index + 1,
            chosen.len(),
            step.name,
            step.what
        );
        lines.push(step.timed(workspace));
    }
    close(&lines)
}

impl Step {
    fn timed(&self, workspace: &Workspace) -> Line {
        let begun = Instant::now();
        let verdict = match (self.run)(workspace) {
            Ok(outcome) => Verdict::Done(outcome),
            Err(error) => {
                eprintln!("error: step `{}`: {error:#}", self.name);
                Verdict::Failed(error)
            }
        };
        Line {
            step: self.name,
            verdict,
            took: begun.elapsed(),
        }
    }

    fn left_out(&self) -> Line {
        Line {
            step: self.name,
            verdict: Verdict::NotRun,
            took: Duration::ZERO,
        }
    }
}

impl Line {
    fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = spell(self.took);
        match &self.verdict {
            Verdict::Done(outcome) => {
                write!(f, "{:10} ok       {took:>12}", self.step)?;
                if outcome.tally != Tally::default() {
                    write!(f, "  {}", outcome.tally)?;
                }
                outcome
                    .remarks
                    .iter()
                    .try_for_each(|remark| write!(f, "  {remark}"))
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

/// Prints the table and the sum of the tests. True when no step failed.
fn close(lines: &[Line]) -> bool {
    println!("\n=== summary");
    lines.iter().for_each(|line| println!("{line}"));
    let total: Duration = lines.iter().map(|line| line.took).sum();
    println!("{:10}          {:>12}", "total", spell(total));
    let passed = !lines.iter().any(Line::failed);
    let tally = sum(lines);
    if passed && tally.passed > 0 {
        println!("{tally}");
    }
    passed
}

fn sum(lines: &[Line]) -> Tally {
    let mut sum = Tally::default();
    for line in lines {
        if let Verdict::Done(outcome) = &line.verdict {
            sum += outcome.tally;
        }
    }
    sum
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

    #[test]
    fn one_failed_step_fails_the_run() {
        let fine = || line("fmt", Verdict::Done(Outcome::default()));
        assert!(close(&[fine()]));
        let failed = line("tidy", Verdict::Failed(anyhow::anyhow!("2 findings")));
        assert!(!close(&[fine(), failed]));
    }

    #[test]
    fn the_table_shows_verdict_time_tests_and_remarks() {
        let tally = Tally {
            passed: 7,
            ..Tally::default()
        };
        let outcome = Outcome {
            tally,
            remarks: vec!["WARNING: advisories not checked".into()],
        };
        let shown = line("deny", Verdict::Done(outcome)).to_string();
        for part in [
            "deny",
            "ok",
            "1 min 05 s",
            "7 passed",
            "WARNING: advisories",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}
