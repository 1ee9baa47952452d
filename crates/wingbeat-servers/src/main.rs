//! Starts private servers for a shell.
//!
//! The arguments name the servers (`rabbitmq`, `postgres`, `redis`); without any, all three start.
//! The program prints their URLs as `export` lines, and stops the servers when its standard input
//! ends (Ctrl-D) or on Ctrl-C.

#![allow(
    clippy::disallowed_methods,
    reason = "a command-line tool reads its arguments"
)]

use std::io::Read as _;

use wingbeat_servers::{Postgres, RabbitMq, Redis};

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|it| it == name);
    let broker = wanted("rabbitmq").then(RabbitMq::start);
    let store = wanted("postgres").then(Postgres::start);
    let cache = wanted("redis").then(Redis::start);
    let urls = [
        ("BROKER", broker.as_ref().map(RabbitMq::url)),
        ("STORE", store.as_ref().map(Postgres::url)),
        ("CACHE", cache.as_ref().map(Redis::url)),
    ];
    for (name, url) in urls {
        if let Some(url) = url {
            println!("export WINGBEAT_{name}={url}");
        }
    }
    let mut rest = Vec::new();
    // The input is discarded; only its end matters.
    let _ = std::io::stdin().read_to_end(&mut rest);
}
