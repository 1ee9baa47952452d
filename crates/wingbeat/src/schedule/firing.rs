//! One run of a scheduled handler.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use metrics::counter;
use wingbeat_core::store::DueRecord;
use wingbeat_core::{
    Class, CorrelationId, Error, Name, Result, RuntimeExt as _, Timestamp, TraceParent, sabotage,
};

use super::plan::Plan;
use super::record::{LastRun, ScheduleRecord};
use crate::decode;
use crate::handler::Scheduled;
use crate::recording::{Input, Tape};
use crate::telemetry::{self, Context};
use crate::unit::{self, Meta, Scope, ServiceContext};

/// The pause after the first failed attempt. It doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// A schedule, and the version of its record. The next run can begin before the last has returned.
type Run = (Name, &'static str, u64);

/// The runs that this process makes now. The lease of a record ends before a long run does.
#[derive(Clone, Default)]
pub(crate) struct Ongoing(Arc<Mutex<BTreeSet<Run>>>);

impl Ongoing {
    fn begin(&self, run: Run) -> Option<Turn> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(run).then(|| Turn {
            all: self.clone(),
            run,
        })
    }
}

/// Ends a run when it is dropped.
struct Turn {
    all: Ongoing,
    run: Run,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.run);
    }
}

/// A run that is due, and the means to make it.
#[derive(Clone)]
pub(crate) struct Firing {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) name: &'static str,
    pub(crate) plan: Plan,
    pub(crate) run: Scheduled,
    pub(crate) ongoing: Ongoing,
}

impl Firing {
    /// Makes the run of a claimed record, unless this process makes it already.
    pub(crate) async fn fire(self, record: DueRecord) {
        let run = (self.service.name, self.name, record.record.version);
        let Some(_turn) = self.ongoing.begin(run) else {
            return;
        };
        let made = unit::within_lease(&self.service, || self.attempt(&record));
        if let Err(why) = made.await {
            // The lease expires, and a replica claims the record again.
            tracing::warn!(service = %self.service.name, schedule = self.name, code = why.code(), "the result of a scheduled handler cannot be stored: {why}");
        }
    }

    async fn attempt(&self, record: &DueRecord) -> Result<()> {
        let stored: ScheduleRecord = decode(&record.record.body)?;
        let now = self.service.runtime.now();
        if self.plan.skips(stored.tick, now) {
            self.count("skipped");
            tracing::warn!(service = %self.service.name, schedule = self.name, tick = %stored.tick, "a missed run is skipped");
            return self
                .store(record, &self.after(&stored, Some("skipped")))
                .await;
        }
        let ran = AssertUnwindSafe(self.spanned(record, &stored)).catch_unwind();
        let ran = ran
            .await
            .unwrap_or_else(|_| Err(Error::reject("panicked", "the handler panicked")));
        let Err(why) = ran else {
            self.count("ok");
            return Ok(());
        };
        self.count("failed");
        telemetry::failed_on(&tracing::Span::current(), why.code());
        tracing::warn!(service = %self.service.name, schedule = self.name, tick = %stored.tick, code = why.code(), "a scheduled handler failed: {why}");
        self.store(record, &self.failed(&stored, &why)).await
    }

    async fn spanned(&self, record: &DueRecord, stored: &ScheduleRecord) -> Result<()> {
        let story = CorrelationId(self.service.runtime.id());
        let context = Context {
            correlation: Some(story),
            ..Context::at(TraceParent::of(story.0))
        };
        let span = telemetry::unit_span(
            format_args!("schedule {}", self.name),
            self.service.name,
            context.trace,
            None,
        );
        context
            .run(span, Box::pin(self.run_once(story, record, stored)))
            .await
    }

    /// Runs the handler and stores the next planned time, in one unit.
    async fn run_once(
        &self,
        story: CorrelationId,
        record: &DueRecord,
        stored: &ScheduleRecord,
    ) -> Result<()> {
        self.commit(story, stored.tick, |scope| async move {
            if !is_current(&scope, record).await? {
                return Ok(());
            }
            scope.record_attempt(|it| Tape::new(it, self.input(stored.tick)))?;
            (self.run)(scope.clone()).await?;
            let (next, due) = self.after(stored, None);
            scope.write(next.write(record.key.clone(), due))
        })
        .await
    }

    fn input(&self, tick: Timestamp) -> Input {
        Input::Schedule {
            name: self.name.to_owned(),
            tick,
        }
    }

    /// Stores the state after a run without effects.
    async fn store(
        &self,
        record: &DueRecord,
        (next, due): &(ScheduleRecord, Timestamp),
    ) -> Result<()> {
        let story = CorrelationId(self.service.runtime.id());
        self.commit(story, next.tick, |scope| async move {
            if !is_current(&scope, record).await? {
                return Ok(());
            }
            scope.write(next.write(record.key.clone(), *due))
        })
        .await
    }

    async fn commit<F>(
        &self,
        story: CorrelationId,
        tick: Timestamp,
        build: impl Fn(Scope) -> F + Send + Sync,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let meta = || Meta::without_message(story, tick);
        unit::run_with(&self.service, meta, build).await
    }

    /// The state after a run that succeeded, or failed for good with this code.
    fn after(&self, stored: &ScheduleRecord, failed: Option<&str>) -> (ScheduleRecord, Timestamp) {
        let now = self.service.runtime.now();
        let tick = self.plan.next(stored.tick, now);
        let next = ScheduleRecord {
            last: Some(LastRun {
                tick: stored.tick,
                at: now,
                failed: failed.map(str::to_owned),
            }),
            ..ScheduleRecord::new(self.plan.text(), tick)
        };
        (next, tick)
    }

    /// The state after a failed attempt. A retryable error is retried until the next planned time,
    /// which takes over, unless each planned time needs its own run.
    fn failed(&self, stored: &ScheduleRecord, why: &Error) -> (ScheduleRecord, Timestamp) {
        let now = self.service.runtime.now();
        let pause = BACKOFF
            .saturating_mul(1 << stored.failures.min(16))
            .min(BACKOFF_MAX);
        let again = now + pause;
        let superseded = !self.plan.keeps_all() && again >= self.plan.next(stored.tick, now);
        if why.class() == Class::Reject || superseded {
            return self.after(stored, Some(why.code()));
        }
        let next = ScheduleRecord {
            failures: stored.failures.saturating_add(1),
            ..stored.clone()
        };
        (next, again)
    }

    fn count(&self, outcome: &'static str) {
        let labels = [
            ("service", self.service.name.as_str()),
            ("schedule", self.name),
            ("outcome", outcome),
        ];
        counter!("wingbeat_schedule_runs_total", &labels).increment(1);
    }
}

/// Reads the record in this unit. Returns `false` if another replica has made the run, or an
/// operator has paused the schedule.
async fn is_current(scope: &Scope, record: &DueRecord) -> Result<bool> {
    if sabotage::lacks(sabotage::SCHEDULE_ONCE) {
        return Ok(true);
    }
    let loaded = scope.load(&record.key).await?;
    Ok(loaded.body.as_ref() == Some(&record.record.body))
}
