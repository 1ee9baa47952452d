//! Queues, exchanges and bindings that an operator deletes, or that exist with other arguments.

use std::sync::Arc;

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::{PLACED, RESERVE, RESERVING, STOCK, STOCK_PLACED, topology};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Class, Transport as _};
use wingbeat_rabbitmq::RabbitMq;

use crate::conformance::{block_on, server};
use crate::traffic::{Traffic, bench, config, publish, until};

/// Opens a channel of another client. The channel is open as long as the connection.
pub(crate) async fn by_hand() -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&server().url(), properties).await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// The broker cancels the consumer, which is the only sign of the deletion.
#[test]
fn a_deleted_queue_is_declared_again_and_consumed() {
    block_on(async {
        let config = config(server());
        let (bench, transport) = bench(&config).await;
        let mut consumer = bench.consume(STOCK_PLACED, 10).await;
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{STOCK_PLACED}", config.namespace);
        let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        let lost = bench.within(consumer.next()).await.err();
        assert_eq!(lost.map(|why| why.code()), Some("consumer_lost"));
        let mut consumer = bench.consume(STOCK_PLACED, 10).await;
        publish(&transport, vec![bench.message(PLACED)]).await;
        bench.take(&mut consumer, 1).await;
    });
}

#[test]
fn deleted_exchanges_and_bindings_are_declared_again() {
    block_on(async {
        let config = config(server());
        let traffic = Traffic::start(&config).await;
        let (_connection, channel) = by_hand().await;
        let (queue, commands) = (
            format!("{}{RESERVING}", config.namespace),
            format!("{}wingbeat.commands", config.namespace),
        );
        for _ in 0..2 {
            let unbound = channel.queue_unbind(
                queue.clone().into(),
                commands.clone().into(),
                RESERVE.into(),
                FieldTable::default(),
            );
            unbound.await.unwrap();
            traffic.continues().await;
            let deleted =
                channel.exchange_delete(commands.clone().into(), ExchangeDeleteOptions::default());
            deleted.await.unwrap();
            traffic.continues().await;
        }
        traffic.end().await;
    });
}

#[test]
fn a_queue_with_other_arguments_is_reported_in_one_line() {
    block_on(async {
        let config = config(server());
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{RESERVING}", config.namespace);
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let made = channel.queue_declare(name.clone().into(), durable, FieldTable::default());
        made.await.unwrap();
        let runtime: SharedRuntime = TokioRuntime::new();
        let transport = RabbitMq::connect(&config, runtime).await.unwrap();
        transport.declare(&topology()).await.unwrap();
        let why = transport.check_queues(&[STOCK]).unwrap_err();
        let text = why.to_string();
        assert_eq!(
            (why.code(), why.class()),
            ("topology_differs", Class::Reject)
        );
        assert!(
            text.contains(&format!("`{name}`")) && !text.contains('\n'),
            "{text}"
        );
        // Without the queue, declaring succeeds.
        let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        transport.declare(&topology()).await.unwrap();
        transport.check_queues(&[STOCK]).unwrap();
    });
}

/// Another client replaces a queue while this process runs. Publishing works again once the queue
/// is deleted.
#[test]
fn publishing_fails_while_a_queue_has_other_arguments() {
    block_on(async {
        let config = config(server());
        let (bench, transport) = bench(&config).await;
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{RESERVING}", config.namespace);
        let deleted = channel.queue_delete(name.clone().into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        let made = channel.queue_declare(
            name.clone().into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        );
        made.await.unwrap();
        let answers = bench.transport.publish(vec![bench.message(RESERVE)]).await;
        assert!(answers[0].is_err(), "the queue has no binding");
        let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        let transport = Arc::clone(&transport);
        let published = async || {
            let answers = transport.publish(vec![bench.message(RESERVE)]).await;
            answers[0].is_ok()
        };
        until("the queue is declared again", published).await;
    });
}
