//! Measures the distributed deployment beside other frameworks:
//! `cargo run --release -p bench-distributed -- [benchmark]`.
//!
//! - `broker`: publishing with confirms, consuming with acknowledgements, both at once, and latency
//!   at 500 messages per second, for raw clients, our transport and our whole runtime. `--peers`
//!   adds NestJS microservices and golevelup.
//! - `claims`: claims on a flash sale, beside raw calls of the same Redis script.
//! - `handler`: the effectively-once handler with inbox, state and one outgoing message for each
//!   message. `hot`: the same on one key.
//! - `neighbour`: the work of one subscription while another one, paused or slow, has a backlog,
//!   and without it; also on the embedded store.
//! - `path`: `POST /orders` to confirmed over four messages, one process per service. `--peers`
//!   adds NestJS.
//! - `shop`: the whole shop, one process per service, until orders are paid, and the bytes that
//!   PostgreSQL writes and keeps for each. It needs `cargo build --release` first.
//!
//! Everything runs on private servers with quorum queues, persistent messages, publisher confirms,
//! manual acknowledgements, a prefetch of 256 and bodies of 500 bytes. Clients take turns; medians
//! count. Load generator, services, broker and database share the machine: compare ratios, not
//! absolute figures.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a benchmark measures the real clock and may panic"
)]

mod broker;
mod claims;
mod client;
mod disk;
mod handler;
mod neighbour;
mod options;
mod path;
mod process;
mod protocol;
mod shop;
mod table;
mod worker;
mod workload;

use clap::{Parser, ValueEnum};
use options::Options;
use table::Table;

/// The allocator of the shop.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the distributed deployment beside other frameworks
#[derive(Parser)]
struct Cli {
    /// The benchmark to run
    #[arg(value_enum, default_value_t = Benchmark::All)]
    benchmark: Benchmark,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    All,
    Broker,
    Claims,
    Handler,
    Hot,
    Neighbour,
    Path,
    Shop,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    if args.next().as_deref() == Some(protocol::WORKER) {
        // `shop run` gives a process of one service one thread.
        let tokio = tokio.worker_threads(1).enable_all().build().unwrap();
        return tokio.block_on(worker::run(args.collect()));
    }
    let Cli { benchmark, options } = Cli::parse();
    let tokio = tokio.enable_all().build().unwrap();
    tokio.block_on(measure(benchmark, options));
}

async fn measure(benchmark: Benchmark, options: Options) {
    let wanted = |this| benchmark == Benchmark::All || benchmark == this;
    let mut table = Table::default();
    if wanted(Benchmark::Broker) {
        broker::run(options, &mut table).await;
    }
    if wanted(Benchmark::Claims) {
        claims::run(options, &mut table).await;
    }
    if wanted(Benchmark::Handler) {
        handler::run(options, handler::Keys::Many, &mut table).await;
    }
    if wanted(Benchmark::Hot) {
        handler::run(options, handler::Keys::One, &mut table).await;
    }
    if wanted(Benchmark::Neighbour) {
        neighbour::run(options, &mut table).await;
    }
    if wanted(Benchmark::Path) {
        path::run(options, &mut table).await;
    }
    if wanted(Benchmark::Shop) {
        shop::run(options, &mut table).await;
    }
    println!("\n{table}");
}
