//! `cargo xtask chaos`: runs of chaos from a seed on.

#![allow(clippy::disallowed_methods, reason = "real servers take real time")]

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use shop_e2e::{chaos, process};

/// Runs the shop as separate processes on real servers, injects faults, and checks the promises of the shop.
#[derive(Parser)]
struct Cli {
    /// The number of runs
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// The seed of the first run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Start no run after so many seconds
    #[arg(long, value_name = "SECONDS")]
    within: Option<u64>,
    /// The folder for logs and timelines
    #[arg(long, value_name = "DIR", default_value = "target/chaos")]
    out: PathBuf,
    /// The shop's binary
    #[arg(long, value_name = "FILE")]
    shop: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = std::path::absolute(&cli.out).expect("a folder");
    let shop = std::path::absolute(cli.shop.unwrap_or_else(process::binary));
    let binary = shop.expect("the shop's binary");
    let (mut runs, mut broken) = (0, 0);
    let start = Instant::now();
    for seed in cli.seed..cli.seed + cli.runs {
        if cli
            .within
            .is_some_and(|limit| start.elapsed().as_secs() >= limit)
        {
            break;
        }
        runs += 1;
        let run = chaos::run(seed, binary.clone(), &out).await;
        print!("{run}");
        broken += u64::from(!run.outcome.broken.is_empty());
    }
    println!("{runs} runs, {broken} broken, of {}", commit());
    ExitCode::from(u8::from(broken > 0))
}

/// The commit that is checked out, and whether files have changed since.
fn commit() -> String {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude", "*"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match described {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().into()
        }
        _ => "an unknown commit".into(),
    }
}
