//! Executors of calls: their trait, their context and their extractors.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, HttpClient, MessageType, Propagation, Result};

use super::definition::{Call, GaveUp as _};
use super::postponement::TargetReport;
use crate::effects::{Effects, IntoEffects as _};
use crate::extract::{Arguments, Extract, ExtractAll};
use crate::handler::Handler;
use crate::policy::Priority;
use crate::state::Reads;
use crate::{TargetPolicy, decode, decodes, telemetry};

/// The context of an executor. It has no unit of work: an executor cannot change the service's
/// data.
#[derive(Clone)]
pub struct CallContext {
    pub(crate) operation: String,
    pub(crate) attempts: u32,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) policy: TargetPolicy,
    pub(crate) report: TargetReport,
    pub(crate) propagation: Propagation,
    pub(crate) reads: Reads,
}

/// An extractor for the idempotency key of a call. All attempts use the same key.
///
/// It is the [operation id](crate::call#operation-ids) of the call.
#[derive(Clone, Debug)]
pub struct OperationKey(pub String);

/// An extractor for an HTTP client.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::call::Http;
/// use wingbeat::outgoing::Request;
/// use wingbeat::prelude::*;
///
/// #[derive(Call, Serialize, Deserialize)]
/// #[call(name = "parcels.order_pickup", target = "carrier", key = parcel, outcome = Pickup)]
/// struct OrderPickup { parcel: u32 }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "parcels.pickup", version = 1, key = parcel)]
/// struct Pickup { parcel: u32, ordered: bool }
///
/// # impl GaveUp<OrderPickup> for Pickup {
/// #     fn gave_up(call: &OrderPickup, _: &Error) -> Self {
/// #         Self { parcel: call.parcel, ordered: false }
/// #     }
/// # }
/// async fn order_pickup(call: OrderPickup, key: OperationKey, http: Http) -> Result<Pickup> {
///     let response = http.client.send(Request {
///         method: "POST",
///         url: format!("http://carrier.example/pickups/{}", call.parcel),
///         headers: vec![("idempotency-key".into(), key.0)],
///         body: Default::default(),
///         timeout: http.policy.timeout,
///     });
///     match response.await?.status {
///         201 => Ok(Pickup { parcel: call.parcel, ordered: true }),
///         status => Err(Error::retry("carrier_failed", format!("the carrier returned {status}"))),
///     }
/// }
/// # drop(Service::new("parcels").calls(order_pickup));
/// ```
#[derive(Clone)]
pub struct Http {
    /// The client. It adds the trace of the call to each request. If the call fails, the header
    /// `Retry-After` of its last response delays the next attempt.
    pub client: Arc<dyn HttpClient>,
    /// The policy of the target.
    pub policy: TargetPolicy,
    /// `true` if an earlier attempt may have taken effect. If the outside system ignores
    /// idempotency keys, query its state before repeating the request.
    pub retried: bool,
}

impl<S> Extract<CallContext, S> for OperationKey {
    fn extract(cx: &CallContext, _state: &S) -> Result<Self> {
        Ok(Self(cx.operation.clone()))
    }
}

impl<S> Extract<CallContext, S> for TargetReport {
    fn extract(cx: &CallContext, _state: &S) -> Result<Self> {
        Ok(cx.report.clone())
    }
}

/// The reads of the service that makes the call. An attempt can decrypt personal values of the call
/// with [`Reads::personal`], so that the stored call contains none.
impl<S> Extract<CallContext, S> for Reads {
    fn extract(cx: &CallContext, _state: &S) -> Result<Self> {
        Ok(cx.reads.clone())
    }
}

impl<S> Extract<CallContext, S> for Http {
    fn extract(cx: &CallContext, _state: &S) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Traced {
                http: Arc::clone(&cx.http),
                report: cx.report.clone(),
                runtime: Arc::clone(cx.reads.runtime()),
                propagation: cx.propagation.clone(),
            }),
            policy: cx.policy.clone(),
            retried: cx.attempts > 0,
        })
    }
}

/// Adds `traceparent`, `tracestate` (W3C Trace Context) and `baggage` (W3C Baggage) to outgoing
/// requests, and notes the `Retry-After` of responses.
struct Traced {
    http: Arc<dyn HttpClient>,
    report: TargetReport,
    runtime: SharedRuntime,
    propagation: Propagation,
}

impl HttpClient for Traced {
    fn send(&self, mut request: Request) -> BoxFuture<'_, Result<Response>> {
        let fields = [
            (
                "traceparent",
                telemetry::current().map(|it| it.trace.to_string()),
            ),
            (
                "tracestate",
                self.propagation.tracestate().map(str::to_owned),
            ),
            ("baggage", self.propagation.baggage().map(str::to_owned)),
        ];
        for (name, value) in fields {
            let mut headers = request.headers.iter();
            if let Some(value) = value
                && !headers.any(|(present, _)| present.eq_ignore_ascii_case(name))
            {
                request.headers.push((name.into(), value));
            }
        }
        telemetry::record_request(&request);
        Box::pin(async move {
            let answer = self.http.send(request).await;
            if let Ok(answer) = &answer {
                self.report.note(answer, &self.runtime);
                telemetry::record_status(&tracing::Span::current(), answer.status);
            }
            answer
        })
    }
}

type Attempt = Arc<dyn Fn(CallContext, &[u8]) -> BoxFuture<'static, Result<Effects>> + Send + Sync>;
type GiveUp = Arc<dyn Fn(&[u8], &Error) -> Result<Effects> + Send + Sync>;

/// An executor without its types.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) attempt: Attempt,
    pub(crate) give_up: GiveUp,
    /// Checks that a stored call can be decoded.
    pub(crate) check: fn(&[u8]) -> Result<()>,
    /// The types of the messages that an outcome may contain.
    pub(crate) returns: Vec<MessageType>,
    /// The priority of its attempts among all calls to the outside system.
    pub(crate) priority: Priority,
}

/// An executor: an async function that can be registered with
/// [`Service::calls`](crate::Service::calls).
///
/// Its first argument is a [`Call`]. The others are [extractors](crate::Extract) for executors. It
/// returns the call's outcome or an error. An error of class `Retry` causes another attempt;
/// `Reject` ends the call.
pub trait CallHandler<Args, S>: Handler<Args> {
    /// Erases the types of the executor.
    fn executor(self, state: S) -> ErasedExecutor;
}

/// An executor without its types, for [`Service::calls`](crate::Service::calls).
pub struct ErasedExecutor(pub(crate) Executor);

/// The result of an executor: the call's outcome, or an error.
pub trait OutcomeOf<C: Call>: Send {
    /// Converts the outcome to effects.
    ///
    /// # Errors
    ///
    /// The error that the executor returned.
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
    fn executor(self, state: S) -> ErasedExecutor {
        let mut returns = Vec::new();
        <Args::First as Call>::Outcome::describe(&mut returns);
        ErasedExecutor(Executor {
            returns,
            priority: self.policy().priority,
            check: decodes::<Args::First>,
            name: Args::First::NAME,
            target: Args::First::TARGET,
            attempt: Arc::new(move |cx, body| {
                let future = decode::<Args::First>(body).and_then(|call| {
                    let rest = Args::Rest::extract_all(&cx, &state)?;
                    Ok(self.call(Args::join(call, rest)))
                });
                Box::pin(async move { future?.await.outcome() })
            }),
            give_up: Arc::new(|body, error| {
                let call = decode::<Args::First>(body)?;
                let mut effects = Effects::new();
                <Args::First as Call>::Outcome::gave_up(&call, error).into_effects(&mut effects);
                Ok(effects)
            }),
        })
    }
}
