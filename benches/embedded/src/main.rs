//! Measures the embedded deployment: `cargo run --release -p bench-embedded -- [benchmark]`.
//!
//! - `handler`: the effectively-once handler with inbox, state and one outgoing message for each
//!   message.
//! - `hot`: the same on one key.
//! - `path`: `POST /orders` until paid, over HTTP and the socket of the payment provider, with the
//!   services orders, inventory and payments.
//! - `shop`: the same in the whole shop.
//! - `letters`: many dead letters: the first page, a poisoned group, and a redrive at 500 a second
//!   while other messages go on.
//! - `history`: start, audit, lists, memory and disk of a shop with a long history.
//! - `rebuild`: a projection that is built over a long history while orders go on.
//!
//! The database runs with `synchronous=FULL`. The median of three runs counts. Load generator,
//! services, store and provider share the machine.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures the real clock"
)]

mod handler;
mod history;
mod letters;
mod orders;
mod rebuild;

use clap::{Parser, ValueEnum};

/// The allocator of the shop.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The runs of each benchmark.
const RUNS: usize = 3;

/// Measures the embedded deployment
#[derive(Parser)]
struct Cli {
    /// The benchmark to run
    #[arg(value_enum, default_value_t = Benchmark::All)]
    benchmark: Benchmark,
    /// The orders of `history`
    #[arg(long, default_value_t = 1_000_000)]
    orders: usize,
    /// The dead letters of `letters`
    #[arg(long, default_value_t = 100_000)]
    letters: u32,
    /// The data directory of `history` and `rebuild`; without one, it is removed afterwards
    #[arg(long, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// The orders of `history` are so old that their timelines have expired
    #[arg(long)]
    without_timelines: bool,
    /// The stored events of `rebuild`
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// The orders a second of `rebuild`
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    All,
    Handler,
    Hot,
    Path,
    Shop,
    History,
    Rebuild,
    Letters,
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let benchmark = cli.benchmark;
    if benchmark == Benchmark::History {
        let temporary = tempfile::tempdir().expect("a directory");
        let data = cli.data.as_deref().unwrap_or(temporary.path());
        history::run(cli.orders, !cli.without_timelines, data).await;
        return;
    }
    if benchmark == Benchmark::Rebuild {
        let temporary = tempfile::tempdir().expect("a directory");
        let data = cli.data.as_deref().unwrap_or(temporary.path());
        rebuild::run(cli.events, cli.rate, data).await;
        return;
    }
    if benchmark == Benchmark::Letters {
        letters::run(cli.letters).await;
        return;
    }
    let wanted = |this| benchmark == Benchmark::All || benchmark == this;
    if wanted(Benchmark::Handler) {
        let keys = 10_000;
        median("effectively-once handler", async || {
            handler::run(keys).await
        })
        .await;
    }
    if wanted(Benchmark::Hot) {
        median("one hot key", async || handler::run(1).await).await;
    }
    if wanted(Benchmark::Path) {
        let services = &["orders", "inventory", "payments"];
        median("order path, confirmed", async || {
            orders::run(Some(services)).await
        })
        .await;
    }
    if wanted(Benchmark::Shop) {
        median("whole shop, paid", async || orders::run(None).await).await;
    }
}

/// The result of a run.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// The work of the store meanwhile.
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

/// Describes the work of the store between two readings.
pub(crate) fn about(before: &wingbeat_embedded::Stats, after: &wingbeat_embedded::Stats) -> String {
    let (commits, units) = (after.commits - before.commits, after.units - before.units);
    let mean = units as f64 / (commits as f64).max(1.0);
    let busy = (after.busy - before.busy).as_secs_f64();
    format!(
        "{commits} fsyncs, {mean:.1} units per commit, {} at most; the writer was busy for \
         {busy:.1} s; {} MB resident",
        after.batch_max,
        resident_mb()
    )
}

/// The resident memory of this process, which includes load generator and provider.
fn resident_mb() -> u64 {
    of_status("VmRSS:")
}

/// The highest resident memory so far.
fn peak_mb() -> u64 {
    of_status("VmHWM:")
}

fn of_status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or_default() / 1024
}
