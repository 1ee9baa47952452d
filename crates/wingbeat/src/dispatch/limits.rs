//! Limits of subscriptions and outside systems that an operator has changed.
//!
//! Each change is a record in the store of its service, like a [pause](super::pauses): all replicas
//! find it, and a process that starts later does, too. The replica that writes the record applies
//! it at once; the others read the records once a second.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wingbeat_core::unit::Write;
use wingbeat_core::{Error, Key, Name, Result, RuntimeExt as _, Timestamp};

use crate::limit::Flow;
use crate::policy::{Limits, NewLimits, Priority, Rate};
use crate::runtime::Control;
use crate::unit::{OwnTable, ServiceContext, remove, run_unit};
use crate::{decode, encode};

/// The table of changed limits; ids are the names of queues and of flows of outside systems.
const LIMITS: Name = Name::new("wb.limits");
/// The pause between two reads, before the random part that spreads the replicas.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Records read at once. No service has that many subscriptions and outside systems.
const RECORDS_MAX: usize = 1_000;

/// Changed limits, for the verification of what is stored.
pub(crate) const LIMITS_STORED: OwnTable = OwnTable::of::<Changed>(LIMITS);

/// The content of a record: the limits that differ from those of the code.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Changed {
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<StoredRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_tenant: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct StoredRate {
    starts: u32,
    per_ms: u64,
}

impl Changed {
    /// Returns the limits where the code has the limits `coded`.
    fn over(self, coded: Limits) -> Limits {
        let rate = self.rate.map(|it| Rate {
            starts: it.starts,
            per: Duration::from_millis(it.per_ms),
        });
        Limits {
            concurrency: self.concurrency.unwrap_or(coded.concurrency),
            rate: rate.or(coded.rate),
            // Another release may have no tenants.
            per_tenant: coded.per_tenant.map(|it| self.per_tenant.unwrap_or(it)),
            priority: self.priority.unwrap_or(coded.priority),
        }
    }
}

/// A subscription or an outside system of this process.
struct Limited {
    coded: Limits,
    flow: Arc<Flow>,
}

/// The limits of the subscriptions and outside systems of one service in this process.
pub(crate) struct Limiting {
    service: Arc<ServiceContext>,
    all: Vec<Limited>,
    /// Held from reading or writing the records until they are applied: a slow read must not undo
    /// what a later write has applied.
    turn: tokio::sync::Mutex<()>,
}

impl Limiting {
    /// `flows` have the limits of the code at first.
    pub(crate) fn new(service: Arc<ServiceContext>, flows: Vec<Arc<Flow>>) -> Self {
        let limited = |flow: Arc<Flow>| Limited {
            coded: flow.limits(),
            flow,
        };
        Self {
            service,
            all: flows.into_iter().map(limited).collect(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the records and applies them.
    pub(crate) async fn read(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let records = self.service.store.scan(LIMITS, None, RECORDS_MAX).await?;
        for limited in &self.all {
            let mut records = records.iter();
            let record = records.find(|(id, _)| id == limited.flow.name());
            let changed = record.map(|(_, record)| decode::<Changed>(&record.body));
            limited.apply(changed.transpose()?);
        }
        Ok(())
    }

    /// Follows the records until the service drains.
    pub(crate) async fn follow(self: Arc<Self>, mut control: watch::Receiver<Control>) {
        let runtime = &self.service.runtime;
        loop {
            tokio::select! {
                biased;
                _ = control.changed() => return,
                () = runtime.sleep(READ_EVERY + runtime.jitter(READ_EVERY / 8)) => {}
            }
            if let Err(why) = self.read().await {
                tracing::debug!(service = %self.service.name, code = why.code(), "cannot read which limits were changed: {why}");
            }
        }
    }

    /// Changes limits in all processes. Returns once that is durable and applied here; `false` if
    /// there is no such flow here.
    pub(crate) async fn set(&self, name: &str, wanted: NewLimits) -> Result<bool> {
        let Some(limited) = self.all.iter().find(|it| it.flow.name() == name) else {
            return Ok(false);
        };
        check(name, wanted, &limited.flow, limited.coded)?;
        let NewLimits {
            concurrency,
            rate,
            per_tenant,
            priority,
        } = wanted;
        let _turn = self.turn.lock().await;
        let rate = rate.map(|rate| StoredRate {
            starts: rate.starts,
            per_ms: u64::try_from(rate.per.as_millis()).unwrap_or(u64::MAX),
        });
        let changed = Changed {
            since: self.service.runtime.now(),
            concurrency,
            rate,
            per_tenant,
            priority,
        };
        let changed = (wanted != NewLimits::default()).then_some(changed);
        self.write(name, changed).await?;
        limited.apply(changed);
        Ok(true)
    }

    async fn write(&self, name: &str, changed: Option<Changed>) -> Result<()> {
        let key = &Key::new(LIMITS, name);
        run_unit(&self.service, |scope| async move {
            let is_stored = scope.load(key).await?.body.is_some();
            match changed {
                Some(changed) => scope.write(Write {
                    key: key.clone(),
                    body: Some(encode(&changed)),
                    due_at: None,
                    expires_at: None,
                }),
                None if is_stored => scope.write(remove(key.clone())),
                None => Ok(()),
            }
        })
        .await
    }
}

impl Limited {
    fn apply(&self, changed: Option<Changed>) {
        let limits = changed.map_or(self.coded, |it| it.over(self.coded));
        self.flow.set(limits);
    }
}

/// Checks that limits make sense.
///
/// # Errors
///
/// `limit_invalid`.
fn check(name: &str, wanted: NewLimits, flow: &Flow, coded: Limits) -> Result<()> {
    let NewLimits {
        concurrency,
        rate,
        per_tenant,
        priority,
    } = wanted;
    let most = Limits::CONCURRENCY_MAX;
    let is_wrong = |count: Option<usize>| count.is_some_and(|it| !(1..=most).contains(&it));
    let text = if is_wrong(concurrency) || is_wrong(per_tenant) {
        format!("the concurrency of {name} must be from 1 to {most}")
    } else if rate.is_some_and(|it| it.is_too_low() || it.per.as_millis() == 0) {
        format!("the rate of {name} must be at least one a minute")
    } else if per_tenant.is_some() && coded.per_tenant.is_none() {
        format!("the code does not say what a tenant of {name} is")
    } else if priority.is_some() && !flow.has_priority() {
        format!("the service of {name} does not limit its runs, so a priority has no effect")
    } else {
        return Ok(());
    };
    Err(Error::reject("limit_invalid", text))
}
