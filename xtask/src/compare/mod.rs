//! Compares the speed of two revisions: builds the benchmarks of both, and runs them in turn.
//!
//! A machine's speed drifts, so every run of one revision is followed by a run of the other one.
//! The report contains the ratio of each such pair.
//!
//! [`figures`] reads what a run prints, and compares.

mod figures;

use std::process::Command;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::process::Console;
use crate::revision;
use crate::workspace::Workspace;
use figures::{Pairs, Run};

/// The figure that is measured from outside: what the program and the servers that it starts use.
const PROCESSOR: &str = "processor time of the run";

/// What to compare with what.
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// The revision to compare the working tree with: a commit, a branch or a tag
    rev: String,
    /// The program that measures
    #[arg(long, value_enum, default_value_t = Program::Embedded)]
    program: Program,
    /// The number of pairs of runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// The arguments of the program, such as `path`
    #[arg(last = true)]
    args: Vec<String>,
}

/// A program in `benches/`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    Embedded,
    Distributed,
}

impl Program {
    /// The package, which is also the name of the program.
    const fn package(self) -> &'static str {
        match self {
            Self::Embedded => "bench-embedded",
            Self::Distributed => "bench-distributed",
        }
    }
}

/// Builds both revisions, runs them in turn, and prints the medians and ratios.
///
/// # Errors
///
/// Fails if the revision is unknown, if a build or a run fails, or if a run prints no figure.
pub(crate) fn run(
    console: &Console,
    workspace: &Workspace,
    args: &CompareArgs,
) -> anyhow::Result<()> {
    let package = args.program.package();
    let before = revision::of_commit(console, workspace, &args.rev, package)?;
    let after = revision::of_working_tree(console, workspace, package)?;
    let mut pairs = Pairs::default();
    for number in 1..=args.pairs {
        // The first program of a pair finds the caches of the second one of the last pair, so both
        // take turns at being first.
        let (before, after) = if number % 2 == 1 {
            let before = measure(console, &before, &args.args)?;
            (before, measure(console, &after, &args.args)?)
        } else {
            let after = measure(console, &after, &args.args)?;
            (measure(console, &before, &args.args)?, after)
        };
        console.say(format!("--- pair {number} of {} has ended", args.pairs));
        pairs.add(&before, &after);
    }
    console.say(format!("\n{pairs}"));
    Ok(())
}

/// Runs a program once. Its figures are the lines that it prints, and its processor time.
fn measure(console: &Console, program: &std::path::Path, args: &[String]) -> anyhow::Result<Run> {
    let mut command = Command::new(program);
    command.args(args);
    let mut run = Run::default();
    let began = processor_seconds()?;
    let status = console.lines(&command, "", |line| run.read(line))?;
    ensure!(status.success(), "{}: {status}", program.display());
    ensure!(
        !run.is_empty(),
        "{} printed no figure: {}",
        program.display(),
        args.join(" ")
    );
    run.add(PROCESSOR, "s", processor_seconds()? - began);
    Ok(run)
}

/// Returns the processor time of all programs that have ended, in seconds, user and system.
fn processor_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the processor time is unknown")?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> anyhow::Result<Run> {
        let args = ["-c".to_owned(), text.to_owned()];
        measure(&Console::terminal(), std::path::Path::new("sh"), &args)
    }

    #[test]
    fn a_run_has_the_figures_that_it_prints_and_its_processor_time() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let run = script(&format!("echo '  handler: 812/s (fine)'; {busy}")).unwrap();
        assert_eq!(run.get("handler", "/s"), Some(812.0));
        assert!(run.get(PROCESSOR, "s").unwrap() > 0.0);
    }

    #[test]
    fn a_program_that_fails_or_prints_no_figure_is_an_error() {
        let error = script("echo '  handler: 812/s'; exit 3").unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let error = script("echo hello").unwrap_err().to_string();
        assert!(error.contains("no figure"), "{error}");
    }
}
