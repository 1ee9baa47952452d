//! Exchanges, queues and bindings. All are durable, and declaring them again changes nothing.

use std::collections::BTreeSet;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use wingbeat_core::transport::Queue;
use wingbeat_core::{Error, Kind, Name, Result, Topology};

use crate::Config;
use crate::connection::{PRECONDITION_FAILED, reply_code, unavailable};

const EVENTS: &str = "wingbeat.events";
const COMMANDS: &str = "wingbeat.commands";
/// The prefix of the dead-letter exchange of a service. Each service has its own, since only its
/// own processes can store its dead letters.
const DEAD: &str = "wingbeat.dead.";
/// The prefix of the dead-letter queue of a service.
const DEAD_LETTERS: &str = "wingbeat.dead-letters.";

/// The names of exchanges and queues in one namespace.
#[derive(Clone)]
pub(crate) struct Names {
    namespace: String,
    pub(crate) events: String,
    pub(crate) commands: String,
    delivery_limit: u32,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        let namespace = config.namespace.clone();
        Self {
            events: format!("{namespace}{EVENTS}"),
            commands: format!("{namespace}{COMMANDS}"),
            delivery_limit: config.delivery_limit,
            namespace,
        }
    }

    pub(crate) fn exchange(&self, kind: Kind) -> &str {
        match kind {
            Kind::Event => &self.events,
            Kind::Command => &self.commands,
        }
    }

    pub(crate) fn queue(&self, queue: Name) -> String {
        format!("{}{queue}", self.namespace)
    }

    /// Returns the name of a queue without the namespace.
    pub(crate) fn without_namespace<'a>(&self, queue: &'a str) -> &'a str {
        queue.strip_prefix(&self.namespace).unwrap_or(queue)
    }

    fn dead_letter_exchange(&self, service: &str) -> String {
        format!("{}{DEAD}{service}", self.namespace)
    }

    /// Returns the queue for messages that exceeded the delivery limit in a queue of this service.
    pub(crate) fn dead_letter_queue(&self, service: &str) -> String {
        format!("{}{DEAD_LETTERS}{service}", self.namespace)
    }
}

/// Returns the service of a queue, the part of its name before the first dot.
fn service(queue: Name) -> &'static str {
    let name = queue.as_str();
    name.split_once('.').map_or(name, |(service, _)| service)
}

/// Declares all exchanges, queues and bindings of the topology.
pub(crate) async fn declare(
    connection: &Connection,
    names: &Names,
    topology: &Topology,
) -> Result<()> {
    let channel = connection
        .create_channel()
        .await
        .map_err(|e| unavailable(&e))?;
    let exchange = async |name: &str, kind| {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel
            .exchange_declare(name.into(), kind, durable, FieldTable::default())
            .await;
        declared.map_err(|e| declare_error("exchange", name, &e))
    };
    exchange(&names.events, ExchangeKind::Topic).await?;
    exchange(&names.commands, ExchangeKind::Direct).await?;
    let services: BTreeSet<&str> = topology
        .queues
        .keys()
        .map(|queue| service(*queue))
        .collect();
    for service in services {
        let dead = names.dead_letter_exchange(service);
        let letters = names.dead_letter_queue(service);
        exchange(&dead, ExchangeKind::Fanout).await?;
        let mut plain = FieldTable::default();
        plain.insert("x-queue-type".into(), text("quorum"));
        queue(&channel, &letters, plain).await?;
        bind(&channel, &letters, &dead, "").await?;
    }
    for (name, declared) in &topology.queues {
        let arguments = arguments(names, service(*name), declared);
        let name = names.queue(*name);
        queue(&channel, &name, arguments).await?;
        for binding in &declared.bindings {
            bind(
                &channel,
                &name,
                names.exchange(binding.kind),
                binding.message,
            )
            .await?;
        }
    }
    channel
        .close(200, "declared".into())
        .await
        .map_err(|e| unavailable(&e))
}

/// Returns the arguments of a quorum queue with a delivery limit. At-least-once dead-lettering
/// requires `overflow=reject-publish`.
fn arguments(names: &Names, service: &str, queue: &Queue) -> FieldTable {
    let mut arguments = FieldTable::default();
    let mut set = |name: &str, value: AMQPValue| {
        arguments.insert(name.into(), value);
    };
    set("x-queue-type", text("quorum"));
    set(
        "x-delivery-limit",
        AMQPValue::LongInt(i32::try_from(names.delivery_limit).unwrap_or(i32::MAX)),
    );
    set(
        "x-dead-letter-exchange",
        text(&names.dead_letter_exchange(service)),
    );
    set("x-dead-letter-strategy", text("at-least-once"));
    set("x-overflow", text("reject-publish"));
    if queue.ordered {
        set("x-single-active-consumer", AMQPValue::Boolean(true));
    }
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(name.into(), durable, arguments).await;
    declared
        .map(drop)
        .map_err(|e| declare_error("queue", name, &e))
}

/// Converts an error of a declaration. An operator must resolve a queue that has other arguments.
fn declare_error(what: &str, name: &str, error: &lapin::Error) -> Error {
    if reply_code(error) != Some(PRECONDITION_FAILED) {
        return unavailable(error);
    }
    let text = format!(
        "RabbitMQ has the {what} `{name}` with other arguments; delete it once it is empty, and it is declared again: {error}"
    );
    Error::reject("topology_differs", text)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let bound = channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await;
    bound.map_err(|e| unavailable(&e))
}
