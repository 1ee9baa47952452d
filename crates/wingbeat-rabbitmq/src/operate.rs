//! The topology for operators: how it differs from the broker, orphaned queues, migrations.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use wingbeat_core::transport::{Deviation, DeviationKind, Migrated, Pruned};
use wingbeat_core::{Result, Topology};

use crate::access::{Access, Counts, migrating, unbind};
use crate::connection::unavailable;
use crate::migration::Migration;
use crate::register::{self, Reading, Register};
use crate::topology::{DeclaredQueue, bind, compare, open, plan, variants};

/// The number of attempts to read a register that another process may be reading.
const READ_AGAIN: u32 = 10;
/// The pause between two such attempts.
const READ_PAUSE: Duration = Duration::from_millis(200);

/// The commands of an operator.
pub(crate) struct Operator(pub(crate) Access);

impl Operator {
    /// Adds the queues of a topology to the register, and warns of those that no subscription has
    /// any more. A broker that blocks publishers gets no new register.
    pub(crate) async fn report(&self, topology: &Topology, is_blocked: bool) -> Result<()> {
        let reading = register::read(&self.0.consuming, &self.0.names).await?;
        let queues = plan(&self.0.names, topology).1;
        let orphans = self.orphans(&reading.register, &queues).await?;
        for it in &orphans {
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
        self.replace(reading, &queues, &orphans).await
    }

    /// Writes the register: the queues of the topology, and the orphans.
    async fn replace(
        &self,
        reading: Reading,
        queues: &[DeclaredQueue],
        orphans: &[Deviation],
    ) -> Result<()> {
        let mut register = Register::default();
        register.add(queues);
        let kept = queues.iter().map(|it| &it.name);
        for queue in kept.chain(orphans.iter().map(|it| &it.queue)) {
            if let Some(known) = reading.register.queues.get(queue) {
                let bindings = register.queues.entry(queue.clone()).or_default();
                bindings.extend(known.iter().cloned());
            }
        }
        reading.replace(&register, &self.0.publishing).await
    }

    /// Returns the registered queues that exist and are not among `queues`.
    async fn orphans(
        &self,
        register: &Register,
        queues: &[DeclaredQueue],
    ) -> Result<Vec<Deviation>> {
        let wired: BTreeSet<&str> = queues.iter().map(|it| it.name.as_str()).collect();
        let mut orphans = Vec::new();
        for queue in register.queues.keys() {
            if wired.contains(queue.as_str()) {
                continue;
            }
            if let Some(counts) = self.0.counts(queue).await? {
                orphans.push(deviation(queue, DeviationKind::Orphaned, counts));
            }
        }
        Ok(orphans)
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
        found.extend(self.orphans(&reading.register, &queues).await?);
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
                migrated.push(Migrated {
                    queue: queue.name,
                    messages,
                });
            }
        }
        Ok(migrated)
    }

    pub(crate) async fn prune(&self, topology: &Topology, forced: bool) -> Result<Vec<Pruned>> {
        let reading = self.reading().await?;
        let queues = plan(&self.0.names, topology).1;
        let orphans = self.orphans(&reading.register, &queues).await?;
        let mut pruned = Vec::new();
        for orphan in &orphans {
            let bindings = &reading.register.queues[&orphan.queue];
            let result = self.delete(&orphan.queue, bindings, forced).await?;
            pruned.push(Pruned {
                queue: orphan.queue.clone(),
                result,
            });
        }
        let deleted = |queue: &str| {
            pruned
                .iter()
                .any(|it| it.queue == queue && it.result.is_ok())
        };
        let kept = orphans.into_iter().filter(|it| !deleted(&it.queue));
        let kept: Vec<_> = kept.collect();
        self.replace(reading, &queues, &kept).await?;
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
            let consumers = counts.consumers;
            return Ok(Err(format!("it has {consumers} consumers")));
        }
        if !self.is_ours(queue).await? {
            return Ok(Err("its arguments are not those of Wingbeat".into()));
        }
        let refused = |waiting| Ok(Err(format!("{waiting} messages wait in it")));
        if counts.waiting > 0 && !forced {
            return refused(counts.waiting);
        }
        let channel = open(&self.0.consuming).await?;
        for (exchange, key) in bindings {
            unbind(&channel, queue, exchange, key).await?;
        }
        // Messages may have arrived before the last binding was removed.
        let left = self.0.counts(queue).await?;
        let left = left.map_or(0, |it| it.waiting);
        if left > 0 && !forced {
            for (exchange, key) in bindings {
                bind(&channel, queue, exchange, key).await?;
            }
            return refused(left);
        }
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        let deleted = deleted.await.map_err(|e| unavailable(&e))?;
        let _ = channel.close(200, "deleted".into()).await;
        Ok(Ok(u64::from(deleted)))
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
