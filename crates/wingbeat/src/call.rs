//! Outside calls: recorded by handlers, carried out after the commit, answered by a message.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::{
    CorrelationId, Error, HttpClient, MessageType, Name, Result, Timestamp, TraceParent,
};

use crate::effects::{Effects, IntoEffects};
use crate::extract::{Arguments, Extract, ExtractAll};
use crate::handler::Handler;
use crate::{TargetPolicy, decode, telemetry};

/// Where calls wait.
pub(crate) const TABLE: Name = Name::new("wb.call");

/// A call to an outside system, as data. Derive it.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a call", note = "derive `Call` for it")]
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The call's name.
    const NAME: &'static str;
    /// The outside system, with its timeout, bulkhead and breaker.
    const TARGET: &'static str;
    /// What comes back as a message.
    type Outcome: IntoEffects + GaveUp<Self> + Send;

    /// The business operation: the idempotency key, the same over all attempts.
    fn operation(&self) -> String;
}

/// How an outcome says that the call was given up, so that a call always comes back.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot say that `{C}` was given up")]
pub trait GaveUp<C: ?Sized> {
    /// The outcome of a call that was rejected or ran out of time.
    fn gave_up(call: &C, why: &Error) -> Self;
}

/// A call that waits in the store.
#[derive(Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// What its outcome was caused by.
    pub id: Uuid,
    /// The call's name.
    pub name: String,
    /// The idempotency key.
    pub operation: String,
    /// The story it belongs to.
    pub correlation: CorrelationId,
    /// When it was asked for.
    pub first_at: Timestamp,
    /// Failed attempts so far.
    pub attempts: u32,
    /// The span that asked for it; what was stored by older releases has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// The call.
    pub body: Box<RawValue>,
}

/// What an executor works with. There is no unit: an executor cannot read or change the service's data.
#[derive(Clone)]
pub struct CallContext {
    pub(crate) operation: String,
    pub(crate) attempts: u32,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) policy: TargetPolicy,
}

/// The idempotency key of a call: names the business operation, not the attempt.
#[derive(Clone, Debug)]
pub struct OperationKey(pub String);

/// HTTP to the outside, with the target's timeout.
#[derive(Clone)]
pub struct Http {
    /// The client.
    pub client: Arc<dyn HttpClient>,
    /// The target's policy.
    pub policy: TargetPolicy,
    /// Whether an earlier attempt may have acted: ask before doing it again.
    pub retried: bool,
}

impl<S> Extract<CallContext, S> for OperationKey {
    fn extract(cx: &CallContext, _state: &S) -> Result<Self> {
        Ok(Self(cx.operation.clone()))
    }
}

impl<S> Extract<CallContext, S> for Http {
    fn extract(cx: &CallContext, _state: &S) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Traced(Arc::clone(&cx.http))),
            policy: cx.policy.clone(),
            retried: cx.attempts > 0,
        })
    }
}

/// Tells the outside which trace a request belongs to.
struct Traced(Arc<dyn HttpClient>);

impl HttpClient for Traced {
    fn send(&self, mut request: Request) -> BoxFuture<'_, Result<Response>> {
        const NAME: &str = "traceparent";
        let told = |(name, _): &(String, String)| name.eq_ignore_ascii_case(NAME);
        if let Some(context) = telemetry::current()
            && !request.headers.iter().any(told)
        {
            let parent = context.trace.to_string();
            request.headers.push((NAME.into(), parent));
        }
        telemetry::outside(&request);
        Box::pin(async move {
            let answer = self.0.send(request).await;
            if let Ok(answer) = &answer {
                telemetry::answered(&tracing::Span::current(), answer.status);
            }
            answer
        })
    }
}

type Attempt = Arc<dyn Fn(CallContext, &[u8]) -> BoxFuture<'static, Result<Effects>> + Send + Sync>;
type GiveUp = Arc<dyn Fn(&[u8], &Error) -> Result<Effects> + Send + Sync>;

/// An executor, erased: attempts the call, or says how it is given up.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) attempt: Attempt,
    pub(crate) give_up: GiveUp,
    /// The types of the messages that an outcome may contain.
    pub(crate) returns: Vec<MessageType>,
}

/// An async function that carries out calls.
pub trait CallHandler<Args, S>: Handler<Args> {
    /// The executor, erased.
    fn executor(self, state: S) -> Planned;
}

/// See [`CallHandler::executor`].
pub struct Planned(pub(crate) Executor);

/// The result of an executor: the call's outcome, or a failure to be retried.
pub trait OutcomeOf<C: Call>: Send {
    /// As effects.
    ///
    /// # Errors
    ///
    /// The executor's failure.
    fn outcome(self) -> Result<Effects>;
}

impl<C: Call, E: Into<Error> + Send> OutcomeOf<C> for Result<C::Outcome, E> {
    fn outcome(self) -> Result<Effects> {
        let mut effects = Effects::new();
        self.map_err(Into::into)?.into_effects(&mut effects);
        Ok(effects)
    }
}

impl<H, Args, S> CallHandler<Args, S> for H
where
    H: Handler<Args>,
    Args: Arguments + 'static,
    Args::First: Call,
    Args::Rest: ExtractAll<CallContext, S>,
    H::Output: OutcomeOf<Args::First>,
    H::Future: Send,
    S: Clone + Send + Sync + 'static,
{
    fn executor(self, state: S) -> Planned {
        let mut returns = Vec::new();
        <Args::First as Call>::Outcome::describe(&mut returns);
        Planned(Executor {
            returns,
            name: Args::First::NAME,
            target: Args::First::TARGET,
            attempt: Arc::new(move |cx, body| {
                let prepared = decode::<Args::First>(body).and_then(|call| {
                    let rest = Args::Rest::extract_all(&cx, &state)?;
                    Ok(self.call(Args::join(call, rest)))
                });
                Box::pin(async move { prepared?.await.outcome()?.checked() })
            }),
            give_up: Arc::new(|body, why| {
                let call = decode::<Args::First>(body)?;
                let mut effects = Effects::new();
                <Args::First as Call>::Outcome::gave_up(&call, why).into_effects(&mut effects);
                Ok(effects)
            }),
        })
    }
}
