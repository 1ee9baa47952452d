//! The transport.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::options::BasicQosOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::Instant;
use wingbeat_connect::warn_if_exposed;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::{Deviation, Migrated, Prune, Pruned, Refused};
use wingbeat_core::{
    Consumer, Envelope, Error, HashMap, HashSet, Name, Result, Topology, Transport,
};

use crate::Config;
use crate::access::migrating;
use crate::address::Address;
use crate::command::Commands;
use crate::connection::{BrokerConnection, MISSING, close, timed_out, unavailable};
use crate::consumer::{Options, QueueState, RabbitConsumer, TAGS_PER_CONSUMER};
use crate::differences::Differences;
use crate::operate::Operator;
use crate::publisher::{BatchSettings, Publisher};
use crate::topology::{Names, PASSIVE, declare, declare_replies, plan};

/// The time limit for declaring the whole topology: some hundred queues.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(30);
/// The prefetch of consumers of broker dead letters, of which there are few.
const DEAD_LETTER_PREFETCH: usize = 16;
/// The time limit of each step of a ping. Its caller waits for 3 s.
const PING_TIMEOUT: Duration = Duration::from_millis(1200);
/// The shortest time between two attempts to replace silent connections.
const PROBE_PAUSE: Duration = Duration::from_secs(3);
/// The shortest time between two redeclarations of the topology.
const REPAIR_PAUSE: Duration = Duration::from_secs(1);

/// The reason to declare the topology again.
#[derive(PartialEq)]
pub(crate) enum Again {
    Missing,
    Different,
}

/// A [`Transport`] on RabbitMQ; see the [crate](crate) for its design.
pub struct RabbitMq {
    pub(crate) names: Names,
    pub(crate) timeout: Duration,
    pub(crate) publishing: Arc<BrokerConnection>,
    consuming: BrokerConnection,
    commands: Arc<Commands>,
    pub(crate) publisher: Publisher,
    /// An idle channel for [`Transport::depth`] and [`Transport::ping`].
    idle_channel: tokio::sync::Mutex<Option<Channel>>,
    /// Everything that was declared, to declare it again on each new connection.
    topology: RwLock<Topology>,
    differences: Differences,
    /// The state of each queue in this process, over all its consumers.
    queues: Mutex<HashMap<Name, Arc<QueueState>>>,
    runtime: SharedRuntime,
    consumers: AtomicU64,
    /// The time of the last attempt to replace silent connections.
    probed: tokio::sync::Mutex<Option<Instant>>,
    /// The time of the last redeclaration.
    redeclared: tokio::sync::Mutex<Option<Instant>>,
}

impl RabbitMq {
    /// Checks the URL and the files of TLS without connecting.
    ///
    /// # Errors
    ///
    /// `broker_url_invalid` if a part of the URL is malformed or not supported; `tls_invalid` if a
    /// certificate or a key cannot be used.
    pub fn check(config: &Config) -> Result<()> {
        Address::parse(config).map(drop)
    }

