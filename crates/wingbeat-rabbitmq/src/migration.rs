//! The migration of a queue to other arguments, which RabbitMQ cannot change.
//!
//! A migration sets the messages of the queue aside in `<queue>.migrating`, deletes the queue,
//! declares it again, and puts the messages back. It can be killed at any moment and run again:
//!
//! - From the first message that is moved, until the last one is back, every message is in one of
//!   the two queues. A message is acknowledged after its copy was confirmed, so it may be in both;
//!   the inbox recognizes copies.
//! - The queue is deleted only while the other one is bound to the same message types, and after it
//!   was found empty and without other consumers for a second: a message that a publisher had
//!   routed before may arrive late. The command has a consumer on the queue until it is deleted;
//!   see [`held`](crate::held).
//!
//! A queue that is to be ordered also keeps its order, so its messages are moved before the other
//! queue is bound. A message that is published meanwhile could overtake them. Rejecting it does not
//! help: its process retries it after a pause, and other processes publish later messages before.
//! So nothing may be published to the queue, and a [`Probe`] checks that. Consumers wait
//! (`topology_migrating`).
//!
//! An exchange, `….aside`, records that everything was set aside, since AMQP has nothing else to
//! write to.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use tokio::time::Instant;
use wingbeat_core::{Error, Result};

use crate::access::{ASIDE, Access, delete_exchange, in_use, migrating, unbind};
use crate::connection::unavailable;
use crate::copying::{BATCH, Copying};
use crate::held::Held;
use crate::probe::Probe;
use crate::topology::{DeclaredQueue, bind, compare, open, variants};

/// The longest wait for consumers to leave, such as those of a killed migration.
const LEAVE: Duration = Duration::from_secs(5);
/// The number of attempts against processes of an earlier release that declare the queue again.
const ROUNDS: usize = 10;

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
        let probe = if self.is_ordered {
            Some(Probe::open(access, &self.queue.name, &self.bindings).await?)
        } else {
            None
        };
        let moved = self.move_all(probe.as_ref()).await;
        if let Some(probe) = probe {
            probe.close().await;
        }
        moved.map(Some)
    }

    async fn move_all(&self, probe: Option<&Probe>) -> Result<u64> {
        let access = self.access;
        let copying = Copying {
            access,
            exchange: &self.exchange,
            probe,
        };
        let mut moved = 0;
        for _ in 0..ROUNDS {
            let is_there = access.counts(&self.queue.name).await?.is_some();
            let is_aside = access.exists(&self.flag()).await?;
            if !is_aside || (is_there && self.differs().await?) {
                moved += self.set_aside(&copying, is_there).await?;
            }
            if let Some(count) = self.put_back(&copying).await? {
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
    async fn set_aside(&self, copying: &Copying<'_>, is_there: bool) -> Result<u64> {
        let (queue, aside) = (&self.queue.name, &self.aside.name);
        let channel = open(&self.access.consuming).await?;
        let mut source = None;
        if is_there {
            source = Some(self.hold(queue).await?);
        }
        delete_exchange(&channel, &self.flag()).await?;
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
        if let Some(source) = &mut source
            && self.is_ordered
        {
            // Before any message comes to the other queue by itself.
            moved += copying.drain(source, &BTreeSet::new()).await?;
        }
        for (exchange, key) in &self.bindings {
            bind(&channel, aside, exchange, key).await?;
        }
        if let Some(source) = &mut source {
            moved += copying.drain(source, &self.bindings).await?;
        }
        self.declare_exchange(&channel, &self.flag()).await?;
        if let Some(source) = source {
            source.delete().await?;
        }
        let _ = channel.close(200, "done".into()).await;
        Ok(moved)
    }

    /// Declares the queue, puts the messages back, and deletes the other queue. Returns `None` if
    /// another process has meanwhile declared the queue with other arguments.
    async fn put_back(&self, copying: &Copying<'_>) -> Result<Option<u64>> {
        let (queue, aside) = (&self.queue.name, &self.aside.name);
        if self.differs().await? {
            return Ok(None);
        }
        let channel = open(&self.access.consuming).await?;
        bind(&channel, queue, &self.exchange, "").await?;
        unbind(&channel, aside, &self.exchange, "").await?;
        let mut source = self.hold(aside).await?;
        let mut moved = 0;
        if self.is_ordered {
            // Before any message comes to the queue by itself.
            moved += copying.drain(&mut source, &BTreeSet::new()).await?;
        }
        for (exchange, key) in &self.queue.bindings {
            bind(&channel, queue, exchange, key).await?;
        }
        moved += copying.drain(&mut source, &self.bindings).await?;
        source.delete().await?;
        for exchange in [&self.flag(), &self.exchange] {
            delete_exchange(&channel, exchange).await?;
        }
        let _ = channel.close(200, "done".into()).await;
        Ok(Some(moved))
    }

    /// Opens a consumer of a queue that has no other one. Waits for the consumer of a killed
    /// migration first: the messages that it has would return to the queue behind later ones.
    async fn hold<'q>(&'q self, queue: &'q str) -> Result<Held<'q>> {
        let begin = Instant::now();
        loop {
            let found = self.access.counts(queue).await?;
            match found.map_or(0, |it| it.consumers) {
                0 => break,
                consumers if begin.elapsed() > LEAVE => return Err(in_use(queue, consumers)),
                _ => tokio::time::sleep(LEAVE / 50).await,
            }
        }
        let held = Held::open(self.access, queue, BATCH).await?;
        held.alone().await?;
        Ok(held)
    }

    /// Returns the exchange that records that everything was set aside.
    fn flag(&self) -> String {
        format!("{}{ASIDE}", self.exchange)
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
}
