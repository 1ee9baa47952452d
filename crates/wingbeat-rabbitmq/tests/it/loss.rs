//! The broker goes away, says nothing, closes what it had opened, and never was there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wingbeat::TokioRuntime;
use wingbeat_core::conformance::{MAIL_PLACED, PLACED, RESERVE, RESERVING, delivered, ids};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_rabbitmq::{Config, RabbitMq};
use wingbeat_servers::RabbitMq as Server;

use crate::conformance::{block_on, server};
use crate::traffic::{Traffic, bench, config, disturb, until};

/// Declares all queues and ends the broker in good order. RabbitMQ 3.10 notes new quorum queues on disk some
/// seconds after it has confirmed them (Ra's directory, a DETS table with delayed writes): killed before, it
/// starts again with a queue that never has a leader.
async fn settled(server: &Server, config: &Config) {
    drop(bench(config).await);
    server.stop();
    server.start_again();
}

/// Makes trouble while messages flow: what was confirmed arrives, and they flow again.
fn costs_nothing(trouble: impl FnOnce(&Server) + Send + 'static) {
    disturb(|server| async move {
        let config = config(&server);
        settled(&server, &config).await;
        let traffic = Traffic::start(&config).await;
        let troubled = tokio::task::spawn_blocking(move || trouble(&server));
        troubled.await.unwrap();
        traffic.goes_on().await;
        traffic.end().await;
    });
}

#[test]
fn connections_that_the_broker_closes_cost_no_message() {
    costs_nothing(|server| {
        server.close_connections();
        server.close_connections();
    });
}

#[test]
fn a_broker_that_stops_and_starts_costs_no_message() {
    costs_nothing(|server| {
        server.stop();
        server.start_again();
    });
}

#[test]
fn a_broker_that_is_killed_costs_no_message() {
    costs_nothing(|server| {
        server.kill();
        server.start_again();
    });
}

#[test]
fn what_waits_is_still_there_after_the_broker_has_started_again() {
    disturb(|server| async move {
        let config = config(&server);
        settled(&server, &config).await;
        let (first, _) = bench(&config).await;
        let messages = first.messages(RESERVE, 100);
        first.publish(messages.clone()).await;
        server.kill();
        server.start_again();
        let (again, _) = bench(&config).await;
        let mut consumer = again.consume(RESERVING, 200).await;
        assert_eq!(
            delivered(&again.take(&mut consumer, 100).await),
            ids(&messages)
        );
    });
}

/// Connections stay open and nobody answers: only heartbeats tell.
#[test]
fn a_broker_that_says_nothing_is_given_up_and_found_again() {
    disturb(|server| async move {
        let mut config = config(&server);
        (config.heartbeat, config.confirm_timeout) =
            (Duration::from_secs(3), Duration::from_secs(4));
        config.connect_timeout = Duration::from_secs(2);
        let traffic = Traffic::start(&config).await;
        let mut consumer = traffic.bench.consume(MAIL_PLACED, 10).await;
        server.pause();
        let start = Instant::now();
        let answers = traffic
            .bench
            .within(
                traffic
                    .bench
                    .transport
                    .publish(vec![traffic.bench.message(PLACED)]),
            )
            .await;
        assert!(answers[0].is_err(), "nobody has confirmed it");
        let lost = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await;
        let lost = lost.expect("a consumer notices").err();
        assert_eq!(lost.map(|why| why.code()), Some("consumer_lost"));
        let away = traffic.transport.ping().await.err();
        assert_eq!(away.map(|why| why.code()), Some("broker_away"));
        assert!(start.elapsed() < Duration::from_secs(60), "in bounded time");
        server.resume();
        traffic.goes_on().await;
        traffic.end().await;
    });
}

