//! Speed of the distributed shape, beside its peers: `cargo run --release -p bench-distributed -- [what]`.
//!
//! - `broker`: publish and confirm, consume and acknowledge, both at once, latency at 500/s: raw clients, our
//!   transport, our whole runtime, and with `--peers` NestJS microservices and golevelup.
//! - `handler`: the effectively-once handler: inbox, state and one outgoing message a message. `hot`: on one key.
//! - `path`: POST /orders to confirmed over four messages, each service a process; with `--peers` beside NestJS.
//! - `shop`: the whole shop, each service a process, orders paid (needs `cargo build --release` before).
//!
//! Everything on private servers, quorum queues, persistent, confirmed, acknowledged by hand, prefetch 256,
//! bodies of 500 bytes. What is compared takes turns, and medians count. Load, services, broker and database
//! share the machine, so that absolute figures mean little elsewhere: ratios do.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a benchmark measures the real clock, and ends where something is missing"
)]

mod broker;
mod client;
mod handler;
mod part;
mod path;
mod process;
mod shop;
mod table;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use table::Table;

/// As in the shop.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    /// What to measure.
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    #[command(flatten)]
    how: How,
}

/// How thoroughly.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct How {
    /// Seconds of load a measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; medians count.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Orders a second of the order path's open loop.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// NestJS beside us; needs Node and, once, `npm ci` in the folders of benches/peers.
    #[arg(long)]
    peers: bool,
}

impl How {
    fn load(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    All,
    Broker,
    Handler,
    Hot,
    Path,
    Shop,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    if args.next().as_deref() == Some(part::WORD) {
        // As `shop run` does for a process of one service.
        let tokio = tokio.worker_threads(1).enable_all().build().unwrap();
        return tokio.block_on(part::run(args.collect()));
    }
    let Cli { what, how } = Cli::parse();
    let tokio = tokio.enable_all().build().unwrap();
    tokio.block_on(measure(what, how));
}

async fn measure(what: What, how: How) {
    let wanted = |this| what == What::All || what == this;
    let mut table = Table::default();
    if wanted(What::Broker) {
        broker::run(how, &mut table).await;
    }
    if wanted(What::Handler) {
        handler::run(how, handler::Keys::Many, &mut table).await;
    }
    if wanted(What::Hot) {
        handler::run(how, handler::Keys::One, &mut table).await;
    }
    if wanted(What::Path) {
        path::run(how, &mut table).await;
    }
    if wanted(What::Shop) {
        shop::run(how, &mut table).await;
    }
    println!("\n{table}");
}
