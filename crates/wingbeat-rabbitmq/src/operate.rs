//! The topology for operators: how it differs from the broker, orphaned queues, migrations.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use wingbeat_core::transport::{Deviation, DeviationKind, Migrated, Prune, Pruned};
use wingbeat_core::{Result, Topology};

use crate::access::{ASIDE, Access, Counts, delete_exchange, migrating, unbind};
use crate::held::{Held, Look, Looks};
use crate::migration::Migration;
use crate::register::{self, Reading, Register};
use crate::topology::{DeclaredQueue, bind, compare, open, plan, variants};

/// The number of attempts to read a register that another process may be reading.
const READ_AGAIN: u32 = 10;
/// The pause between two such attempts.
const READ_PAUSE: Duration = Duration::from_millis(200);

/// No services.
const NONE: BTreeSet<String> = BTreeSet::new();

/// A queue that no subscription has any more.
struct Orphan {
    /// Its name in the register: that of the subscription's queue.
    registered: String,
    found: Deviation,
}

/// The commands of an operator.
pub(crate) struct Operator(pub(crate) Access);

impl Operator {
    /// Adds the queues of a topology to the register, and warns of those that no subscription has
    /// any more. A broker that blocks publishers gets no new register.
    pub(crate) async fn report(&self, topology: &Topology, is_blocked: bool) -> Result<()> {
        let reading = register::read(&self.0.consuming, &self.0.names).await?;
        let queues = plan(&self.0.names, topology).1;
        let (orphans, kept) = self.orphans(&reading.register, &queues, &NONE).await?;
        for Orphan { found: it, .. } in &orphans {
            tracing::warn!(
                code = "topology_orphan",
                queue = it.queue,
                waiting = it.waiting,
                consumers = it.consumers,
                "no subscription has this queue any more, and it keeps receiving messages; \
                 `topology prune` deletes it"
            );
        }
        if is_blocked {
            return reading.close().await;
        }
        self.replace(reading, &queues, &kept).await
    }

    /// Writes the register: the queues of the topology, and others that it keeps.
    async fn replace(
        &self,
        reading: Reading,
        queues: &[DeclaredQueue],
        others: &BTreeSet<String>,
    ) -> Result<()> {
        let mut register = Register::default();
        register.add(queues);
        let kept = queues.iter().map(|it| &it.name);
        for queue in kept.chain(others) {
            if let Some(known) = reading.register.queues.get(queue) {
                let bindings = register.queues.entry(queue.clone()).or_default();
                bindings.extend(known.iter().cloned());
            }
        }
        reading.replace(&register, &self.0).await
    }

    /// Returns the queues that no subscription has any more, and the registered names of all other
    /// queues than `queues` that exist.
    ///
    /// Another system may use the same register. So a queue is orphaned only if its service has
    /// queues among `queues`, or is among the `removed` ones.
    async fn orphans(
        &self,
        register: &Register,
        queues: &[DeclaredQueue],
        removed: &BTreeSet<String>,
    ) -> Result<(Vec<Orphan>, BTreeSet<String>)> {
        let wired: BTreeSet<&str> = queues.iter().map(|it| it.name.as_str()).collect();
        let services: BTreeSet<&str> = queues.iter().map(|it| it.service).collect();
        let (mut orphans, mut existing) = (Vec::new(), BTreeSet::new());
        for registered in register.queues.keys() {
            if wired.contains(registered.as_str()) {
                continue;
            }
            let service = self.0.names.service(registered);
            // An interrupted migration leaves a second queue, or only that one.
            for queue in [registered.clone(), migrating(registered)] {
                let Some(counts) = self.0.counts(&queue).await? else {
                    continue;
                };
                existing.insert(registered.clone());
                if services.contains(service) || removed.contains(service) {
                    orphans.push(Orphan {
                        registered: registered.clone(),
                        found: deviation(&queue, DeviationKind::Orphaned, counts),
                    });
                }
            }
        }
        Ok((orphans, existing))
    }

    /// Reads the register for a command, which waits while another process reads it.
    async fn reading(&self) -> Result<Reading> {
        let mut reading = register::read(&self.0.consuming, &self.0.names).await?;
        for _ in 0..READ_AGAIN {
            if !reading.register.queues.is_empty() {
                break;
            }
            reading.close().await?;
            tokio::time::sleep(READ_PAUSE).await;
            reading = register::read(&self.0.consuming, &self.0.names).await?;
        }
        Ok(reading)
    }

    pub(crate) async fn deviations(&self, topology: &Topology) -> Result<Vec<Deviation>> {
        let queues = plan(&self.0.names, topology).1;
        let mut found = Vec::new();
        let none = Counts {
            waiting: 0,
            consumers: 0,
        };
        for queue in &queues {
            let counts = match self.0.counts(&queue.name).await? {
                None => {
                    found.push(deviation(&queue.name, DeviationKind::Missing, none));
                    none
                }
                Some(counts) => {
                    let channel = open(&self.0.consuming).await?;
                    match compare(&channel, queue).await? {
                        Some(differs) => {
                            let kind = DeviationKind::Changed(differs.why);
                            found.push(deviation(&queue.name, kind, counts));
                        }
                        None => {
                            let _ = channel.close(200, "compared".into()).await;
                        }
                    }
                    counts
                }
            };
            let aside = self.0.counts(&migrating(&queue.name)).await?;
            if let Some(aside) = aside {
                let counts = Counts {
                    waiting: aside.waiting,
                    ..counts
                };
                found.push(deviation(&queue.name, DeviationKind::Migrating, counts));
            }
        }
        let reading = self.reading().await?;
        let (orphans, _) = self.orphans(&reading.register, &queues, &NONE).await?;
        found.extend(orphans.into_iter().map(|it| it.found));
        reading.close().await?;
        Ok(found)
    }