/// The broker closes the channel of a consumer that holds a message for too long, and of nobody else.
#[test]
fn a_channel_that_the_broker_closes_is_made_anew() {
    disturb(|server| async move {
        let set = |name: &str, value: u32| {
            server.control(&[
                "eval",
                &format!("application:set_env(rabbit, {name}, {value})."),
            ])
        };
        set("consumer_timeout", 500);
        set("channel_tick_interval", 200);
        let traffic = Traffic::start(&config(&server)).await;
        let message = traffic.bench.message(PLACED);
        traffic.bench.publish(vec![message.clone()]).await;
        let mut consumer = traffic.bench.consume(MAIL_PLACED, 10).await;
        traffic.bench.take(&mut consumer, 1).await;
        let closed = traffic.bench.within(consumer.next()).await.err();
        assert_eq!(closed.map(|why| why.code()), Some("consumer_lost"));
        set("consumer_timeout", 1_800_000);
        set("channel_tick_interval", 60_000);
        let late = consumer.settler();
        drop(consumer);
        let mut consumer = traffic.bench.consume(MAIL_PLACED, 10).await;
        let again = traffic.bench.take(&mut consumer, 1).await;
        assert_eq!(delivered(&again), [message.id]);
        // The tag is of the consumer before: acknowledged with either, nothing happens.
        late.acknowledge(&[again[0].tag]);
        traffic.bench.assert_depth(MAIL_PLACED, 1).await;
        consumer.settler().acknowledge(&[again[0].tag]);
        traffic.bench.assert_depth(MAIL_PLACED, 0).await;
        traffic.goes_on().await;
        traffic.end().await;
    });
}

/// The runtime hands tags of a lost consumer to the settler of the next one.
#[test]
fn a_tag_of_a_lost_consumer_settles_nothing() {
    block_on(async {
        let (bench, _) = bench(&config(server())).await;
        bench.publish(bench.messages(RESERVE, 1)).await;
        let mut first = bench.consume(RESERVING, 10).await;
        let taken = bench.take(&mut first, 1).await;
        drop(first);
        let mut second = bench.consume(RESERVING, 10).await;
        second.settler().acknowledge(&[taken[0].tag]);
        second.settler().give_back(&[taken[0].tag]);
        let again = bench.take(&mut second, 1).await;
        assert_eq!(delivered(&again), delivered(&taken));
        bench.assert_depth(RESERVING, 1).await;
    });
}

async fn connect(url: &str) -> (String, String) {
    let runtime: SharedRuntime = TokioRuntime::new();
    match RabbitMq::connect(&Config::new(url), runtime).await {
        Ok(_) => panic!("{url} can be reached"),
        Err(why) => (why.code().to_owned(), why.to_string()),
    }
}

#[test]
fn what_cannot_be_reached_is_told_in_one_line_without_the_password() {
    block_on(async {
        let port = server().port();
        let cases = [
            ("http://u:s3cret@localhost".to_owned(), "broker_url_invalid"),
            ("amqp://u:s3cret@127.0.0.1:1".to_owned(), "broker_away"),
            (
                format!("amqp://u:s3cret@127.0.0.1:{port}"),
                "broker_refused",
            ),
            (
                format!("amqp://guest:guest@127.0.0.1:{port}/nowhere"),
                "broker_refused",
            ),
        ];
        for (url, expected) in cases {
            let (code, text) = connect(&url).await;
            assert_eq!(code, expected, "{text}");
            assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
        }
    });
}

/// A process that has started goes on looking for the broker, however long it is away.
#[test]
fn a_broker_that_comes_back_is_found_by_who_asks_for_readiness() {
    disturb(|server| async move {
        let (_, transport) = bench(&config(&server)).await;
        server.kill();
        let gone =
            async || matches!(transport.ping().await, Err(why) if why.code() == "broker_away");
        until("the broker is missed", gone).await;
        let start = Instant::now();
        for _ in 0..100 {
            assert!(transport.ping().await.is_err());
        }
        assert!(start.elapsed() < Duration::from_secs(60), "answers at once");
        let starting = Arc::clone(&server);
        let started = tokio::task::spawn_blocking(move || starting.start_again());
        started.await.unwrap();
        until("the broker is found", async || {
            transport.ping().await.is_ok()
        })
        .await;
    });
}
