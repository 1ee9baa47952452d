//! The commands of this workspace: `cargo xtask <command>`.
//!
//! - [`suite`] runs the steps that check everything, the same on a developer's machine and in CI.
//!   [`runner`] builds and runs the tests, [`tools`] installs the programs that they need.
//! - [`tidy`] checks the rules that neither the compiler nor clippy checks: dependencies between
//!   packages and modules, lengths, forbidden words.
//! - [`scaffold`] adds a service to the shop.
//! - [`compare`] compares the speed of two revisions. [`upgrade`] replaces one by the other in a
//!   running shop. [`revision`] builds them.
//! - [`dashboards`] writes the dashboards for Grafana.
//! - [`scaling`] computes the servers that a number of orders needs.
//! - [`mutants`] measures which planted faults the simulation notices.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "xtask never runs inside the simulation"
)]

mod compare;
mod dashboards;
mod mutants;
mod process;
mod revision;
mod runner;
mod scaffold;
mod scaling;
mod suite;
mod tidy;
mod tools;
mod upgrade;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of this workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything, as CI does, or only the named steps
    Test {
        /// The steps to run; they run in the order of the suite
        #[arg(value_parser = suite::names())]
        only: Vec<String>,
        /// Run the remaining steps after a failure
        #[arg(long)]
        keep_going: bool,
    },
    /// Run the shop as processes on real servers and inject faults drawn from a seed
    Chaos {
        /// The number of runs
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// The seed of the first run; the next one has the next seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Add a service to the shop, with contracts, tests and its place in every list
    NewService {
        /// The name in lower-case letters, such as `ratings`
        name: String,
    },
    /// Build a benchmark at another revision and here, run both in turn, and compare
    BenchCompare(compare::CompareArgs),
    /// Replace every process of a running shop of another revision, and go back
    Upgrade {
        /// The revision to begin with: a commit, a branch or a tag
        #[arg(default_value = "HEAD")]
        rev: String,
    },
    /// Write the dashboards for Grafana
    Dashboards,
    /// Print the servers that a number of orders needs, from the costs in docs/scaling.md
    Scaling {
        /// The orders of a day; without it, the tables of the page
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        orders_per_day: Option<u64>,
    },
    /// Plant faults in the shop one by one, and simulate: which of them does nobody notice?
    Mutants(mutants::MutantsArgs),
    /// Print the modules of a crate by level, with their imports
    Modules {
        /// The crate, such as `wingbeat`
        #[arg(value_name = "CRATE")]
        krate: String,
    },
    /// Check the rules that neither the compiler nor clippy checks
    Tidy {
        /// Lower the exceptions in `xtask/ratchet.toml` to what the code needs
        #[arg(long, conflicts_with = "bless_all")]
        bless: bool,
        /// Record every violation of a length and every circle as an exception
        #[arg(long)]
        bless_all: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<bool> {
    let workspace = Workspace::load()?;
    // Cargo builds the package of the current directory, but steps mean the workspace.
    std::env::set_current_dir(&workspace.root)?;
    match command {
        Command::Test { only, keep_going } => Ok(suite::run(&workspace, &only, keep_going)),
        Command::Chaos { runs, seed } => {
            let console = process::Console::terminal();
            suite::chaos_runs(&console, &workspace, runs, seed, None).map(|()| true)
        }
        Command::Tidy { bless: true, .. } => {
            tidy::bless(&workspace, tidy::Bless::Downward).map(|()| true)
        }
        Command::Tidy {
            bless_all: true, ..
        } => tidy::bless(&workspace, tidy::Bless::Everything).map(|()| true),
        Command::NewService { name } => {
            let console = process::Console::terminal();
            scaffold::new_service(&console, &workspace, &name).map(|()| true)
        }
        Command::BenchCompare(args) => {
            let console = process::Console::terminal();
            compare::run(&console, &workspace, &args).map(|()| true)
        }
        Command::Upgrade { rev } => {
            let console = process::Console::terminal();
            upgrade::run(&console, &workspace, &rev).map(|()| true)
        }
        Command::Dashboards => dashboards::write(&workspace.root).map(|()| true),
        Command::Scaling { orders_per_day } => {
            scaling::print(orders_per_day.map(|orders| orders as f64));
            Ok(true)
        }
        Command::Mutants(args) => {
            let console = process::Console::terminal();
            mutants::run(&console, &workspace, &args)
        }
        Command::Modules { krate } => tidy::print_modules(&workspace, &krate).map(|()| true),
        Command::Tidy { .. } => tidy::run(&workspace).map(|report| report.is_clean()),
    }
}
