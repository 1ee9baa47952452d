//! `cargo run -p shop-e2e --bin outages`: an outage of each part under load.

#![allow(clippy::disallowed_methods, reason = "real servers take real time")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use shop_e2e::outages::{self, Part};
use shop_e2e::process;

/// Runs the shop as separate processes on real servers under load, takes each part away for a
/// while, and prints what callers saw and how long the shop took to catch up.
#[derive(Parser)]
struct Cli {
    /// Orders per second
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// The length of each outage, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The folder for logs
    #[arg(long, value_name = "DIR", default_value = "target/outages")]
    out: PathBuf,
    /// The shop's binary
    #[arg(long, value_name = "FILE")]
    shop: Option<PathBuf>,
    /// The parts; all of them by default
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = std::path::absolute(&cli.out).expect("a folder");
    let shop = std::path::absolute(cli.shop.unwrap_or_else(process::binary));
    let binary = shop.expect("the shop's binary");
    let parts = match cli.parts.as_slice() {
        [] => &outages::ALL,
        parts => parts,
    };
    let away_for = Duration::from_secs(cli.seconds);
    let run = outages::run(parts, cli.rate.max(1), away_for, binary, &out).await;
    println!("{}", outages::HEAD);
    for figures in &run.figures {
        println!("{figures}");
    }
    run.outcome.report()
}