    /// Connects to the broker, and fails at the first problem. Later losses of the connection are
    /// retried.
    ///
    /// # Errors
    ///
    /// `broker_url_invalid` if the URL cannot be used; `tls_invalid` if a certificate or a key
    /// cannot be used; `broker_tls_failed` if TLS fails; `broker_refused` if the broker rejects the
    /// user, the password or the virtual host; `broker_unavailable` if it is unavailable. The
    /// message is one line and contains no password.
    pub async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let address = Arc::new(Address::parse(config)?);
        let connection = |purpose| {
            BrokerConnection::new(config, Arc::clone(&address), purpose, Arc::clone(&runtime))
        };
        let (names, publishing) = (Names::new(config), Arc::new(connection("publishing")));
        let commands = Commands {
            opener: Arc::new(connection("commands")),
            publishing: Arc::clone(&publishing),
            names: names.clone(),
            timeout: config.confirm_timeout,
            runtime: Arc::clone(&runtime),
        };
        let transport = Self {
            names,
            timeout: config.confirm_timeout,
            publishing,
            consuming: connection("consuming"),
            commands: Arc::new(commands),
            publisher: Publisher::default(),
            idle_channel: tokio::sync::Mutex::default(),
            topology: RwLock::default(),
            differences: Differences::default(),
            queues: Mutex::default(),
            runtime,
            consumers: AtomicU64::new(1),
            probed: tokio::sync::Mutex::default(),
            redeclared: tokio::sync::Mutex::default(),
        };
        transport.publishing_connection().await?;
        transport.consuming_connection().await?;
        warn_if_exposed("RabbitMQ", &address.hosts, address.protection).await;
        Ok(Arc::new(transport))
    }

    /// Returns the connection for publishing. On a new one, the topology is declared before any
    /// message is published.
    pub(crate) async fn publishing_connection(&self) -> Result<Arc<Connection>> {
        let topology = self.topology();
        let prepare = async |connection: &Connection| self.declare_on(connection, &topology).await;
        self.publishing.get(prepare).await
    }

    async fn consuming_connection(&self) -> Result<Arc<Connection>> {
        let topology = self.topology();
        let prepare = async |connection: &Connection| self.declare_on(connection, &topology).await;
        self.consuming.get(prepare).await
    }

    /// Declares a topology, and remembers which of its queues exist with other properties.
    async fn declare_on(&self, connection: &Connection, topology: &Topology) -> Result<()> {
        let declared = declare(connection, &self.names, topology);
        let declared = tokio::time::timeout(DECLARE_TIMEOUT, declared).await;
        let found = declared.unwrap_or_else(|_| Err(timed_out()))?;
        self.differences
            .replace(&plan(&self.names, topology).1, found);
        Ok(())
    }

    /// Declares the topology again after something was found missing or different, at most once per
    /// [`REPAIR_PAUSE`].
    pub(crate) async fn redeclare(&self, why: Again) -> Result<()> {
        let mut redeclared = self.redeclared.lock().await;
        if redeclared.is_some_and(|at| at.elapsed() < REPAIR_PAUSE) {
            return Ok(());
        }
        *redeclared = Some(Instant::now());
        if why == Again::Missing {
            tracing::warn!("RabbitMQ has lost queues, exchanges or bindings: declaring them again");
        }
        // A queue that does not reply must not end the consumers.
        let connection = self.commands.opener.connect().await?;
        let declared = self.declare_on(&connection, &self.topology()).await;
        close(connection).await;
        declared
    }

    /// Checks that a queue may be consumed: it has the declared properties, and no migration is
    /// about to put earlier messages into it.
    async fn admit(&self, queue: Name) -> Result<()> {
        let name = self.names.queue(queue);
        if self.differences.check_queue(&name).is_err() {
            self.redeclare(Again::Different).await?;
            self.differences.check_queue(&name)?;
        }
        let is_ordered = {
            let topology = self.topology.read();
            let topology = topology.unwrap_or_else(PoisonError::into_inner);
            topology.queues.get(&queue).is_some_and(|it| it.ordered)
        };
        if !is_ordered {
            return Ok(());
        }
        match self.seen(&migrating(&name)).await {
            Err(why) if why.code() == MISSING => Ok(()),
            Err(why) => Err(why),
            Ok(_) => {
                let text = format!("the messages of the queue `{name}` are being migrated");
                Err(Error::retry("topology_migrating", text))
            }
        }
    }

    /// Opens a consumer. If the queue is missing, declares the topology again first.
    async fn consumer(
        &self,
        queue: String,
        state: Arc<QueueState>,
        prefetch: usize,
    ) -> Result<RabbitConsumer> {
        let opened = self.open(queue.clone(), Arc::clone(&state), prefetch).await;
        match opened {
            Err(why) if why.code() == MISSING => {
                self.redeclare(Again::Missing).await?;
                self.open(queue, state, prefetch).await
            }
            opened => opened,
        }
    }

    async fn open(
        &self,
        queue: String,
        state: Arc<QueueState>,
        prefetch: usize,
    ) -> Result<RabbitConsumer> {
        let connection = self.consuming_connection().await?;
        let number = self.consumers.fetch_add(1, Ordering::Relaxed);
        let options = Options {
            queue,
            prefetch,
            base: number * TAGS_PER_CONSUMER,
            names: self.names.clone(),
            state,
            runtime: Arc::clone(&self.runtime),
        };
        let opened = RabbitConsumer::open(connection, options);
        let opened = tokio::time::timeout(self.timeout, opened).await;
        opened.unwrap_or_else(|_| Err(timed_out()))
    }

    fn topology(&self) -> Topology {
        self.topology
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn state_of(&self, queue: Name) -> Arc<QueueState> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(queue).or_default())
    }

    /// Returns a queue as the broker sees it: the messages that no consumer has received, and its
    /// consumers.
    async fn seen(&self, queue: &str) -> Result<lapin::Queue> {
        let declare = async |channel: &Channel| {
            let declared = channel.queue_declare(queue.into(), PASSIVE, FieldTable::default());
            declared.await
        };
        self.request(declare).await
    }

    /// Replaces the connections, on which the broker does not reply: after a failover, the address
    /// leads to another node, and long before the heartbeats notice it. An attempt that gets no
    /// reply costs the client a thread, so there are few.
    async fn replace_silent(&self) -> Result<()> {
        let mut probed = self.probed.lock().await;
        if probed.is_some_and(|at| at.elapsed() < PROBE_PAUSE) {
            return Err(timed_out());
        }
        *probed = Some(Instant::now());
        self.consuming.replace_silent(PING_TIMEOUT).await?;
        self.idle_channel.lock().await.take();
        self.publishing.replace_silent(PING_TIMEOUT).await
    }

    /// Sends a request to the broker and waits for the reply.
    async fn request<T>(
        &self,
        request: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
    ) -> Result<T> {
        let connection = self.consuming_connection().await?;
        let mut idle = self.idle_channel.lock().await;
        let idle_channel = idle.take().filter(|channel| channel.status().connected());
        let replied = async {
            let channel = match idle_channel {
                Some(channel) => channel,
                None => connection.create_channel().await?,
            };
            let reply = request(&channel).await?;
            Ok((channel, reply))
        };
        // After an error or a timeout the channel is not used again: the broker may have closed it.
        let replied = tokio::time::timeout(self.timeout, replied).await;
        let replied = replied.map_err(|_| timed_out())?;
        let (channel, reply) = replied.map_err(|e: lapin::Error| unavailable(&e))?;
        *idle = Some(channel);
        Ok(reply)
    }
}

