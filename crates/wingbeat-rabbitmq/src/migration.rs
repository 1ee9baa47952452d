//! The migration of a queue to other arguments, which RabbitMQ cannot change.
//!
//! A migration sets the messages of the queue aside in `<queue>.migrating`, deletes the queue,
//! declares it again, and puts the messages back. It can be killed at any moment and run again:
//!
//! - From the first message that is moved, until the last one is back, every message is in one of
//!   the two queues. A message is acknowledged after its copy was confirmed, so it may be in both;
//!   the inbox recognizes copies.
//! - The queue is deleted only while the other one is bound to the same message types, and after it
//!   was found empty and without consumers twice, [`SETTLE`] apart: a message that a publisher had
//!   routed before may arrive late.
//!
//! An ordered queue also keeps its order. While its migration runs, the *gate* rejects messages of
//! its types: a queue without room, which all these types are bound to. Publishers keep them in
//! their outboxes and publish them again. The gate belongs to the connection and disappears with
//! it. Messages are put back as one: all are copied before any is acknowledged. If a migration is
//! killed before, the next one discards the incomplete queue. Consumers wait meanwhile
//! (`topology_migrating`).
//!
//! Two exchanges record how far a migration has come, since AMQP has nothing else to write to:
//! `….aside` that everything was set aside, `….copied` that everything was put back.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tokio::time::Instant;
use wingbeat_core::{Error, Result};

use crate::access::{Access, in_use, migrating, unbind};
use crate::connection::unavailable;
use crate::copying::{Copying, STUCK};
use crate::topology::{DeclaredQueue, bind, compare, open, text, variants};

/// The time between two looks at an empty queue: longer than a message that was routed takes to
/// arrive.
const SETTLE: Duration = Duration::from_secs(1);
/// The number of attempts against processes of an earlier release that declare the queue again.
const ROUNDS: usize = 10;

/// A queue without room, which makes the broker reject messages. It ends with the connection.
struct Gate {
    channel: Channel,
    queue: String,
}

impl Gate {
    /// Deletes the queue.
    async fn open(self) -> Result<()> {
        let queue = self.queue.as_str();
        let deleted = self
            .channel
            .queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.map_err(|e| unavailable(&e))?;
        let closed = self.channel.close(200, "done".into()).await;
        closed.map_err(|e| unavailable(&e))
    }
}

/// One queue to migrate.
pub(crate) struct Migration<'a> {
    access: &'a Access,
    /// The queue as it is to be.
    queue: DeclaredQueue,
    /// All its bindings, also those that it has no more.
    bindings: BTreeSet<(String, String)>,
    /// The queue that keeps the messages meanwhile.
    aside: DeclaredQueue,
    /// The exchange through which messages are moved. It keeps their routing keys, from which
    /// messages of others may get their types.
    exchange: String,
    is_ordered: bool,
}

impl<'a> Migration<'a> {
    pub(crate) fn new(
        access: &'a Access,
        queue: DeclaredQueue,
        bindings: BTreeSet<(String, String)>,
    ) -> Self {
        let name = migrating(&queue.name);
        let aside = variants(&access.names, &name).swap_remove(0);
        Self {
            exchange: access.names.migration_exchange(&queue.name),
            is_ordered: queue.arguments.contains_key("x-single-active-consumer"),
            access,
            queue,
            bindings,
            aside,
        }
    }

    /// Migrates the queue if it has other arguments, or if its migration was interrupted. Returns
    /// the number of moved messages, or `None` if there was nothing to do.
    pub(crate) async fn run(&self) -> Result<Option<u64>> {
        let access = self.access;
        let is_there = access.counts(&self.queue.name).await?.is_some();
        let is_begun = access.counts(&self.aside.name).await?.is_some();
        if !is_begun && (!is_there || !self.differs().await?) {
            return Ok(None);
        }
        let gate = if self.is_ordered {
            Some(self.close_gate().await?)
        } else {
            None
        };
        let moved = self.move_all().await;
        if let Some(gate) = gate {
            gate.open().await?;
        }
        moved.map(Some)
    }

    async fn move_all(&self) -> Result<u64> {
        let access = self.access;
        let mut moved = 0;
        for _ in 0..ROUNDS {
            let is_there = access.counts(&self.queue.name).await?.is_some();
            let is_aside = self.access.exists(&self.flag(ASIDE)).await?;
            if !is_aside || (is_there && self.differs().await?) {
                moved += self.set_aside(is_there).await?;
            }
            if let Some(count) = self.put_back().await? {
                return Ok(moved.max(count));
            }
        }
        let queue = &self.queue.name;
        let text = format!(
            "processes of an earlier release declare the queue `{queue}` again and again: stop them"
        );
        Err(Error::reject("topology_in_use", text))
    }

    /// Returns whether the queue has other arguments. Declares it without bindings if it is
    /// missing.
    async fn differs(&self) -> Result<bool> {
        let channel = open(&self.access.consuming).await?;
        let differs = compare(&channel, &self.queue).await?.is_some();
        if !differs {
            let _ = channel.close(200, "compared".into()).await;
        }
        Ok(differs)
    }

