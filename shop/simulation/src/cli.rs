//! The command `simulate`.
#![allow(
    clippy::disallowed_methods,
    reason = "reports the real duration of the simulation"
)]

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shop_client::output;
use wingbeat::test::Simulator;
use wingbeat::test::simulator::Report;

use super::coverage;
use super::system::Shop;

/// The number of seeds from which on incomplete coverage is a failure.
const ENOUGH: u64 = 1_000;

/// Run the whole shop in a deterministic simulation, under every fault, and check what it promises
#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// The number of seeds [default: 100, or 1 with --seed]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed [default: 1]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Stop at the first failure
    #[arg(long)]
    until_failure: bool,
    /// Report a failure with all faults of its seed, without the search for those it needs
    #[arg(long)]
    no_minimize: bool,
    /// Seeds in parallel [default: one a processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print the coverage: faults, and inputs of the checkout by its state
    #[arg(long)]
    coverage: bool,
}

#[derive(Serialize)]
struct Told {
    seeds: u64,
    failures: Vec<ToldFailure>,
    digest: String,
}

#[derive(Serialize)]
struct ToldFailure {
    seed: u64,
    invariant: String,
    detail: String,
}

/// Runs the command. Exits with 1 if an invariant broke, or if enough seeds left gaps in coverage.
#[must_use]
pub fn run(args: &SimulateArgs) -> ExitCode {
    let first = args.seed.unwrap_or(1);
    let count = args
        .seeds
        .unwrap_or(if args.seed.is_some() { 1 } else { 100 });
    if count == 0 {
        return output::failed("simulate", format_args!("--seeds must be at least 1"));
    }
    if first.checked_add(count).is_none() {
        let why = format_args!("there are fewer than {count} seeds from {first} on");
        return output::failed("simulate", why);
    }
    let processors = available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(processors);
    let bar = ProgressBar::new(count);
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} lifetimes, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if let Err(why) = Simulator::check::<Shop>(first) {
        let code = why.code();
        let why = format_args!("{why} [{code}: docs/errors/{code}.md]");
        return output::failed("simulate", why);
    }
    // The report contains the panics. They are repeated while failures are reduced.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let told = bar.clone();
    let mut simulator = coverage::accept_gaps(Simulator::new())
        .threads(threads)
        .progress(move |done| told.set_position(done));
    if args.until_failure {
        simulator = simulator.until_failure();
    }
    if args.no_minimize {
        simulator = simulator.without_minimization();
    }
    let report = simulator.run::<Shop>(first..first.saturating_add(count));
    bar.finish_and_clear();
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let uncovered = uncovered(&report);
    for failure in &report.failures {
        eprintln!("{failure}");
    }
    if args.coverage {
        eprintln!("{}", report.coverage);
    }
    let is_complete = report.seeds >= ENOUGH;
    for gap in uncovered.iter().filter(|_| is_complete || args.coverage) {
        eprintln!("gap in the coverage: {gap}");
    }
    let unseen = if is_complete { uncovered } else { Vec::new() };
    let a_minute = report.seeds as f64 / minutes;
    let a_core = a_minute / threads as f64;
    eprintln!("{a_minute:.0} lifetimes a minute, {a_core:.0} a thread");
    let told = told_of(first, &report, unseen);
    let broken = told.failures.len();
    let text = if args.json {
        serde_json::to_string(&told).expect("plain data")
    } else {
        format!(
            "{} lifetimes, {broken} broken, digest {}",
            told.seeds, told.digest
        )
    };
    output::result("simulate", &text, broken == 0)
}

/// Returns the gaps that are not accepted, and the accepted ones that do not exist.
fn uncovered(report: &Report) -> Vec<String> {
    let gaps = report.gaps.iter().map(ToString::to_string);
    let unmatched = report.unmatched.iter();
    let unmatched = unmatched.map(|name| format!("{name}: accepted, but there is no such gap"));
    gaps.chain(unmatched).collect()
}

fn told_of(first: u64, report: &Report, unseen: Vec<String>) -> Told {
    let broken = report.failures.iter().map(|failure| ToldFailure {
        seed: failure.seed,
        invariant: failure.violation.invariant.clone(),
        detail: format!(
            "{}: {}",
            failure.violation.subject, failure.violation.detail
        ),
    });
    let unseen = unseen.into_iter().map(|detail| ToldFailure {
        seed: first,
        invariant: "everything is seen".into(),
        detail,
    });
    Told {
        seeds: report.seeds,
        failures: broken.chain(unseen).collect(),
        digest: format!("{:016x}", report.digest),
    }
}
