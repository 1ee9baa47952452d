//! Exchanges, queues and bindings. All are durable, and declaring them again changes nothing.

mod partitions;

use std::collections::BTreeSet;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use wingbeat_core::transport::Queue;
use wingbeat_core::{Dialog, Envelope, Error, Kind, Name, Result, Topology};

use crate::Config;
use crate::connection::{
    ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, RESOURCE_LOCKED, reply_code, unavailable,
};

pub(crate) use partitions::with_partitions;

const EVENTS: &str = "wingbeat.events";
const COMMANDS: &str = "wingbeat.commands";
const REPLIES: &str = "wingbeat.replies";
/// The prefix of the dead-letter exchange of a service. Each service has its own, since only its
/// own processes can store its dead letters.
const DEAD: &str = "wingbeat.dead.";
/// The prefix of the dead-letter queue of a service.
const DEAD_LETTERS: &str = "wingbeat.dead-letters.";
/// The queue that remembers the names of all queues.
const REGISTER: &str = "wingbeat.topology";
/// The prefix of the exchanges of a migration.
const MIGRATING: &str = "wingbeat.migrating.";

/// The options that look a queue up, and declare none.
pub(crate) const PASSIVE: QueueDeclareOptions = QueueDeclareOptions {
    passive: true,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

/// The names of exchanges and queues in one namespace.
#[derive(Clone)]
pub(crate) struct Names {
    namespace: String,
    pub(crate) events: String,
    pub(crate) commands: String,
    /// The exchange that routes a reply to the queue that it names.
    pub(crate) replies: String,
    delivery_limit: u32,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        let namespace = config.namespace.clone();
        Self {
            events: format!("{namespace}{EVENTS}"),
            commands: format!("{namespace}{COMMANDS}"),
            replies: format!("{namespace}{REPLIES}"),
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

    /// Returns the exchange and the routing key of a message.
    pub(crate) fn route(&self, message: &Envelope) -> (&str, String) {
        match &message.dialog {
            Some(Dialog::Reply { to }) => (&self.replies, self.reply_queue(to)),
            _ => (self.exchange(message.role), message.kind.to_string()),
        }
    }

    /// Returns whether a queue on the broker is a reply queue.
    pub(crate) fn is_reply_queue(&self, queue: &str) -> bool {
        let own = queue.strip_prefix(self.replies.as_str());
        own.is_some_and(|rest| rest.starts_with('.'))
    }

    /// Returns the name of the reply queue of a process on the broker.
    pub(crate) fn reply_queue(&self, queue: &str) -> String {
        format!("{}{queue}", self.namespace)
    }

    /// Returns the prefix of the names of a service's queues.
    pub(crate) fn queue_prefix(&self, service: &str) -> String {
        format!("{}{service}.", self.namespace)
    }

    /// Returns the service of a queue, from the name of the queue.
    pub(crate) fn service<'a>(&self, queue: &'a str) -> &'a str {
        let own = self.without_namespace(queue);
        own.strip_prefix(DEAD_LETTERS).unwrap_or_else(|| {
            let parts = own.split_once('.');
            parts.map_or(own, |(service, _)| service)
        })
    }

    /// Returns the name of a queue without the namespace.
    pub(crate) fn without_namespace<'a>(&self, queue: &'a str) -> &'a str {
        queue.strip_prefix(&self.namespace).unwrap_or(queue)
    }

    /// Returns the queue that remembers the names of all queues; see [`register`](crate::register).
    pub(crate) fn register(&self) -> String {
        format!("{}{REGISTER}", self.namespace)
    }

    /// Returns the exchange through which a migration moves the messages of a queue.
    pub(crate) fn migration_exchange(&self, queue: &str) -> String {
        format!(
            "{}{MIGRATING}{}",
            self.namespace,
            self.without_namespace(queue)
        )
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
pub(crate) fn service(queue: Name) -> &'static str {
    let name = queue.as_str();
    name.split_once('.').map_or(name, |(service, _)| service)
}

/// An exchange to declare.
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) kind: ExchangeKind,
}

/// A queue to declare, with its bindings: names of exchanges and routing keys.
#[derive(Clone)]
pub(crate) struct DeclaredQueue {
    /// The service that consumes from it.
    pub(crate) service: &'static str,
    pub(crate) name: String,
    pub(crate) arguments: FieldTable,
    pub(crate) bindings: Vec<(String, String)>,
}

