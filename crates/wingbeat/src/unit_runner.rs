//! Units of work that no message and no command asked for: seeding, and routes that act once a unit
//! is durable.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::unit::Outcome;
use wingbeat_core::{CorrelationId, Error, Result, RuntimeExt as _, TraceParent};

use crate::scope::ServiceContext;
use crate::telemetry::{self, Context};
use crate::{Meta, Scope};

/// Attempts on stale reads; each one means that somebody else succeeded.
const ATTEMPTS_MAX: u32 = 1_000;

/// Attempts at statements that do not do what is expected of them, before the caller is told.
pub(crate) const UNMET_MAX: u32 = 3;

/// Runs `work` in a unit of its own until what it read was still true when it was committed, and
/// returns what it returned once that is durable. A failure takes no effect, but what it was based on
/// is validated like a write.
///
/// # Errors
///
/// The work's own; the store's; retryable ones when too much waits or too many others interfere, and
/// `rows_unexpected` or `statement_busy` when a statement keeps failing its expectation.
pub async fn run_unit<T, E, F>(
    context: &Arc<ServiceContext>,
    work: impl Fn(Scope) -> F + Send,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send,
    E: From<Error>,
{
    let work = Box::pin(attempts(context, work));
    if telemetry::current().is_some() {
        return work.await;
    }
    let trace = TraceParent::of(context.runtime.id());
    let span = telemetry::working(format_args!("unit"), context.name, trace, None);
    Context::at(trace).run(span, work).await
}

async fn attempts<T, E, F>(
    context: &Arc<ServiceContext>,
    work: impl Fn(Scope) -> F + Send,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send,
    E: From<Error>,
{
    let mut unmet = 0;
    for attempt in 0..ATTEMPTS_MAX {
        let scope = Scope::new(Arc::clone(context), story(context));
        let answer = work(scope.clone()).await;
        let mut unit = scope.seal(None)?;
        if answer.is_err() {
            unit = unit.only_reads();
        }
        if unit.is_empty() {
            return answer;
        }
        if context.committer.is_full() {
            return Err(Error::retry("overloaded", "too much is waiting to be stored").into());
        }
        let due = unit.writes.iter().filter_map(|write| write.due_at).min();
        match context.committer.commit(unit).await {
            Outcome::Committed => {
                if let Some(due) = due {
                    context.due.at(due);
                }
                return answer;
            }
            Outcome::Refused => {
                return Err(Error::reject("refused", "the store refuses this").into());
            }
            Outcome::Unmet(why) => {
                unmet += 1;
                if unmet == UNMET_MAX {
                    return Err(Error::from(why).into());
                }
                back_off(context, attempt).await;
            }
            Outcome::Stale | Outcome::Duplicate => back_off(context, attempt).await,
        }
    }
    Err(Error::retry("contended", "too many others are changing the same thing").into())
}

fn story(context: &ServiceContext) -> Meta {
    Meta {
        correlation: CorrelationId(context.runtime.id()),
        message: None,
        operation: None,
        sequence: None,
        time: context.runtime.now(),
    }
}

/// A pause now and then, so that those who interfere get done.
pub(crate) async fn back_off(context: &ServiceContext, attempt: u32) {
    if attempt % 8 == 7 {
        let most = Duration::from_millis(u64::from(attempt.min(50)));
        let pause = context.runtime.jitter(most);
        context.runtime.sleep(pause).await;
    }
}
