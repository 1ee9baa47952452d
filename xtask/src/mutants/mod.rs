//! Measures what the simulation notices: plants one fault at a time in the domains, sagas and
//! handlers of the shop, and simulates.
//!
//! One build contains all faults; each is a condition that is false until a variable names its
//! number. So a build takes minutes, and a fault as long as its simulation.
//!
//! - [`sites`] finds the places for faults in a file. [`rewrite`] writes a file that contains them.
//! - [`build`] builds the program from a copy of the workspace. [`trial`] simulates a fault.

mod build;
mod rewrite;
mod sites;
mod trial;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use crate::process::Console;
use crate::workspace::Workspace;
use build::{Mutant, Program};
use trial::Verdict;

/// How many faults, and how long to look for each.
#[derive(Args)]
pub(crate) struct MutantsArgs {
    /// The number of faults, spread evenly over all places
    #[arg(long, default_value_t = 300)]
    count: usize,
    /// The lifetimes to simulate for each fault, beginning with seed 1
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The number of faults that are simulated at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds after which a simulation counts as one that never ends
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// Only these numbers of an earlier run
    #[arg(long, value_delimiter = ',')]
    only: Vec<u32>,
}

/// A line of the report.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    mutant: &'a Mutant,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Builds the program with all faults, simulates a sample, and prints those that nobody noticed.
///
/// # Errors
///
/// Fails if the program cannot be built, or if it fails without a fault.
pub(crate) fn run(
    console: &Console,
    workspace: &Workspace,
    args: &MutantsArgs,
) -> anyhow::Result<bool> {
    let folder = workspace.target.join("mutants");
    let program = build::build(console, workspace, &folder)?;
    let limit = Duration::from_secs(args.limit);
    let reached = reached(console, &program, args.seeds, &folder)?;
    let sample = sample(&program.mutants, args);
    console.say(format!(
        "{} places, {} of them reached by {} lifetimes; {} in the sample",
        program.mutants.len(),
        reached.len(),
        args.seeds,
        sample.len()
    ));
    let verdicts = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(mutant) = sample.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = match reached.contains(&mutant.number) {
                        true => trial::simulate(&program.path, mutant.number, args.seeds, limit),
                        false => Verdict::NotReached,
                    };
                    console.say(format!("{mutant}: {verdict}"));
                    let mut verdicts = verdicts.lock().unwrap_or_else(|it| it.into_inner());
                    verdicts.push((*mutant, verdict));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_else(|it| it.into_inner());
    verdicts.sort_by_key(|(mutant, _)| mutant.number);
    report(console, &verdicts, &folder.join("report.json"))
}

/// Simulates without a fault, and returns the numbers of the places that were executed.
fn reached(
    console: &Console,
    program: &Program,
    seeds: u64,
    folder: &std::path::Path,
) -> anyhow::Result<BTreeSet<u32>> {
    let list = folder.join("reached.txt");
    fs::write(&list, "")?;
    let mut command = trial::command(&program.path, 0, seeds);
    command.env(build::REACHED, &list);
    console.run(&command).context("without a fault")?;
    let lines = fs::read_to_string(&list)?;
    let numbers = lines.lines().map(str::parse);
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Chooses the places, evenly over all files.
fn sample<'a>(mutants: &'a [Mutant], args: &MutantsArgs) -> Vec<&'a Mutant> {
    if !args.only.is_empty() {
        let is_asked = |it: &&Mutant| args.only.contains(&it.number);
        return mutants.iter().filter(is_asked).collect();
    }
    let count = args.count.min(mutants.len());
    (0..count)
        .map(|place| &mutants[place * mutants.len() / count])
        .collect()
}

fn report(
    console: &Console,
    verdicts: &[(&Mutant, Verdict)],
    path: &PathBuf,
) -> anyhow::Result<bool> {
    ensure!(!verdicts.is_empty(), "there is no fault to plant");
    let lines = verdicts
        .iter()
        .map(|(mutant, verdict)| Line { mutant, verdict });
    let lines: Vec<_> = lines.collect();
    fs::write(path, serde_json::to_vec_pretty(&lines)?)?;
    let count = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, it)| is(it)).count();
    let found = count(Verdict::is_found);
    let (unreached, all) = (count(Verdict::is_unreached), verdicts.len());
    console.say("Not noticed:");
    for (mutant, verdict) in verdicts.iter().filter(|(_, it)| !it.is_found()) {
        console.say(format!("  {mutant}: {verdict}"));
    }
    let percent = found * 100 / all;
    console.say(format!(
        "{found} of {all} noticed ({percent} %), {unreached} never executed; {}",
        path.display()
    ));
    Ok(true)
}
