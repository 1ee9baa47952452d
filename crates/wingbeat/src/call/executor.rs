use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::{Error, HttpClient, MessageType, Result};

use super::definition::{Call, GaveUp as _};
use crate::effects::{Effects, IntoEffects as _};
use crate::extract::{Arguments, Extract, ExtractAll};
use crate::handler::Handler;
use crate::{TargetPolicy, decode, telemetry};

/// The context of an executor. It has no unit: an executor cannot read or change the service's data.
#[derive(Clone)]
pub struct CallContext {
    pub(crate) operation: String,
    pub(crate) attempts: u32,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) policy: TargetPolicy,
}

/// The idempotency key of a call. It names the business operation, not the attempt.
#[derive(Clone, Debug)]
pub struct OperationKey(pub String);

/// An HTTP client for executors, with the policy of the call's target.
#[derive(Clone)]
pub struct Http {
    /// The client. It adds the trace of the call to each request.
    pub client: Arc<dyn HttpClient>,
    /// The policy of the target.
    pub policy: TargetPolicy,
    /// An earlier attempt may have taken effect: ask the outside system before you repeat it.
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

/// Adds `traceparent` (W3C Trace Context) to outgoing requests.
struct Traced(Arc<dyn HttpClient>);

impl HttpClient for Traced {
    fn send(&self, mut request: Request) -> BoxFuture<'_, Result<Response>> {
        const NAME: &str = "traceparent";
        let present = |(name, _): &(String, String)| name.eq_ignore_ascii_case(NAME);
        if let Some(context) = telemetry::current()
            && !request.headers.iter().any(present)
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

/// An executor, erased: attempts a call, or makes the outcome of a call that is given up.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) attempt: Attempt,
    pub(crate) give_up: GiveUp,
    /// The types of the messages that an outcome may contain.
    pub(crate) returns: Vec<MessageType>,
}

/// An async function that may be registered with [`Service::calls`](crate::Service::calls).
pub trait CallHandler<Args, S>: Handler<Args> {
    /// Erases the executor.
    fn executor(self, state: S) -> Planned;
}

/// See [`CallHandler::executor`].
pub struct Planned(pub(crate) Executor);

/// The result of an executor: the call's outcome, or an error.
pub trait OutcomeOf<C: Call>: Send {
    /// Converts the outcome to effects.
    ///
    /// # Errors
    ///
    /// Those of the executor.
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