    /// Moves the messages of the queue to the other one, binds that one instead, and deletes the
    /// queue.
    async fn set_aside(&self, is_there: bool) -> Result<u64> {
        let (queue, aside) = (&self.queue.name, &self.aside.name);
        let channel = open(&self.access.consuming).await?;
        if is_there {
            self.without_consumers(queue).await?;
        }
        for flag in [ASIDE, COPIED] {
            self.delete_exchange(&channel, &self.flag(flag)).await?;
        }
        self.declare_exchange(&channel, &self.exchange).await?;
        let declared = compare(&channel, &self.aside).await?;
        if let Some(differs) = declared {
            return Err(differs.error());
        }
        if is_there {
            unbind(&channel, queue, &self.exchange, "").await?;
        }
        bind(&channel, aside, &self.exchange, "").await?;
        let mut moved = 0;
        if is_there && self.is_ordered {
            // Before any message comes to the other queue by itself.
            moved += self.copying().drain(queue).await?;
        }
        for (exchange, key) in &self.bindings {
            bind(&channel, aside, exchange, key).await?;
        }
        if is_there {
            for (exchange, key) in &self.bindings {
                unbind(&channel, queue, exchange, key).await?;
            }
            moved += self.drain_for_good(queue).await?;
        }
        self.declare_exchange(&channel, &self.flag(ASIDE)).await?;
        if is_there {
            self.delete_queue(&channel, queue).await?;
        }
        let _ = channel.close(200, "done".into()).await;
        Ok(moved)
    }

    /// Declares the queue, puts the messages back, and deletes the other queue. Returns `None` if
    /// another process has meanwhile declared the queue with other arguments.
    async fn put_back(&self) -> Result<Option<u64>> {
        let (queue, aside) = (&self.queue.name, &self.aside.name);
        let channel = open(&self.access.consuming).await?;
        let is_copied = self.access.exists(&self.flag(COPIED)).await?;
        if self.is_ordered && !is_copied && self.access.counts(queue).await?.is_some() {
            // Its messages are also in the other queue: that one was bound before this one existed.
            self.without_consumers(queue).await?;
            self.delete_queue(&channel, queue).await?;
        }
        if self.differs().await? {
            return Ok(None);
        }
        bind(&channel, queue, &self.exchange, "").await?;
        unbind(&channel, aside, &self.exchange, "").await?;
        let mut moved = 0;
        if self.is_ordered && !is_copied {
            let copied = self.copying().copy_in_order(aside).await?;
            self.bind_queue(&channel).await?;
            self.declare_exchange(&channel, &self.flag(COPIED)).await?;
            moved += copied.messages;
            copied.acknowledge().await?;
        } else {
            self.bind_queue(&channel).await?;
        }
        for (exchange, key) in &self.bindings {
            unbind(&channel, aside, exchange, key).await?;
        }
        moved += self.drain_for_good(aside).await?;
        self.delete_queue(&channel, aside).await?;
        for exchange in [self.flag(COPIED), self.flag(ASIDE), self.exchange.clone()] {
            self.delete_exchange(&channel, &exchange).await?;
        }
        let _ = channel.close(200, "done".into()).await;
        Ok(Some(moved))
    }

    fn copying(&self) -> Copying<'_> {
        Copying {
            access: self.access,
            exchange: &self.exchange,
        }
    }

    async fn bind_queue(&self, channel: &Channel) -> Result<()> {
        for (exchange, key) in &self.queue.bindings {
            bind(channel, &self.queue.name, exchange, key).await?;
        }
        Ok(())
    }

    /// Binds a queue without room to all message types of the queue, so that the broker rejects
    /// them.
    async fn close_gate(&self) -> Result<Gate> {
        let channel = open(&self.access.consuming).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare("".into(), options, arguments).await;
        let declared = declared.map_err(|e| unavailable(&e))?;
        let gate = Gate {
            queue: declared.name().to_string(),
            channel,
        };
        for (exchange, key) in &self.bindings {
            bind(&gate.channel, &gate.queue, exchange, key).await?;
        }
        Ok(gate)
    }

    /// Moves messages until the queue is empty, has no consumers, and stays so.
    async fn drain_for_good(&self, source: &str) -> Result<u64> {
        let mut moved = self.copying().drain(source).await?;
        let (mut empty_since, mut busy_since) = (None, None);
        loop {
            tokio::time::sleep(SETTLE / 4).await;
            let Some(counts) = self.access.counts(source).await? else {
                return Ok(moved);
            };
            if counts.waiting > 0 {
                moved += self.copying().drain(source).await?;
                (empty_since, busy_since) = (None, None);
            } else if counts.consumers > 0 {
                // The broker may still count the consumer of the drain itself.
                empty_since = None;
                if busy_since.get_or_insert_with(Instant::now).elapsed() > STUCK {
                    return Err(in_use(source, counts.consumers));
                }
            } else if empty_since.get_or_insert_with(Instant::now).elapsed() >= SETTLE {
                return Ok(moved);
            }
        }
    }

    /// Fails if processes consume from a queue.
    async fn without_consumers(&self, queue: &str) -> Result<()> {
        let found = self.access.counts(queue).await?;
        match found.map_or(0, |it| it.consumers) {
            0 => Ok(()),
            consumers => Err(in_use(queue, consumers)),
        }
    }

    async fn delete_queue(&self, channel: &Channel, queue: &str) -> Result<()> {
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.map_err(|e| unavailable(&e)).map(drop)
    }

    fn flag(&self, flag: &str) -> String {
        format!("{}{flag}", self.exchange)
    }

    async fn declare_exchange(&self, channel: &Channel, exchange: &str) -> Result<()> {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (kind, arguments) = (ExchangeKind::Fanout, FieldTable::default());
        let declared = channel.exchange_declare(exchange.into(), kind, durable, arguments);
        declared.await.map_err(|e| unavailable(&e))
    }

    async fn delete_exchange(&self, channel: &Channel, exchange: &str) -> Result<()> {
        let deleted = channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
        deleted.await.map_err(|e| unavailable(&e))
    }
}

/// The suffix of the exchange that records that everything was set aside.
const ASIDE: &str = ".aside";
/// The suffix of the exchange that records that everything was put back.
const COPIED: &str = ".copied";
