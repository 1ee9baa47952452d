//! Creates the records of a service's schedules, and pauses and resumes schedules.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::{CorrelationId, Error, Name, Result, RuntimeExt as _, Timestamp};

use super::plan::Plan;
use super::record::{ScheduleRecord, key};
use crate::decode;
use crate::runtime::Control;
use crate::unit::{self, Meta, ServiceContext};

/// The pause before the store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The schedules of one service.
pub(crate) struct Keeper {
    service: Arc<ServiceContext>,
    plans: Vec<(&'static str, Plan)>,
}

/// The state of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// Its service.
    pub service: Name,
    /// Its name within the service.
    pub name: &'static str,
    /// Its planned times: a period, or a cron expression and a time zone.
    pub times: String,
    /// The time at which an operator paused it.
    pub paused: Option<Timestamp>,
    /// The planned time of the next run, unless it is paused.
    pub next: Option<Timestamp>,
    /// The planned time of the last run.
    pub last: Option<Timestamp>,
    /// The time at which that run was made.
    pub last_at: Option<Timestamp>,
    /// The code of the error with which it failed, or `skipped`.
    pub failed: Option<String>,
}

impl Keeper {
    pub(crate) fn new(service: Arc<ServiceContext>, plans: Vec<(&'static str, Plan)>) -> Self {
        Self { service, plans }
    }

    /// Stores the plan of each schedule that has none or another one. Tries until the store answers
    /// or the service drains.
    pub(crate) async fn establish(self: Arc<Self>, mut control: watch::Receiver<Control>) {
        for (name, plan) in &self.plans {
            loop {
                let Err(why) = self.store(name, plan).await else {
                    break;
                };
                tracing::warn!(service = %self.service.name, schedule = name, code = why.code(), "cannot store a schedule, trying again: {why}");
                tokio::select! {
                    biased;
                    _ = control.changed() => return,
                    () = self.service.runtime.sleep(AGAIN) => {}
                }
            }
        }
    }

    async fn store(&self, name: &'static str, plan: &Plan) -> Result<()> {
        self.change(name, |stored, now| {
            if stored.as_ref().is_some_and(|it| it.plan == plan.text()) {
                return None;
            }
            let next = ScheduleRecord::new(plan.text(), plan.first(now));
            Some(match stored {
                Some(stored) => ScheduleRecord {
                    paused: stored.paused,
                    last: stored.last,
                    ..next
                },
                None => next,
            })
        })
        .await
    }

    /// Pauses or resumes a schedule. Returns `false` if the service has none with this name. A
    /// resumed schedule continues with its next planned time.
    pub(crate) async fn set(&self, name: &str, paused: bool) -> Result<bool> {
        let Some((name, plan)) = self.plans.iter().find(|(of, _)| *of == name) else {
            return Ok(false);
        };
        self.change(name, |stored, now| {
            let next = || ScheduleRecord::new(plan.text(), plan.first(now));
            let stored = stored.unwrap_or_else(next);
            match (stored.paused, paused) {
                (None, true) => Some(ScheduleRecord {
                    paused: Some(now),
                    failures: 0,
                    ..stored
                }),
                (Some(_), false) => Some(ScheduleRecord {
                    last: stored.last,
                    ..next()
                }),
                (Some(_), true) | (None, false) => None,
            }
        })
        .await?;
        Ok(true)
    }

    /// Returns the state of each schedule.
    pub(crate) async fn statuses(&self) -> Result<Vec<ScheduleStatus>> {
        let mut all = Vec::new();
        for (name, plan) in &self.plans {
            let record = self.service.store.load(&key(name)).await?;
            let stored = match record {
                Some(record) => Some(decode::<ScheduleRecord>(&record.body)?),
                None => None,
            };
            let last = stored.as_ref().and_then(|it| it.last.clone());
            all.push(ScheduleStatus {
                service: self.service.name,
                name,
                times: plan.text().to_owned(),
                paused: stored.as_ref().and_then(|it| it.paused),
                next: stored.filter(|it| it.paused.is_none()).map(|it| it.tick),
                last: last.as_ref().map(|it| it.tick),
                last_at: last.as_ref().map(|it| it.at),
                failed: last.and_then(|it| it.failed),
            });
        }
        Ok(all)
    }

    /// Replaces the record of a schedule by what `change` returns, if it returns anything.
    async fn change(
        &self,
        name: &'static str,
        change: impl Fn(Option<ScheduleRecord>, Timestamp) -> Option<ScheduleRecord> + Send + Sync,
    ) -> Result<()> {
        let story = CorrelationId(self.service.runtime.id());
        let meta = || Meta::without_message(story, self.service.runtime.now());
        let change = &change;
        unit::run_with(&self.service, meta, |scope| async move {
            let loaded = scope.load(&key(name)).await?;
            let stored = loaded.body.map(|body| decode(&body)).transpose()?;
            match change(stored, scope.now()) {
                Some(next) => scope.write(next.write(key(name), next.tick)),
                None => Ok::<(), Error>(()),
            }
        })
        .await
    }
}
