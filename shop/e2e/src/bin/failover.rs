//! `cargo run -p shop-e2e --bin failover`: failover of each server under load.

#![allow(clippy::disallowed_methods, reason = "real servers take real time")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shop_e2e::{failover, process};

/// Runs the shop as separate processes on real servers under load, fails over each server, and
/// prints what callers saw.
#[derive(Parser)]
struct Cli {
    /// Orders per second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// The folder for logs
    #[arg(long, value_name = "DIR", default_value = "target/failover")]
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
    let run = failover::run(&failover::ALL, cli.rate.max(1), binary, &out).await;
    for figures in &run.figures {
        println!("{figures}");
    }
    run.outcome.report()
}
