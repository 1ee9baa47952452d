//! The path of an order from `POST /orders` to confirmed: four messages through three services,
//! each in its own process.
//!
//! The load generator posts orders over HTTP and consumes the queue of `order.confirmed`.

mod load;
mod services;

use std::time::Duration;

use wingbeat_servers::{Postgres, RabbitMq};

use crate::broker::declare;
use crate::options::Options;
use crate::process::{Process, peer, server_cpu};
use crate::table::Table;
use load::{Confirmations, Load};

pub(crate) use services::worker;

const WHAT: &str = "order path";
const PACED: &str = "order path, paced";
const SERVICES: [&str; 3] = ["orders", "inventory", "payments"];
const OURS: &str = "wingbeat";
const THEIRS: &str = "nestjs, naive";
/// Concurrent requests of the closed loop.
const AT_ONCE: usize = 64;

/// Measures the order path.
pub(crate) async fn run(options: Options, table: &mut Table) {
    let who: &[&str] = if options.peers {
        &[OURS, THEIRS]
    } else {
        &[OURS]
    };
    for _ in 0..options.runs {
        for who in who {
            once(options, who, table).await;
        }
    }
    goals(table);
}

async fn once(options: Options, who: &str, table: &mut Table) {
    let (broker, store) = (RabbitMq::start(), Postgres::start());
    let (broker_url, store_url) = (broker.url(), store.url());
    if who == THEIRS {
        store.sql(include_str!("../../../peers/nestjs/tables.sql"));
        for queue in ["inventory", "payments", "orders", load::CONFIRMED_OF_PEER] {
            declare(&broker_url, queue).await;
        }
    }
    let (processes, port) = start(who, &broker_url, &store_url).await;
    let queue = if who == THEIRS {
        load::CONFIRMED_OF_PEER
    } else {
        services::CONFIRMED
    };
    let confirmations = Confirmations::listen(&broker_url, queue).await;
    let load = Load::new(port, confirmations);
    load.closed(AT_ONCE, Duration::from_secs(1)).await; // Warm up connections and query plans.
    let words = [
        format!("-p {}", store.port()),
        format!("RABBITMQ_NODE_PORT={}", broker.port()),
    ];
    let used = || words.each_ref().map(|word| server_cpu(word));
    let servers = used();
    let before = cpu_of(&processes);
    let ran = load.closed(AT_ONCE, options.load()).await;
    let cpu = cpu_of(&processes) - before;
    table.add(
        WHAT,
        who,
        "orders/s confirmed",
        ran.confirmed as f64 / ran.seconds,
    );
    table.add(
        WHAT,
        who,
        "orders/s accepted",
        ran.confirmed as f64 / ran.accepting,
    );
    table.add(
        WHAT,
        who,
        "ms CPU an order, all services",
        cpu * 1e3 / ran.confirmed as f64,
    );
    for (place, server) in ["PostgreSQL", "RabbitMQ"].into_iter().enumerate() {
        let cpu = (used()[place] - servers[place]) * 1e3 / ran.confirmed as f64;
        let what = format!("{WHAT}, {server} under it");
        table.add(&what, who, "ms CPU an order", cpu);
    }
    let (before, servers) = (cpu_of(&processes), used());
    let paced = load.open(options.rate, options.load()).await;
    let orders = f64::from(options.rate) * options.load().as_secs_f64();
    let cpu = (cpu_of(&processes) - before) * 1e3 / orders;
    table.add(PACED, who, "ms CPU an order, all services", cpu);
    for (place, server) in ["PostgreSQL", "RabbitMQ"].into_iter().enumerate() {
        let cpu = (used()[place] - servers[place]) * 1e3 / orders;
        let what = format!("{PACED}, {server} under it");
        table.add(&what, who, "ms CPU an order", cpu);
    }
    table.add(PACED, who, "ms accept p50", paced.accept_p50);
    table.add(PACED, who, "ms confirm p50", paced.confirm_p50);
    table.add(PACED, who, "ms confirm p99", paced.confirm_p99);
    let most = processes.iter().map(Process::peak_mb).fold(0.0, f64::max);
    table.add(WHAT, who, "MB, the largest service", most);
}

fn cpu_of(processes: &[Process]) -> f64 {
    processes.iter().map(Process::cpu).sum()
}

/// Starts the three processes; returns them and the port of the orders service.
async fn start(who: &str, broker: &str, store: &str) -> (Vec<Process>, u16) {
    let mut processes = Vec::new();
    let mut port = 0;
    for service in SERVICES {
        let mut process = match who {
            THEIRS => peer("nestjs", &format!("{service}.js"), &[broker, store]).await,
            _ => Process::worker(&["path", service, broker, store]).await,
        };
        process.send("go").await;
        let answer = process.answer().await;
        if service == "orders" {
            port = u16::try_from(answer["port"].as_u64().unwrap()).unwrap();
        }
        processes.push(process);
    }
    (processes, port)
}

fn goals(table: &mut Table) {
    let figure = |what, who, unit| table.median(what, who, unit);
    let reached = figure(WHAT, OURS, "orders/s confirmed").unwrap_or_default();
    let ratio = figure(WHAT, THEIRS, "orders/s confirmed").map(|theirs| reached / theirs);
    let (p50, p99) = (
        figure(PACED, OURS, "ms confirm p50").unwrap_or_default(),
        figure(PACED, OURS, "ms confirm p99").unwrap_or_default(),
    );
    let beside = ratio.map_or(String::new(), |it| format!(", {it:.1} × naive NestJS"));
    table.goal(
        format!("{WHAT}: 3,000 orders/s confirmed"),
        format!("{reached:.0}{beside}"),
        reached >= 3000.0,
    );
    table.goal(
        format!("{PACED} (200/s by default): confirm p50 3 ms, p99 8 ms"),
        format!("{p50:.2} and {p99:.2}"),
        p50 <= 3.0 && p99 <= 8.0,
    );
}
