//! Subscriptions that an operator or a kill switch has paused.
//!
//! Each is a record in the store of its service, so that all replicas find it, and a process that
//! starts later does, too. The replica that writes the record applies it at once; the others read
//! the records once a second.
//!
//! The record of a kill switch says when to probe. Then one replica claims the probe in the record
//! and handles one delivery; the others stay paused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Key, Name, Record, Result, RuntimeExt as _, Timestamp};

use super::switch::{Report, Switch};
use crate::failed::{Decision, record_action};
use crate::partition::Shares;
use crate::replay::Gate;
use crate::runtime::Control;
use crate::unit::{self, Attempt, Meta, OwnTable, Scope, ServiceContext, remove};
use crate::{decode, encode};

/// The table of paused subscriptions; ids are the names of their queues.
pub(crate) const PAUSED: Name = Name::new("wb.paused");
/// The pause between two reads, before the random part that spreads the replicas.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Records read at once. No service has that many subscriptions.
const RECORDS_MAX: usize = 1_000;
/// The time for which a replica has a probe to itself. It renews it while it waits for a delivery.
const PROBE_LEASE: Duration = Duration::from_secs(30);
/// The most by which the pause before a probe grows.
const PROBE_GROWTH: u32 = 16;

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Paused {
    since: Timestamp,
    #[serde(default)]
    by: String,
    #[serde(default)]
    why: String,
    /// The next probe, if a kill switch has paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Probe>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Probe {
    at: Timestamp,
    /// The pause before it, in milliseconds. It doubles after each one that fails.
    pause: u64,
    /// The replica that makes it, and the end of its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<(Uuid, Timestamp)>,
}

/// Paused subscriptions, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Paused>(PAUSED);

/// The pause of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// The time at which it began.
    pub since: Timestamp,
    /// The operator, or `kill switch`.
    pub by: String,
    /// The reason.
    pub why: String,
    /// The time of the next probe, if a kill switch has paused it.
    pub probe_at: Option<Timestamp>,
}

impl From<&Paused> for Pause {
    fn from(paused: &Paused) -> Self {
        Self {
            since: paused.since,
            by: paused.by.clone(),
            why: paused.why.clone(),
            probe_at: paused.probe.as_ref().map(|probe| probe.at),
        }
    }
}

/// A subscription, or one of its partitions.
pub(crate) struct Controlled {
    pub(crate) queue: Name,
    /// The queue of the subscription.
    pub(crate) owner: Name,
    pub(crate) control: watch::Sender<Control>,
    /// The kill switch of the subscription, if it has one.
    pub(crate) switch: Option<Arc<Switch>>,
}

/// The subscriptions of one service in this process, and the records of those that are paused.
pub(crate) struct Pauses {
    service: Arc<ServiceContext>,
    subscriptions: Vec<Controlled>,
    gate: Gate,
    shares: Shares,
    /// The id of this replica.
    me: Uuid,
    /// Notified by kill switches.
    tripped: Arc<Notify>,
    /// The records that were read last.
    known: Mutex<BTreeMap<Name, Paused>>,
    /// Held from reading or writing the records until they are applied: a slow read must not undo
    /// what a later write has applied.
    turn: tokio::sync::Mutex<()>,
}