/// Returns all exchanges and queues of the topology.
pub(crate) fn plan(names: &Names, topology: &Topology) -> (Vec<Exchange>, Vec<DeclaredQueue>) {
    let exchange = |name: &str, kind| Exchange {
        name: name.to_owned(),
        kind,
    };
    let mut exchanges = vec![
        exchange(&names.events, ExchangeKind::Topic),
        exchange(&names.commands, ExchangeKind::Direct),
        exchange(&names.replies, ExchangeKind::Direct),
    ];
    let mut queues = Vec::new();
    let all = topology.queues.keys();
    let services: BTreeSet<&'static str> = all.map(|queue| service(*queue)).collect();
    for service in services {
        let dead = names.dead_letter_exchange(service);
        exchanges.push(exchange(&dead, ExchangeKind::Fanout));
        let mut plain = FieldTable::default();
        plain.insert("x-queue-type".into(), text("quorum"));
        queues.push(DeclaredQueue {
            service,
            name: names.dead_letter_queue(service),
            arguments: plain,
            bindings: vec![(dead, String::new())],
        });
    }
    for service in with_partitions(topology) {
        for kind in [Kind::Event, Kind::Command] {
            let partitions = names.partitions(service, kind);
            exchanges.push(exchange(&partitions, ExchangeKind::Direct));
        }
    }
    for (name, declared) in &topology.queues {
        let bindings = declared.bindings.iter();
        let bindings = bindings.map(|it| (names.exchange(it.kind).to_owned(), it.message.into()));
        let mut bindings: Vec<_> = bindings.collect();
        if declared.bindings.is_empty() {
            let kinds = [Kind::Event, Kind::Command].into_iter();
            let exchanges = kinds.map(|kind| names.partitions(service(*name), kind));
            bindings.extend(exchanges.map(|exchange| (exchange, names.queue(*name))));
        }
        queues.push(DeclaredQueue {
            service: service(*name),
            name: names.queue(*name),
            arguments: arguments(names, service(*name), declared),
            bindings,
        });
    }
    (exchanges, queues)
}

/// A queue that exists with other properties than the topology declares.
#[derive(Clone)]
pub(crate) struct Differing {
    pub(crate) service: &'static str,
    pub(crate) queue: String,
    /// The difference, in the words of the broker.
    pub(crate) why: String,
    /// Set if the queue is durable. Then it is bound, so that it keeps its messages. Otherwise the
    /// publishers keep them.
    pub(crate) is_durable: bool,
}

impl Differing {
    /// Converts the error of a declaration.
    ///
    /// # Errors
    ///
    /// Errors for other reasons than different properties.
    fn new(queue: &DeclaredQueue, error: &lapin::Error) -> Result<Self> {
        let code = reply_code(error);
        if code != Some(PRECONDITION_FAILED) && code != Some(RESOURCE_LOCKED) {
            return Err(declare_error("queue", &queue.name, error));
        }
        let why = error.to_string();
        let transient = ["'durable'", "'auto_delete'", "'exclusive'"];
        let is_transient = transient.iter().any(|it| why.contains(it));
        Ok(Self {
            service: queue.service,
            queue: queue.name.clone(),
            is_durable: code == Some(PRECONDITION_FAILED) && !is_transient,
            why,
        })
    }

    pub(crate) fn error(&self) -> Error {
        let (queue, why) = (&self.queue, &self.why);
        let text = format!("RabbitMQ has the queue `{queue}` with other arguments: {why}");
        Error::reject(DIFFERS, text)
    }
}

/// Returns a queue with all the arguments that Wingbeat may have declared it with, for one that no
/// subscription has any more.
pub(crate) fn variants(names: &Names, queue: &str) -> Vec<DeclaredQueue> {
    let service = names.service(queue);
    let mut plain = FieldTable::default();
    plain.insert("x-queue-type".into(), text("quorum"));
    let of_subscription = [false, true].map(|ordered| {
        let queue = Queue {
            bindings: Vec::new(),
            ordered,
        };
        arguments(names, service, &queue)
    });
    let all = of_subscription.into_iter().chain([plain]);
    let variant = |arguments| DeclaredQueue {
        service: "",
        name: queue.to_owned(),
        arguments,
        bindings: Vec::new(),
    };
    all.map(variant).collect()
}

/// Declares all exchanges, queues and bindings of the topology, and returns the queues that exist
/// with other arguments. A user that may declare nothing is enough where everything exists: then it
/// is only looked up. Bindings and arguments cannot be looked up.
///
/// # Errors
///
/// `topology_differs` if an exchange has another type; `topology_missing` if a queue or an exchange
/// is missing that the user may not declare; those of the connection.
pub(crate) async fn declare(
    connection: &Connection,
    names: &Names,
    topology: &Topology,
) -> Result<Vec<Differing>> {
    let (exchanges, queues) = plan(names, topology);
    match declare_all(connection, &exchanges, &queues).await {
        Err(why) if why.code() == REFUSED => {
            look_up(connection, &exchanges, &queues).await?;
            Ok(Vec::new())
        }
        declared => declared,
    }
}

pub(crate) async fn open(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await;
    channel.map_err(|e| unavailable(&e))
}