    pub(crate) async fn migrate(&self, topology: &Topology) -> Result<Vec<Migrated>> {
        let reading = self.reading().await?;
        let register = reading.register.clone();
        reading.close().await?;
        let mut migrated = Vec::new();
        for queue in plan(&self.0.names, topology).1 {
            let known = register.queues.get(&queue.name);
            let bindings = known.into_iter().flatten().cloned();
            let bindings = bindings.chain(queue.bindings.iter().cloned()).collect();
            let migration = Migration::new(&self.0, queue.clone(), bindings);
            if let Some(messages) = migration.run().await? {
                let by = "command line";
                tracing::info!(target: "audit", by, queue = queue.name, messages, "queue migrated");
                migrated.push(Migrated {
                    queue: queue.name,
                    messages,
                });
            }
        }
        Ok(migrated)
    }

    pub(crate) async fn prune(&self, topology: &Topology, options: &Prune) -> Result<Vec<Pruned>> {
        let reading = self.reading().await?;
        let queues = plan(&self.0.names, topology).1;
        let found = self.orphans(&reading.register, &queues, &options.services);
        let (orphans, mut kept) = found.await?;
        let (mut pruned, mut left) = (Vec::new(), BTreeSet::new());
        for orphan in orphans {
            let bindings = &reading.register.queues[&orphan.registered];
            let queue = orphan.found.queue;
            let deleted = self.delete(&queue, bindings, options.forced).await;
            // The others are pruned, and the caller learns of those that were.
            let result = deleted.unwrap_or_else(|why| Err(format!("{}: {why}", why.code())));
            kept.remove(&orphan.registered);
            if result.is_err() {
                left.insert(orphan.registered);
            }
            pruned.push(Pruned { queue, result });
        }
        kept.extend(left);
        if let Err(why) = self.replace(reading, &queues, &kept).await {
            let code = why.code();
            tracing::warn!(
                code,
                "cannot remove deleted queues from the register: {why}"
            );
        }
        Ok(pruned)
    }

    /// Deletes an orphaned queue. Returns the number of its messages, or the reason why it stays.
    async fn delete(
        &self,
        queue: &str,
        bindings: &BTreeSet<(String, String)>,
        forced: bool,
    ) -> Result<std::result::Result<u64, String>> {
        let Some(counts) = self.0.counts(queue).await? else {
            return Ok(Ok(0));
        };
        if counts.consumers > 0 {
            return Ok(Err(consumed(counts.consumers)));
        }
        if !self.is_ours(queue).await? {
            return Ok(Err("its arguments are not those of Wingbeat".into()));
        }
        if counts.waiting > 0 && !forced {
            return Ok(Err(waiting(counts.waiting)));
        }
        let mut held = Held::open(&self.0, queue, 1).await?;
        if let Err(why) = unused(&mut held, forced).await? {
            held.close().await;
            return Ok(Err(why));
        }
        let channel = open(&self.0.consuming).await?;
        for (exchange, key) in bindings {
            unbind(&channel, queue, exchange, key).await?;
        }
        // Messages may have arrived before the last binding was removed.
        let found = unused(&mut held, forced).await;
        if !matches!(found, Ok(Ok(_))) {
            for (exchange, key) in bindings {
                bind(&channel, queue, exchange, key).await?;
            }
        }
        let found = found?;
        if found.is_ok() {
            held.delete().await?;
            let exchange = self.0.names.migration_exchange(queue);
            for exchange in [format!("{exchange}{ASIDE}"), exchange] {
                delete_exchange(&channel, &exchange).await?;
            }
        } else {
            held.close().await;
        }
        let _ = channel.close(200, "done".into()).await;
        Ok(found)
    }

    /// Returns whether a queue has arguments with which Wingbeat declares queues.
    async fn is_ours(&self, queue: &str) -> Result<bool> {
        for variant in variants(&self.0.names, queue) {
            let channel = open(&self.0.consuming).await?;
            if compare(&channel, &variant).await?.is_none() {
                let _ = channel.close(200, "compared".into()).await;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn deviation(queue: &str, kind: DeviationKind, counts: Counts) -> Deviation {
    Deviation {
        queue: queue.to_owned(),
        kind,
        waiting: counts.waiting,
        consumers: counts.consumers,
    }
}

/// Returns the number of messages of a queue that has only the consumer of the command, and none or
/// any number of messages; or the reason why it must not be deleted.
///
/// # Errors
///
/// `broker_unavailable` if the queue does not reply.
async fn unused(held: &mut Held<'_>, forced: bool) -> Result<std::result::Result<u64, String>> {
    let mut looks = Looks::new(Instant::now());
    loop {
        held.peek().await?;
        let look = held.look().await?;
        let found = match look {
            Look::Shared(consumers) => return Ok(Err(consumed(consumers))),
            Look::Alone(more) => more + held.peeked(),
            Look::Unanswered => 0,
        };
        if found > 0 && !forced {
            return Ok(Err(waiting(found)));
        }
        let look = if found > 0 { Look::Alone(0) } else { look };
        if looks.settled(held.queue, look, Instant::now())? {
            return Ok(Ok(found));
        }
    }
}

fn consumed(consumers: u64) -> String {
    format!("it has {consumers} consumers")
}

fn waiting(messages: u64) -> String {
    format!("{messages} messages wait in it")
}
