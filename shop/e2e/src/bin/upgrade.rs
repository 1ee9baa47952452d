//! `cargo run -p shop-e2e --bin upgrade`: an upgrade without downtime, and the way back.

#![allow(clippy::disallowed_methods, reason = "real servers take real time")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shop_e2e::process;
use shop_e2e::rolling::Rolling;
use shop_e2e::servers::Servers;

/// Runs the shop as twenty processes of an earlier release while people shop, replaces each process
/// by one of this release, and then each by one of the earlier release again. No request may fail.
#[derive(Parser)]
struct Cli {
    /// The shop's binary of the earlier release
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The shop's binary of this release
    #[arg(long, value_name = "FILE")]
    shop: Option<PathBuf>,
    /// The folder for logs
    #[arg(long, value_name = "DIR", default_value = "target/upgrade")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let absolute = |path: PathBuf| std::path::absolute(path).expect("a path");
    let out = absolute(cli.out);
    let (from, to) = (
        absolute(cli.from),
        absolute(cli.shop.unwrap_or_else(process::binary)),
    );
    drop(std::fs::remove_dir_all(&out));
    std::fs::create_dir_all(&out).expect("a folder for logs");
    let plan = Rolling::plan()
        .binary(from.clone())
        .logs_in(&out)
        .on(Servers::private().await);
    let mut rolling = Rolling::start(plan).await;
    println!("every process runs the earlier release");
    rolling.replace_all(Some(&to)).await;
    println!("every process runs this release");
    rolling.replace_all(Some(&from)).await;
    println!("every process runs the earlier release again");
    rolling.end().await.report()
}
