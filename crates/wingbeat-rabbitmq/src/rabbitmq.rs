//! The transport.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::Instant;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::Refused;
use wingbeat_core::{
    Consumer, Envelope, Error, HashMap, HashSet, Name, Result, Topology, Transport,
};

use crate::Config;
use crate::consumer::{Held, Opening, RabbitConsumer, TAGS_OF_ONE};
use crate::link::{LACKING, Link, away, silent};
use crate::publisher::{Plan, Publisher};
use crate::topology::{Names, declare};

/// Longest wait for the whole topology: some hundred queues.
const DECLARE: Duration = Duration::from_secs(30);
/// Messages that the broker gave up on, held at once: there are few.
const GIVEN_UP: usize = 16;
/// The pause between two repairs of the topology.
const REPAIR_PAUSE: Duration = Duration::from_secs(1);

/// A [`Transport`] on RabbitMQ.
pub struct RabbitMq {
    names: Names,
    timeout: Duration,
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
    asking: tokio::sync::Mutex<Option<Channel>>,
    topology: RwLock<Topology>,
    held: Mutex<HashMap<Name, Held>>,
    consumers: AtomicU64,
    /// When the topology was last repaired.
    repaired: tokio::sync::Mutex<Option<Instant>>,
}

impl RabbitMq {
    /// Connects.
    ///
    /// # Errors
    ///
    /// `broker_url_invalid`, `broker_refused` (user, password or virtual host) or `broker_away`: one line, no
    /// password in it.
    pub async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let transport = Self {
            names: Names::new(config),
            timeout: config.confirm_timeout,
            publishing: Link::new(config, "publishing", Arc::clone(&runtime))?,
            consuming: Link::new(config, "consuming", runtime)?,
            publisher: Publisher::default(),
            asking: tokio::sync::Mutex::default(),
            topology: RwLock::default(),
            held: Mutex::default(),
            consumers: AtomicU64::new(1),
            repaired: tokio::sync::Mutex::default(),
        };
        transport.to_publish().await?;
        transport.to_consume().await?;
        Ok(Arc::new(transport))
    }

    /// Whether the broker can be reached and takes messages now; connects again if need be.
    ///
    /// # Errors
    ///
    /// `broker_away`, `broker_refused`, or `broker_blocked` while the broker takes nothing.
    pub async fn ping(&self) -> Result<()> {
        self.to_publish().await?;
        self.to_consume().await?;
        if self.publishing.is_blocked() {
            return Err(Error::retry(
                "broker_blocked",
                "RabbitMQ takes no messages: out of memory or disk",
            ));
        }
        Ok(())
    }

    /// All of the topology exists before anybody publishes, on each new connection.
    async fn to_publish(&self) -> Result<Arc<Connection>> {
        let topology = self.topology();
        let prepare =
            async |connection: &Connection| declare(connection, &self.names, &topology).await;
        self.publishing.connection(prepare).await
    }

    async fn to_consume(&self) -> Result<Arc<Connection>> {
        let topology = self.topology();
        let prepare =
            async |connection: &Connection| declare(connection, &self.names, &topology).await;
        self.consuming.connection(prepare).await
    }

    /// Something was deleted by hand: declares all of it again, now and then.
    async fn repair(&self) -> Result<()> {
        let mut repaired = self.repaired.lock().await;
        if repaired.is_some_and(|at| at.elapsed() < REPAIR_PAUSE) {
            return Ok(());
        }
        *repaired = Some(Instant::now());
        tracing::warn!("RabbitMQ lacks queues, exchanges or bindings: they are declared anew");
        // Never blocked, since nothing is published on it.
        let connection = self.to_consume().await?;
        let topology = self.topology();
        let declared = declare(&connection, &self.names, &topology);
        let declared = tokio::time::timeout(DECLARE, declared).await;
        declared.unwrap_or_else(|_| Err(silent()))
    }

    /// A consumer; of a queue that was deleted, after it was declared anew.
    async fn consumer(&self, queue: String, held: Held, prefetch: usize) -> Result<RabbitConsumer> {
        let opened = self.open(queue.clone(), Arc::clone(&held), prefetch).await;
        match opened {
            Err(why) if why.code() == LACKING => {
                self.repair().await?;
                self.open(queue, held, prefetch).await
            }
            opened => opened,
        }
    }

    async fn open(&self, queue: String, held: Held, prefetch: usize) -> Result<RabbitConsumer> {
        let connection = self.to_consume().await?;
        let number = self.consumers.fetch_add(1, Ordering::Relaxed);
        let opening = Opening {
            queue,
            prefetch,
            base: number * TAGS_OF_ONE,
            names: self.names.clone(),
            held,
        };
        let opened = RabbitConsumer::open(&connection, opening);
        let opened = tokio::time::timeout(self.timeout, opened).await;
        opened.unwrap_or_else(|_| Err(silent()))
    }

    fn topology(&self) -> Topology {
        self.topology
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn held(&self, queue: Name) -> Held {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(held.entry(queue).or_default())
    }

    /// How many messages of a queue nobody was handed.
    async fn waiting(&self, queue: &str) -> Result<u64> {
        let connection = self.to_consume().await?;
        let mut asking = self.asking.lock().await;
        let channel = match asking.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => connection.create_channel().await.map_err(|e| away(&e))?,
        };
        let passive = QueueDeclareOptions {
            passive: true,
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
        // An error closes the channel, and one without an answer may be dead.
        let found = match tokio::time::timeout(self.timeout, asked).await {
            Ok(found) => found.map_err(|e| away(&e))?,
            Err(_) => return Err(silent()),
        };
        *asking = Some(channel);
        Ok(u64::from(found.message_count()))
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
            let connection = self.to_consume().await?;
            let declared = declare(&connection, &self.names, &topology);
            let declared = tokio::time::timeout(DECLARE, declared).await;
            declared.unwrap_or_else(|_| Err(silent()))
        })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            let refuse = |why: String| vec![Err(Refused::Unconfirmed(why)); messages.len()];
            // On a blocked connection nothing is written, and everything waits in memory.
            if self.publishing.is_blocked() {
                return refuse("the broker takes no messages now".into());
            }
            let connection = match self.to_publish().await {
                Ok(connection) => connection,
                Err(why) => return refuse(why.to_string()),
            };
            let topology = self.topology();
            let bindings = topology.queues.values().flat_map(|queue| &queue.bindings);
            let bound: HashSet<&'static str> = bindings.map(|binding| binding.message).collect();
            let plan = Plan {
                names: &self.names,
                bound: &bound,
                timeout: self.timeout,
            };
            let answers = self.publisher.publish(&connection, &plan, &messages).await;
            if self.publisher.found_lacking()
                && let Err(why) = self.repair().await
            {
                tracing::warn!(code = why.code(), "cannot declare anew: {why}");
            }
            answers
        })
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            let held = self.held(queue);
            let opened = self.consumer(self.names.queue(queue), held, prefetch);
            Ok(Box::new(opened.await?) as Box<dyn Consumer>)
        })
    }

    fn given_up(&self, service: Name) -> BoxFuture<'_, Result<Option<Box<dyn Consumer>>>> {
        Box::pin(async move {
            let queue = self.names.dead_letters(service.as_str());
            let opened = self.consumer(queue, Held::default(), GIVEN_UP).await?;
            Ok(Some(Box::new(opened) as Box<dyn Consumer>))
        })
    }

    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let waiting = self.waiting(&self.names.queue(queue)).await?;
            Ok(waiting + self.held(queue).load(Ordering::SeqCst))
        })
    }
}