impl Pauses {
    pub(crate) fn new(
        service: Arc<ServiceContext>,
        subscriptions: Vec<Controlled>,
        (gate, shares): (Gate, Shares),
        me: Uuid,
        tripped: Arc<Notify>,
    ) -> Self {
        Self {
            service,
            subscriptions,
            gate,
            shares,
            me,
            tripped,
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the pause of a subscription, as far as this process knows.
    pub(crate) fn of(&self, queue: Name) -> Option<Pause> {
        self.known().get(&queue).map(Pause::from)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Paused>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the records and applies them.
    pub(crate) async fn read(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let records = self.service.store.scan(PAUSED, None, RECORDS_MAX).await?;
        self.gate.read(&self.service).await?;
        self.shares.read(&self.service).await?;
        let mut known = self.decoded(&records)?;
        for (queue, paused) in &mut known {
            self.probe(*queue, paused).await?;
        }
        (*self.known()).clone_from(&known);
        for one in &self.subscriptions {
            self.apply(one, known.get(&one.owner));
        }
        Ok(())
    }

    /// Returns the records of the subscriptions that run here.
    fn decoded(&self, records: &[(String, Record)]) -> Result<BTreeMap<Name, Paused>> {
        let mut known = BTreeMap::new();
        for (id, record) in records {
            let mut here = self.subscriptions.iter();
            if let Some(one) = here.find(|it| it.owner.as_str() == id) {
                known.insert(one.owner, decode(&record.body)?);
            }
        }
        Ok(known)
    }

    /// Claims the probe of a subscription if it is due, or keeps the claim.
    async fn probe(&self, queue: Name, paused: &mut Paused) -> Result<()> {
        let here = self.subscriptions.iter();
        let can = here.filter(|it| it.owner == queue).any(|it| {
            let state = *it.control.borrow();
            it.switch.is_some() && !matches!(state, Control::Draining | Control::Standby)
        });
        let now = self.service.runtime.now();
        let due = paused
            .probe
            .as_ref()
            .is_some_and(|probe| match probe.taken {
                Some((by, until)) if by == self.me => until.since(now) < PROBE_LEASE / 2,
                Some((_, until)) => until <= now,
                None => probe.at <= now,
            });
        if !can || !due {
            return Ok(());
        }
        let seen = paused.clone();
        let claimed = self.change(queue, move |stored, now, me| {
            let mut next = stored.filter(|it| *it == seen)?;
            if let Some(probe) = &mut next.probe {
                probe.taken = Some((me, now + PROBE_LEASE));
            }
            Some(Some(next))
        });
        if let Some(Some(claimed)) = claimed.await? {
            *paused = claimed;
        }
        Ok(())
    }

    /// Pauses, resumes or probes a subscription of this process, unless it drains.
    fn apply(&self, one: &Controlled, paused: Option<&Paused>) {
        let probe = paused.and_then(|paused| paused.probe.as_ref());
        let taken = probe.and_then(|probe| probe.taken.as_ref());
        let probes = taken.is_some_and(|(by, _)| *by == self.me);
        if let Some(switch) = &one.switch {
            match paused {
                None => switch.close(),
                Some(_) if probes => switch.half_open(),
                Some(_) => switch.open(),
            }
        }
        let wanted = if (paused.is_some() && !probes) || self.gate.holds(one.queue) {
            Control::Paused
        } else if self.shares.is_elsewhere(one.queue) {
            Control::Standby
        } else {
            Control::Running
        };
        one.control.send_if_modified(|now| {
            let changes = *now != Control::Draining && *now != wanted;
            if changes {
                *now = wanted;
            }
            changes
        });
    }

    /// Follows the records until the service drains.
    pub(crate) async fn follow(self: Arc<Self>, mut control: watch::Receiver<Control>) {
        let runtime = &self.service.runtime;
        loop {
            tokio::select! {
                biased;
                _ = control.changed() => return self.shares.leave(&self.service).await,
                () = self.tripped.notified() => {}
                () = runtime.sleep(READ_EVERY + runtime.jitter(READ_EVERY / 8)) => {}
            }
            self.report().await;
            if let Err(why) = self.read().await {
                tracing::debug!(service = %self.service.name, code = why.code(), "cannot read which subscriptions are paused: {why}");
            }
        }
    }

    /// Stores what the kill switches of this process have found.
    async fn report(&self) {
        for one in &self.subscriptions {
            let Some(switch) = &one.switch else { continue };
            let Some(report) = switch.take_report() else {
                continue;
            };
            let _turn = self.turn.lock().await;
            if let Err(why) = self.store(one.owner, switch, &report).await {
                tracing::warn!(service = %self.service.name, queue = %one.owner, code = why.code(), "cannot store what the kill switch has found, trying again: {why}");
                switch.put_back(report);
            }
        }
    }

    async fn store(&self, queue: Name, switch: &Switch, report: &Report) -> Result<()> {
        let first = u64::try_from(switch.policy.probe_after.as_millis()).unwrap_or(u64::MAX);
        let longest = first.saturating_mul(u64::from(PROBE_GROWTH));
        match report {
            Report::Tripped(why) => {
                tracing::error!(%queue, "the kill switch pauses the subscription: {why}");
                let why = why.clone();
                self.change(queue, move |stored, now, _| {
                    stored.is_none().then(|| {
                        let probe = Probe {
                            at: now + Duration::from_millis(first),
                            pause: first,
                            taken: None,
                        };
                        Some(Paused {
                            since: now,
                            by: "kill switch".into(),
                            why: why.clone(),
                            probe: Some(probe),
                        })
                    })
                })
                .await?;
            }
            Report::Recovered => {
                tracing::info!(%queue, "a probe was handled: the subscription is resumed");
                self.change(queue, |stored, _, me| {
                    let taken = stored?.probe?.taken?;
                    (taken.0 == me).then_some(None)
                })
                .await?;
            }
            Report::Failed(why) => {
                tracing::warn!(%queue, "a probe has failed: {why}");
                self.change(queue, move |stored, now, me| {
                    let mut next = stored?;
                    let probe = next.probe.as_mut()?;
                    if probe.taken?.0 != me {
                        return None;
                    }
                    probe.pause = probe.pause.saturating_mul(2).min(longest);
                    probe.at = now + Duration::from_millis(probe.pause);
                    probe.taken = None;
                    Some(Some(next))
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Pauses or resumes a subscription in all processes. Returns once that is durable and applied
    /// here; `false` if the subscription does not run here.
    pub(crate) async fn set(&self, queue: Name, paused: bool, by: &Decision) -> Result<bool> {
        let all = self.subscriptions.iter().filter(|it| it.owner == queue);
        let all: Vec<&Controlled> = all.collect();
        if all.is_empty() {
            return Ok(false);
        }
        let _turn = self.turn.lock().await;
        let written = self.change_as(queue, by, |stored, now, _| match (stored, paused) {
            // The pause of a kill switch becomes one that no probe ends.
            (Some(stored), true) if stored.probe.is_none() => None,
            (_, true) => Some(Some(Paused {
                since: now,
                by: by.by.clone(),
                why: by.why.clone(),
                probe: None,
            })),
            (Some(_), false) => Some(None),
            (None, false) => None,
        });
        let written = written.await?;
        let mut known = self.known().get(&queue).cloned();
        if let Some(written) = written {
            known = written;
        }
        match &known {
            Some(paused) => self.known().insert(queue, paused.clone()),
            None => self.known().remove(&queue),
        };
        if paused && known.is_none() {
            // Another replica has paused it, and this one has not read that yet.
            known = Some(Paused {
                since: self.service.runtime.now(),
                by: String::new(),
                why: String::new(),
                probe: None,
            });
        }
        all.into_iter()
            .for_each(|one| self.apply(one, known.as_ref().filter(|_| paused)));
        Ok(true)
    }

    /// Replaces the record of a subscription by what `change` returns, if it returns anything.
    /// Returns the new record.
    async fn change(
        &self,
        queue: Name,
        change: impl Fn(Option<Paused>, Timestamp, Uuid) -> Option<Option<Paused>> + Send + Sync,
    ) -> Result<Option<Option<Paused>>> {
        self.change_as(queue, &Decision::by("kill switch"), change)
            .await
    }

    async fn change_as(
        &self,
        queue: Name,
        by: &Decision,
        change: impl Fn(Option<Paused>, Timestamp, Uuid) -> Option<Option<Paused>> + Send + Sync,
    ) -> Result<Option<Option<Paused>>> {
        let key = &Key::new(PAUSED, queue.as_str());
        let story = CorrelationId(self.service.runtime.id());
        let change = &change;
        unit::run(&self.service, || async move {
            let meta = Meta::without_message(story, self.service.runtime.now());
            let scope = Scope::new(Arc::clone(&self.service), meta);
            let answer = async {
                let stored = scope.load(key).await?.body;
                let stored = stored.map(|body| decode::<Paused>(&body)).transpose()?;
                let next = change(stored.clone(), scope.now(), self.me);
                if let Some(next) = &next {
                    record(&scope, queue, by, (stored.as_ref(), next.as_ref()))?;
                    scope.write(match next {
                        Some(next) => put(key.clone(), next),
                        None => remove(key.clone()),
                    })?;
                }
                Ok(next)
            };
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        })
        .await
    }
}

/// Records a pause or its end. Claims of probes are none.
fn record(
    scope: &Scope,
    queue: Name,
    by: &Decision,
    (before, after): (Option<&Paused>, Option<&Paused>),
) -> Result<()> {
    let what = match (before, after) {
        (_, None) => "resume",
        (None, Some(_)) => "pause",
        (Some(before), Some(after)) if before.by != after.by => "pause",
        (Some(_), Some(_)) => return Ok(()),
    };
    let note = after.map_or("", |after| &*after.why);
    record_action(scope, by, (what, queue.as_str()), note)
}

fn put(key: Key, paused: &Paused) -> Write {
    Write {
        key,
        body: Some(encode(paused)),
        due_at: None,
        expires_at: None,
    }
}
