//! The workspace's own commands, run as `cargo xtask <command>`.
//!
//! - [`suite`] runs the steps that check everything, the same on a desk and in CI; [`steps`] says
//!   which they are.
//! - [`tidy`] checks what the compiler and clippy cannot: who may depend on whom, how long a file
//!   may grow, what may not be written down.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool: it never runs inside the simulation"
)]

mod deny;
mod install;
mod packages;
mod process;
mod steps;
mod suite;
mod tally;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything, as CI does; or only the steps that are named
    Test {
        /// Steps to run, in the order of the suite; none means all
        #[arg(value_parser = steps::names())]
        only: Vec<String>,
        /// Run the remaining steps after one has failed
        #[arg(long)]
        keep_going: bool,
    },
    /// Run the shop as separate processes on real servers and break what can be broken, from a seed
    Chaos {
        /// How many runs
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// The first one's seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Print the modules of a crate by level, with their imports
    Modules {
        /// The crate, such as `wingbeat`
        #[arg(name = "CRATE")]
        krate: String,
    },
    /// Check the rules that neither the compiler nor clippy knows
    Tidy {
        /// Lower the recorded lengths to what the code has shrunk to
        #[arg(long, conflicts_with = "bless_all")]
        bless: bool,
        /// Record every length over its limit as it is now, longer ones too
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
    // Cargo builds what is around the current directory; we mean the whole, wherever we were called.
    std::env::set_current_dir(&workspace.root)?;
    match command {
        Command::Test { only, keep_going } => Ok(suite::run(&workspace, &only, keep_going)),
        Command::Chaos { runs, seed } => {
            steps::chaos_runs(&workspace, runs, seed, None).map(|()| true)
        }
        Command::Tidy { bless: true, .. } => {
            tidy::bless(&workspace, tidy::Bless::Downward).map(|()| true)
        }
        Command::Tidy {
            bless_all: true, ..
        } => tidy::bless(&workspace, tidy::Bless::Everything).map(|()| true),
        Command::Modules { krate } => tidy::print_modules(&workspace, &krate).map(|()| true),
        Command::Tidy { .. } => tidy::run(&workspace).map(|report| report.is_clean()),
    }
}