impl Transport for RabbitMq {
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let topology = topology.clone();
        Box::pin(async move {
            {
                let mut known = self
                    .topology
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                known.queues.extend(topology.queues.clone());
            }
            let connection = self.consuming_connection().await?;
            self.declare_on(&connection, &topology).await?;
            self.commands.report(&topology).await;
            Ok(())
        })
    }

    /// Fails with `topology_differs` if a queue of these services exists with other arguments.
    fn check_queues(&self, services: &[Name]) -> Result<()> {
        self.differences.check_services(services)
    }

    fn deviations(&self, topology: &Topology) -> BoxFuture<'_, Result<Vec<Deviation>>> {
        let topology = topology.clone();
        Box::pin(async move {
            let command = async |it: &Operator| it.deviations(&topology).await;
            self.commands.run(command).await
        })
    }

    fn migrate(&self, topology: &Topology) -> BoxFuture<'_, Result<Vec<Migrated>>> {
        let topology = topology.clone();
        Box::pin(async move {
            let command = async |it: &Operator| it.migrate(&topology).await;
            self.commands.run(command).await
        })
    }

    fn prune(&self, topology: &Topology, options: &Prune) -> BoxFuture<'_, Result<Vec<Pruned>>> {
        let (topology, options) = (topology.clone(), options.clone());
        Box::pin(async move {
            let command = async |it: &Operator| it.prune(&topology, &options).await;
            self.commands.run(command).await
        })
    }

    /// Fails with `broker_unavailable` or `broker_refused` as for [`connect`](RabbitMq::connect),
    /// with `broker_blocked` while the broker has a memory or disk alarm, and with
    /// `topology_differs` if an exchange, or a queue of a service that runs here, exists with other
    /// properties.
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            if self.differences.check_own().is_err() {
                self.redeclare(Again::Different).await?;
                self.differences.check_own()?;
            }
            self.publishing_connection().await?;
            if self.publishing.is_blocked() {
                return Err(Error::retry(
                    "broker_blocked",
                    "RabbitMQ blocks publishers: it has a memory or disk alarm",
                ));
            }
            // The broker never blocks this connection, since nothing is published on it.
            let ask =
                async |channel: &Channel| channel.basic_qos(1, BasicQosOptions::default()).await;
            match tokio::time::timeout(PING_TIMEOUT, self.request(ask)).await {
                Ok(replied) => replied,
                Err(_) => self.replace_silent().await,
            }
        })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            let connection = match self.ready_to_publish().await {
                Ok(connection) => connection,
                Err(why) => return vec![Err(why); messages.len()],
            };
            let topology = self.topology();
            let bindings = topology.queues.values().flat_map(|queue| &queue.bindings);
            let bound: HashSet<&'static str> = bindings.map(|binding| binding.message).collect();
            let settings = BatchSettings {
                names: &self.names,
                only: None,
                bound: &bound,
                timeout: self.timeout,
                frame_max: connection.configuration().frame_max(),
            };
            let held = self.differences.held_types(&self.names, &topology);
            let is_held = |message: &Envelope| held.contains(message.kind.as_ref());
            let sent: Cow<'_, [Envelope]> = if held.is_empty() {
                Cow::Borrowed(&messages)
            } else {
                messages.iter().filter(|it| !is_held(it)).cloned().collect()
            };
            let results = self.publisher.publish(&connection, &settings, &sent).await;
            let again = if self.publisher.take_topology_missing() {
                self.redeclare(Again::Missing).await
            } else if !held.is_empty() {
                self.redeclare(Again::Different).await
            } else {
                Ok(())
            };
            if let Err(why) = again {
                tracing::warn!(
                    code = why.code(),
                    "cannot declare the topology again: {why}"
                );
            }
            let mut results = results.into_iter();
            let result = |message: &Envelope| {
                let kept =
                    "a queue of this message type exists with other arguments and is not durable";
                if is_held(message) {
                    Err(Refused::Unconfirmed(kept.into()))
                } else {
                    results
                        .next()
                        .unwrap_or_else(|| Err(Refused::Unconfirmed("not sent".into())))
                }
            };
            messages.iter().map(result).collect()
        })
    }

    fn forward(
        &self,
        queue: Name,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(self.put(queue, messages))
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            self.admit(queue).await?;
            let state = self.state_of(queue);
            let opened = self.consumer(self.names.queue(queue), state, prefetch);
            Ok(Box::new(opened.await?) as Box<dyn Consumer>)
        })
    }

    fn broker_dead_letters(
        &self,
        service: Name,
    ) -> BoxFuture<'_, Result<Option<Box<dyn Consumer>>>> {
        Box::pin(async move {
            let queue = self.names.dead_letter_queue(service.as_str());
            let opened = self.consumer(queue, Arc::default(), DEAD_LETTER_PREFETCH);
            Ok(Some(Box::new(opened.await?) as Box<dyn Consumer>))
        })
    }

    fn replies(&self, queue: &str, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let queue = self.names.reply_queue(queue);
        Box::pin(async move {
            let connection = self.consuming_connection().await?;
            let declared = declare_replies(&connection, &self.names, &queue);
            let declared = tokio::time::timeout(self.timeout, declared).await;
            declared.unwrap_or_else(|_| Err(timed_out()))?;
            let opened = self.open(queue, Arc::default(), prefetch);
            Ok(Box::new(opened.await?) as Box<dyn Consumer>)
        })
    }

    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let seen = self.seen(&self.names.queue(queue)).await?;
            Ok(u64::from(seen.message_count()) + self.state_of(queue).in_flight())
        })
    }

    fn consumers(&self, queue: Name) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(async move {
            let seen = self.seen(&self.names.queue(queue)).await?;
            Ok(Some(u64::from(seen.consumer_count())))
        })
    }
}
