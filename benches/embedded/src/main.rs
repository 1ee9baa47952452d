//! Speed of the embedded shape: `cargo run --release -p bench-embedded -- [all|handler|hot|path|shop]`.
//!
//! - `handler`: the effectively-once handler: inbox, state and one outgoing message a message.
//! - `hot`: the same on one key.
//! - `path`: POST /orders to `paid` over HTTP and the provider's real socket: orders, inventory, payments.
//! - `shop`: the same in the whole shop.
//!
//! Everything with `synchronous=FULL`; medians of three runs. Load generator, services, store and provider
//! share the machine.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures the real clock"
)]

mod handler;
mod orders;

use clap::{Parser, ValueEnum};

/// As in the shop.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of each benchmark; the median counts.
const RUNS: usize = 3;

#[derive(Parser)]
struct Cli {
    /// What to measure.
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    All,
    Handler,
    Hot,
    Path,
    Shop,
}

#[tokio::main]
async fn main() {
    let Cli { what } = Cli::parse();
    let wanted = |this| what == What::All || what == this;
    if wanted(What::Handler) {
        let keys = 10_000;
        median("effectively-once handler", async || {
            handler::run(keys).await
        })
        .await;
    }
    if wanted(What::Hot) {
        median("one hot key", async || handler::run(1).await).await;
    }
    if wanted(What::Path) {
        let services = &["orders", "inventory", "payments"];
        median("order path, confirmed", async || {
            orders::run(Some(services)).await
        })
        .await;
    }
    if wanted(What::Shop) {
        median("whole shop, paid", async || orders::run(None).await).await;
    }
}

/// A second's work, and what the store did meanwhile.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) about: String,
}

async fn median(name: &str, run: impl AsyncFn() -> Measured) {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let measured = run().await;
        println!(
            "  {name}: {:.0}/s ({})",
            measured.per_second, measured.about
        );
        runs.push(measured.per_second);
    }
    runs.sort_by(f64::total_cmp);
    println!("{name}: median {:.0}/s of {RUNS}", runs[RUNS / 2]);
}

/// What the store did between two looks.
pub(crate) fn about(before: &wingbeat_embedded::Stats, after: &wingbeat_embedded::Stats) -> String {
    let (commits, units) = (after.commits - before.commits, after.units - before.units);
    let mean = units as f64 / (commits as f64).max(1.0);
    let busy = (after.busy - before.busy).as_secs_f64();
    format!(
        "{commits} fsyncs, {mean:.1} units a commit, {} at most; the writer was busy {busy:.1} s; {} MB resident",
        after.batch_max,
        resident_mb()
    )
}

/// Resident memory of this process: load generator and provider included.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or_default() / 1024
}
