//! Starts the servers that are named (`rabbitmq`, `postgres`, `redis`; all by default), says where they are, and stops
//! them at the end of its input (Ctrl-D) or with Ctrl-C.

#![allow(clippy::disallowed_methods, reason = "a tool for the shell")]

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
    // Nothing is read; it is the end that counts.
    let _ = std::io::stdin().read_to_end(&mut rest);
}
