//! A broker that is lost, silent or absent, or that closes connections and channels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wingbeat::TokioRuntime;
use wingbeat_core::Transport as _;
use wingbeat_core::conformance::{MAIL_PLACED, PLACED, RESERVE, RESERVING, delivered, ids};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_rabbitmq::{Config, RabbitMq};
use wingbeat_servers::RabbitMq as Server;

use crate::conformance::{block_on, server};
use crate::traffic::{Traffic, bench, config, disturb, until};

/// Declares all queues and restarts the broker in an orderly way.
///
/// RabbitMQ 3.10 records new quorum queues on disk some seconds after it has confirmed them (Ra's
/// directory is a DETS table with delayed writes). If it is killed before that, it starts with a
/// queue that never has a leader.
async fn queues_on_disk(server: &Server, config: &Config) {
    drop(bench(config).await);
    server.stop();
    server.start_again();
}

/// Disturbs the broker during traffic: every confirmed message arrives, and the traffic continues.
fn loses_no_message(disturbance: impl FnOnce(&Server) + Send + 'static) {
    disturb(|server| async move {
        let config = config(&server);
        queues_on_disk(&server, &config).await;
        let traffic = Traffic::start(&config).await;
        let disturbed = tokio::task::spawn_blocking(move || disturbance(&server));
        disturbed.await.unwrap();
        traffic.continues().await;
        traffic.end().await;
    });
}

#[test]
fn no_message_is_lost_when_the_broker_closes_connections() {
    loses_no_message(|server| {
        server.close_connections();
        server.close_connections();
    });
}

#[test]
fn no_message_is_lost_when_the_broker_restarts() {
    loses_no_message(|server| {
        server.stop();
        server.start_again();
    });
}

#[test]
fn no_message_is_lost_when_the_broker_is_killed() {
    loses_no_message(|server| {
        server.kill();
        server.start_again();
    });
}

#[test]
fn queued_messages_survive_a_crash_of_the_broker() {
    disturb(|server| async move {
        let config = config(&server);
        queues_on_disk(&server, &config).await;
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

/// A ping is a round trip: it does not rely on heartbeats.
#[test]
fn a_ping_fails_while_the_broker_is_silent() {
    disturb(|server| async move {
        let mut config = config(&server);
        (config.heartbeat, config.confirm_timeout) =
            (Duration::from_secs(600), Duration::from_secs(2));
        let (_, transport) = bench(&config).await;
        transport.ping().await.unwrap();
        server.pause();
        let silent = transport.ping().await.err();
        assert_eq!(silent.map(|why| why.code()), Some("broker_unavailable"));
        server.resume();
        until("the broker replies again", async || {
            transport.ping().await.is_ok()
        })
        .await;
    });
}

/// Connections stay open and the broker sends nothing, so only heartbeats detect the loss.
#[test]
fn heartbeats_detect_a_silent_broker() {
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
        assert!(answers[0].is_err(), "the broker has not confirmed it");
        let lost = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await;
        let lost = lost.expect("the consumer ends").err();
        assert_eq!(lost.map(|why| why.code()), Some("consumer_lost"));
        let unavailable = traffic.transport.ping().await.err();
        assert_eq!(
            unavailable.map(|why| why.code()),
            Some("broker_unavailable")
        );
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the loss is detected in bounded time"
        );
        server.resume();
        traffic.continues().await;
        traffic.end().await;
    });
}

/// The broker closes the channel of a consumer that keeps a message unacknowledged for too long.
/// Other channels stay open.
#[test]
fn a_channel_that_the_broker_closes_is_opened_again() {
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
        // A settler of the earlier consumer ignores tags of the later one.
        late.acknowledge(&[again[0].tag]);
        traffic.bench.assert_depth(MAIL_PLACED, 1).await;
        consumer.settler().acknowledge(&[again[0].tag]);
        traffic.bench.assert_depth(MAIL_PLACED, 0).await;
        traffic.continues().await;
        traffic.end().await;
    });
}

/// The runtime may pass tags of a lost consumer to the settler of the next one.
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
        second.settler().requeue(&[taken[0].tag]);
        let again = bench.take(&mut second, 1).await;
        assert_eq!(delivered(&again), delivered(&taken));
        bench.assert_depth(RESERVING, 1).await;
    });
}

async fn connect(url: &str) -> (String, String) {
    let runtime: SharedRuntime = TokioRuntime::new();
    match RabbitMq::connect(&Config::new(url), runtime).await {
        Ok(_) => panic!("connected to {url}"),
        Err(why) => (why.code().to_owned(), why.to_string()),
    }
}

#[test]
fn a_connection_error_is_one_line_without_the_password() {
    block_on(async {
        let port = server().port();
        let cases = [
            ("http://u:s3cret@localhost".to_owned(), "broker_url_invalid"),
            (
                "amqp://u:s3cret@127.0.0.1:1".to_owned(),
                "broker_unavailable",
            ),
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

/// A process that has started keeps reconnecting, however long the outage.
#[test]
fn a_readiness_check_reconnects_to_the_broker() {
    disturb(|server| async move {
        let (_, transport) = bench(&config(&server)).await;
        server.kill();
        let gone = async || matches!(transport.ping().await, Err(why) if why.code() == "broker_unavailable");
        until("the outage is noticed", gone).await;
        let start = Instant::now();
        for _ in 0..100 {
            assert!(transport.ping().await.is_err());
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the check fails at once"
        );
        let starting = Arc::clone(&server);
        let started = tokio::task::spawn_blocking(move || starting.start_again());
        started.await.unwrap();
        until("the broker is available again", async || {
            transport.ping().await.is_ok()
        })
        .await;
    });
}
