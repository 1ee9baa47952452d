//! Exchanges, queues and bindings. Everything is durable, and declaring it again changes nothing.

use std::collections::BTreeSet;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use wingbeat_core::transport::Queue;
use wingbeat_core::{Error, Kind, Name, Result, Topology};

use crate::Config;
use crate::link::{PRECONDITION_FAILED, away, said};

const EVENTS: &str = "wingbeat.events";
const COMMANDS: &str = "wingbeat.commands";
/// Followed by the service: only a process of the service can keep its dead letters.
const DEAD: &str = "wingbeat.dead.";
const DEAD_LETTERS: &str = "wingbeat.dead-letters.";

/// The names of one namespace.
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

    /// The name of a queue without the namespace.
    pub(crate) fn plain<'a>(&self, queue: &'a str) -> &'a str {
        queue.strip_prefix(&self.namespace).unwrap_or(queue)
    }

    fn dead(&self, service: &str) -> String {
        format!("{}{DEAD}{service}", self.namespace)
    }

    /// The queue of what came back too often in queues of this service.
    pub(crate) fn dead_letters(&self, service: &str) -> String {
        format!("{}{DEAD_LETTERS}{service}", self.namespace)
    }
}

/// The first part of a queue's name.
fn service(queue: Name) -> &'static str {
    let name = queue.as_str();
    name.split_once('.').map_or(name, |(service, _)| service)
}

/// Declares all of it.
pub(crate) async fn declare(
    connection: &Connection,
    names: &Names,
    topology: &Topology,
) -> Result<()> {
    let channel = connection.create_channel().await.map_err(|e| away(&e))?;
    let exchange = async |name: &str, kind| {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel
            .exchange_declare(name.into(), kind, durable, FieldTable::default())
            .await;
        declared.map_err(|e| refused("exchange", name, &e))
    };
    exchange(&names.events, ExchangeKind::Topic).await?;
    exchange(&names.commands, ExchangeKind::Direct).await?;
    let services: BTreeSet<&str> = topology
        .queues
        .keys()
        .map(|queue| service(*queue))
        .collect();
    for service in services {
        let (dead, letters) = (names.dead(service), names.dead_letters(service));
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
        .map_err(|e| away(&e))
}

/// A quorum queue that hands each message out so many times at most, and then sets it aside, surely:
/// at-least-once dead-lettering needs `overflow=reject-publish`.
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
    set("x-dead-letter-exchange", text(&names.dead(service)));
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
    declared.map(drop).map_err(|e| refused("queue", name, &e))
}

/// What exists otherwise than it is declared is for a person: the name, and what the broker says.
fn refused(what: &str, name: &str, error: &lapin::Error) -> Error {
    if said(error) != Some(PRECONDITION_FAILED) {
        return away(error);
    }
    let text = format!(
        "RabbitMQ has the {what} `{name}` with other arguments; once it is empty, delete it, and it is made anew: {error}"
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
    bound.map_err(|e| away(&e))
}
