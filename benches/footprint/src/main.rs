//! Measures the footprint of each service of the shop: the time from start to ready on running
//! servers, and its memory, idle and under load. Linux only.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p bench-footprint -- --rounds 3 --load 20 --shoppers 30
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark measures the real clock and may panic"
)]

use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use shop_client::Shop;
use shop_client::http::Call;
use shop_e2e::fleet::Plan;
use shop_e2e::member::Member;
use shop_e2e::shopping::Shopping;
use shop_e2e::site::Site;

/// The pause between two readiness checks.
const LOOK: Duration = Duration::from_millis(2);
/// The time after which a process counts as idle. Blocking threads end after ten seconds, and the
/// allocator returns their memory.
const REST: Duration = Duration::from_secs(15);

/// Measures the footprint of every process of the shop
#[derive(Parser)]
struct Args {
    /// Starts per process
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load
    #[arg(long, default_value_t = 20)]
    load: u64,
    /// Shoppers who place orders meanwhile
    #[arg(long, default_value_t = 30)]
    shoppers: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// The figures of a process.
#[derive(Debug, Default)]
struct Row {
    service: &'static str,
    /// Milliseconds from start to ready, for each start.
    ready: Vec<f64>,
    idle: Memory,
    loaded: Memory,
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// All resident memory.
    resident: f64,
    /// Heap and stacks, without the pages of the program.
    own: f64,
    /// The peak of resident memory.
    peak: f64,
}

fn memory(member: &Member) -> Memory {
    let mib = |field| member.memory_kib(field) as f64 / 1024.0;
    Memory {
        resident: mib("VmRSS"),
        own: mib("RssAnon"),
        peak: mib("VmHWM"),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args = Args::parse();
    let mut fleet = Plan::standard().start().await;
    let mut rows = Vec::new();
    for place in 0..fleet.members.len() {
        let member = &mut fleet.members[place];
        let mut ready = Vec::new();
        for _ in 0..args.rounds {
            ready.push(start(member).await);
        }
        let service = member.roles[0];
        rows.push(Row {
            service,
            ready,
            ..Row::default()
        });
    }
    tokio::time::sleep(REST).await;
    for (row, member) in rows.iter_mut().zip(&fleet.members) {
        row.idle = memory(member);
    }
    let orders = load(&fleet.site(), &args).await;
    for (row, member) in rows.iter_mut().zip(&fleet.members) {
        row.loaded = memory(member);
    }
    if args.json {
        println!("{}", report(&rows, orders, args.load));
    } else {
        show(&rows, orders, args.load);
    }
}

/// Restarts a process and returns the milliseconds from its start until it is ready.
async fn start(member: &mut Member) -> f64 {
    member.terminate().await;
    let path = match member.roles[0] {
        "provider" => "/healthz",
        _ => "/readyz",
    };
    let shop = Shop::at(&format!("http://127.0.0.1:{}", member.port)).unwrap();
    let began = Instant::now();
    member.start();
    while !shop
        .ask(&Call::get(path))
        .await
        .is_ok_and(|it| it.status == 200)
    {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{member} is not ready"
        );
        tokio::time::sleep(LOOK).await;
    }
    began.elapsed().as_secs_f64() * 1000.0
}

/// Lets shoppers order for a while, and waits until their orders have ended. Returns the number of
/// accepted orders.
async fn load(site: &Site, args: &Args) -> usize {
    let shopping = Shopping::begin(site, args.shoppers).await;
    tokio::time::sleep(Duration::from_secs(args.load)).await;
    let accepted = shopping.accepted();
    let outcome = shopping.end().await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    accepted
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn show(rows: &[Row], orders: usize, seconds: u64) {
    println!("{orders} orders in {seconds} s; resident MiB (heap and stacks alone), then the peak");
    println!(
        "{:<14} {:>9} {:>16} {:>16} {:>8}",
        "", "ready ms", "idle", "loaded", "peak"
    );
    for row in rows {
        let of = |memory: Memory| format!("{:.1} ({:.1})", memory.resident, memory.own);
        let (idle, loaded, peak) = (of(row.idle), of(row.loaded), row.loaded.peak);
        println!(
            "{:<14} {:>9.0} {idle:>16} {loaded:>16} {peak:>8.1}",
            row.service,
            median(&row.ready)
        );
    }
}

fn report(rows: &[Row], orders: usize, seconds: u64) -> Value {
    let of = |memory: Memory| {
        let Memory {
            resident,
            own,
            peak,
        } = memory;
        json!({"resident": resident, "own": own, "peak": peak})
    };
    let rows = rows.iter().map(|row| {
        json!({
            "service": row.service,
            "ready_ms": median(&row.ready),
            "idle_mib": of(row.idle),
            "loaded_mib": of(row.loaded),
        })
    });
    json!({"orders": orders, "seconds": seconds, "processes": rows.collect::<Vec<_>>()})
}
