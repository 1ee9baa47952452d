//! Tests that servers start, keep their data, and leave nothing behind.

#![allow(
    clippy::disallowed_methods,
    reason = "real servers run on the real clock"
)]

use std::net::TcpStream;

use wingbeat_servers::{Postgres, RabbitMq, Redis};

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn redis_restarts_on_its_port_and_ends_when_dropped() {
    let redis = Redis::start();
    let port = redis.port();
    redis.kill();
    assert!(!listens(port));
    redis.start_again();
    assert!(listens(port));
    drop(redis);
    assert!(!listens(port));
}

#[test]
fn postgres_keeps_its_data_over_an_immediate_stop() {
    let postgres = Postgres::start();
    postgres.sql("CREATE TABLE kept AS SELECT 7 AS answer");
    postgres.stop();
    postgres.start_again();
    assert_eq!(postgres.sql("SELECT answer FROM kept").trim(), "7");
}

#[test]
fn rabbitmq_restarts_on_its_port_and_runs_commands() {
    let broker = RabbitMq::start();
    broker.kill();
    assert!(!listens(broker.port()));
    broker.start_again();
    assert!(broker.control(&["status"]).contains("RabbitMQ version"));
}

/// The watchdog ends the server of a process that was killed.
#[test]
fn a_server_ends_with_the_process_that_started_it() {
    let mut owner = std::process::Command::new(env!("CARGO_BIN_EXE_wingbeat-servers"))
        .arg("redis")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = owner.stdout.take().expect("stdout is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
        .expect("the program prints the URL");
    let port: u16 = line
        .trim()
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a port");
    assert!(listens(port));
    owner.kill().expect("the program can be killed");
    owner.wait().expect("the program has ended");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while listens(port) {
        assert!(
            std::time::Instant::now() < until,
            "the server still runs without its owner"
        );
        std::thread::yield_now();
    }
}