async fn declare_all(
    connection: &Connection,
    exchanges: &[Exchange],
    queues: &[DeclaredQueue],
) -> Result<Vec<Differing>> {
    let mut channel = open(connection).await?;
    let mut differing = Vec::new();
    for exchange in exchanges {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, kind) = (exchange.name.as_str(), exchange.kind.clone());
        let declared = channel
            .exchange_declare(name.into(), kind, durable, FieldTable::default())
            .await;
        declared.map_err(|e| declare_error("exchange", name, &e))?;
    }
    for queue in queues {
        if let Err(why) = declare_queue(&channel, queue).await {
            let found = Differing::new(queue, &why)?;
            let is_durable = found.is_durable;
            differing.push(found);
            channel = open(connection).await?; // The broker has closed the one before.
            if !is_durable {
                continue;
            }
        }
        for (exchange, key) in &queue.bindings {
            bind(&channel, &queue.name, exchange, key).await?;
        }
    }
    let closed = channel.close(200, "declared".into()).await;
    closed.map_err(|e| unavailable(&e))?;
    Ok(differing)
}

/// Declares a queue without its bindings.
pub(crate) async fn declare_queue(
    channel: &Channel,
    queue: &DeclaredQueue,
) -> lapin::Result<lapin::Queue> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let name = queue.name.as_str();
    channel
        .queue_declare(name.into(), durable, queue.arguments.clone())
        .await
}

/// Declares a queue without its bindings. Returns the difference if it exists with other arguments;
/// then the broker has closed the channel.
pub(crate) async fn compare(channel: &Channel, queue: &DeclaredQueue) -> Result<Option<Differing>> {
    match declare_queue(channel, queue).await {
        Ok(_) => Ok(None),
        Err(why) => Differing::new(queue, &why).map(Some),
    }
}

/// The time after which a reply queue without a consumer is deleted, in milliseconds: long enough
/// for a process to reconnect.
const REPLIES_EXPIRE: i32 = 60_000;
/// The largest number of replies that wait in the queue of a process.
const REPLIES_MAX: i32 = 4_096;

/// Declares the reply queue of a process and binds it under its own name.
pub(crate) async fn declare_replies(
    connection: &Connection,
    names: &Names,
    queue: &str,
) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("classic"));
    arguments.insert("x-expires".into(), AMQPValue::LongInt(REPLIES_EXPIRE));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(REPLIES_MAX));
    let declared = DeclaredQueue {
        service: "",
        name: queue.to_owned(),
        arguments,
        bindings: Vec::new(),
    };
    let channel = open(connection).await?;
    let created = declare_queue(&channel, &declared).await;
    created.map_err(|e| declare_error("queue", queue, &e))?;
    bind(&channel, queue, &names.replies, queue).await?;
    let closed = channel.close(200, "declared".into()).await;
    closed.map_err(|e| unavailable(&e))
}

/// Checks that all exchanges and queues exist.
async fn look_up(
    connection: &Connection,
    exchanges: &[Exchange],
    queues: &[DeclaredQueue],
) -> Result<()> {
    let channel = open(connection).await?;
    for exchange in exchanges {
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, kind) = (exchange.name.as_str(), exchange.kind.clone());
        let found = channel
            .exchange_declare(name.into(), kind, passive, FieldTable::default())
            .await;
        found.map_err(|e| missing_error("exchange", name, &e))?;
    }
    for queue in queues {
        let name = queue.name.as_str();
        let found = channel.queue_declare(name.into(), PASSIVE, FieldTable::default());
        found.await.map_err(|e| missing_error("queue", name, &e))?;
    }
    let closed = channel.close(200, "found".into()).await;
    closed.map_err(|e| unavailable(&e))
}

/// The code of a queue or an exchange that exists with other properties.
const DIFFERS: &str = "topology_differs";
/// The code of a declaration that the user may not make.
pub(crate) const REFUSED: &str = "broker_refused";

/// Converts an error of a look-up.
fn missing_error(what: &str, name: &str, error: &lapin::Error) -> Error {
    if reply_code(error) != Some(NOT_FOUND) {
        return unavailable(error);
    }
    let text = format!(
        "RabbitMQ has no {what} `{name}`, and the user may not declare it: import the definitions \
         of this release with a user that may"
    );
    Error::retry("topology_missing", text)
}

/// Returns the arguments of a quorum queue with a delivery limit. At-least-once dead-lettering
/// requires `overflow=reject-publish`.
pub(crate) fn arguments(names: &Names, service: &str, queue: &Queue) -> FieldTable {
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

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Converts an error of a declaration. An operator must resolve a queue that has other arguments.
fn declare_error(what: &str, name: &str, error: &lapin::Error) -> Error {
    match reply_code(error) {
        Some(PRECONDITION_FAILED) => {}
        Some(ACCESS_REFUSED) => return Error::retry(REFUSED, error.to_string()),
        _ => return unavailable(error),
    }
    let text = format!("RabbitMQ has the {what} `{name}` with other arguments: {error}");
    Error::reject(DIFFERS, text)
}

pub(crate) async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let bound = channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await;
    bound.map_err(|e| declare_error("binding of", queue, &e))
}
