//! The retry loop of every unit whose caller waits for the commit.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::unit::{Outcome, Settled};
use wingbeat_core::{Class, CorrelationId, Error, Result, RuntimeExt as _, TraceParent, Unit};

use super::{Meta, Scope, ServiceContext};
use crate::telemetry::{self, Context};

/// Attempts on stale reads. Each one means that another unit succeeded.
const ATTEMPTS_MAX: u32 = 1_000;

/// Attempts at statements with unexpected row counts, before the caller gets the error.
const UNMET_MAX: u32 = 3;

/// One attempt: the effects that it recorded, and its answer.
pub(crate) struct Attempt<T, E> {
    pub(crate) scope: Scope,
    /// The delivery that the unit settles, if any.
    pub(crate) settles: Option<Settled>,
    pub(crate) answer: Result<T, E>,
}

/// The state of a unit after its commit.
pub(crate) enum Ended {
    /// It is durable, or another unit has settled its delivery.
    Done,
    /// It read stale data: run the handler again.
    Stale,
    /// It had no effect. A retryable error is worth another attempt.
    Failed(Error),
}

impl From<Outcome> for Ended {
    /// Maps each outcome of a commit to the state of its unit. No other code matches on outcomes.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed | Outcome::Duplicate => Self::Done,
            Outcome::Stale => Self::Stale,
            Outcome::Unmet(why) => Self::Failed(why.into()),
            Outcome::Refused => {
                Self::Failed(Error::reject("refused", "the store refuses this unit"))
            }
        }
    }
}

/// Makes attempts until the store commits one, that is until its reads are still current. Returns
/// the answer of that attempt once its unit is durable. A failed answer takes no effect, but its
/// reads are validated like those of a success.
///
/// # Errors
///
/// Those of the answer, and: `bodies_unavailable` if the body of a message cannot be stored;
/// `overloaded` if too many units wait for the store; `contended` after 1,000 stale attempts;
/// `refused` if the store cannot take the unit; `rows_unexpected` or `statement_busy` if a
/// statement misses its expectation three times.
pub(crate) async fn run<T, E, F>(
    service: &ServiceContext,
    mut attempt: impl FnMut() -> F + Send,
) -> Result<T, E>
where
    F: Future<Output = Attempt<T, E>> + Send,
    E: From<Error>,
{
    let mut unmet = 0;
    for number in 0..ATTEMPTS_MAX {
        let Attempt {
            scope,
            settles,
            answer,
        } = attempt().await;
        let answer = match answer {
            Ok(answer) => scope.store_bodies().await.map(|()| answer).map_err(E::from),
            failed => failed,
        };
        let mut unit = scope.seal(settles)?;
        if answer.is_err() {
            unit = Unit {
                settles: Vec::new(),
                ..unit.only_reads()
            };
        }
        if unit.is_empty() {
            return answer;
        }
        if service.committer.is_full() {
            return Err(Error::retry("overloaded", "too many units wait for the store").into());
        }
        match Ended::from(service.committer.commit(unit).await) {
            Ended::Done => return answer,
            Ended::Stale => {}
            Ended::Failed(why) => {
                unmet += 1;
                if why.class() == Class::Reject || unmet == UNMET_MAX {
                    return Err(why.into());
                }
            }
        }
        back_off(service, number).await;
    }
    Err(Error::retry("contended", "other units change the same records too often").into())
}

/// Runs `work` in a unit of its own until the store commits it, and returns the answer once the
/// unit is durable.
///
/// For code beside the handlers: seeding, and routes that act once a unit is durable. `work` runs
/// again after each stale attempt, so it must not have effects of its own.
///
/// # Errors
///
/// Those of `work` and of the store, and: `overloaded` if too many units wait for the store;
/// `contended` after 1,000 stale attempts; `refused` if the store cannot take the unit;
/// `rows_unexpected` or `statement_busy` if a statement misses its expectation three times.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use wingbeat::{Claims, Result, ServiceContext, run_unit};
///
/// /// Claims a seat; returns `false` if somebody else has it.
/// async fn claim_seat(service: &Arc<ServiceContext>, seat: &str, owner: &str) -> Result<bool> {
///     run_unit(service, |scope| async move {
///         Claims::of(&scope).claim("seat", seat, owner).await
///     })
///     .await
/// }
/// ```
pub async fn run_unit<T, E, F>(
    context: &Arc<ServiceContext>,
    work: impl Fn(Scope) -> F + Send + Sync,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send,
    E: From<Error> + Send,
    T: Send,
{
    let meta = || {
        let (id, now) = (context.runtime.id(), context.runtime.now());
        Meta::without_message(CorrelationId(id), now)
    };
    let work = Box::pin(run_with(context, meta, work));
    if telemetry::current().is_some() {
        return work.await;
    }
    let trace = TraceParent::of(context.runtime.id());
    let span = telemetry::unit_span(format_args!("unit"), context.name, trace, None);
    Context::at(trace).run(span, work).await
}

/// Runs `work` in a unit that settles no delivery. Each attempt has the metadata that `meta`
/// returns then. The caller sets the context of the work.
///
/// # Errors
///
/// Those of [`run`].
pub(crate) async fn run_with<T, E, F>(
    context: &Arc<ServiceContext>,
    meta: impl Fn() -> Meta + Send + Sync,
    work: impl Fn(Scope) -> F + Send + Sync,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send,
    E: From<Error> + Send,
    T: Send,
{
    let attempt = || {
        let scope = Scope::new(Arc::clone(context), meta());
        let answer = work(scope.clone());
        async move {
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        }
    };
    run(context, attempt).await
}

/// The time within which the work of a claimed record is repeated, shorter than its lease.
const WITHIN_LEASE: Duration = Duration::from_secs(20);
/// The first pause between two repetitions. It doubles up to [`REPEAT_MAX`].
const REPEAT: Duration = Duration::from_millis(20);
/// The longest pause between two repetitions.
const REPEAT_MAX: Duration = Duration::from_secs(1);

/// Repeats the work of a claimed due record until it succeeds, so that a short outage of the store
/// does not cost the rest of the lease. Returns the last error shortly before the lease ends.
pub(crate) async fn within_lease<F>(
    service: &ServiceContext,
    work: impl Fn() -> F + Send + Sync,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send,
{
    let began = service.runtime.elapsed();
    let mut pause = REPEAT;
    loop {
        let Err(why) = work().await else {
            return Ok(());
        };
        let passed = service.runtime.elapsed().saturating_sub(began);
        if why.class() == Class::Reject || passed + pause > WITHIN_LEASE {
            return Err(why);
        }
        service.runtime.sleep(pause).await;
        pause = (pause * 2).min(REPEAT_MAX);
    }
}

/// Pauses after every eighth attempt, so that competing units finish.
pub(crate) async fn back_off(service: &ServiceContext, attempt: u32) {
    if attempt % 8 == 7 {
        let most = Duration::from_millis(u64::from(attempt.min(50)));
        let pause = service.runtime.jitter(most);
        service.runtime.sleep(pause).await;
    }
}
