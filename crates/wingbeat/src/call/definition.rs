//! Calls to outside systems as data, and their outcomes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::Error;

use crate::effects::{Effects, IntoEffects, PlannedCall};
use crate::encode;

/// A call to an outside system, as data. Derive it.
///
/// A handler records a call with [`Effects::call`], or returns it. After the commit an executor
/// ([`Service::calls`](crate::Service::calls)) carries it out, and its outcome comes back as a
/// message. Calls wait in the store while the target's circuit breaker is open.
///
/// ```
/// use wingbeat::{Call, Error, Event, GaveUp, JsonSchema, Result, Service, TargetPolicy};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Call, Serialize, Deserialize)]
/// #[call(name = "weather.ask", target = "station", key = city, outcome = Forecast)]
/// struct AskForecast {
///     city: String,
/// }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "weather.forecast", version = 1, key = city)]
/// struct Forecast {
///     city: String,
///     degrees: Option<i32>,
/// }
///
/// impl GaveUp<AskForecast> for Forecast {
///     fn gave_up(call: &AskForecast, _: &Error) -> Self {
///         Forecast { city: call.city.clone(), degrees: None }
///     }
/// }
///
/// async fn ask(call: AskForecast) -> Result<Forecast> {
///     // A real executor takes `Http` and sends a request.
///     Ok(Forecast { city: call.city, degrees: Some(21) })
/// }
///
/// let service = Service::new("weather").calls(ask).target("station", TargetPolicy::default());
/// # drop(service);
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is not a call", note = "derive `Call` for it")]
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the call; stored.
    const NAME: &'static str;
    /// The outside system, whose [`TargetPolicy`](crate::TargetPolicy) governs the call.
    const TARGET: &'static str;
    /// The message that carries the outcome.
    type Outcome: IntoEffects + GaveUp<Self> + Send;

    /// Returns the [operation id](crate::call#operation-ids) of the call: the idempotency key of
    /// all attempts.
    fn operation(&self) -> String;
}

/// The outcome of a call that was given up, so that every call has an outcome.
///
/// See [`Call`] for an example.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no outcome for a `{C}` that was given up",
    note = "implement `GaveUp<{C}>` for `{Self}`"
)]
pub trait GaveUp<C: ?Sized> {
    /// Returns the outcome of `call` after it was rejected, or failed for longer than
    /// [`TargetPolicy::give_up_after`](crate::TargetPolicy::give_up_after). `error` is the last
    /// one.
    fn gave_up(call: &C, error: &Error) -> Self;
}

impl Effects {
    /// Records an outside call. It runs after the commit; its outcome comes back as a message.
    pub fn call<C: Call>(&mut self, call: &C) -> &mut Self {
        self.calls.push(PlannedCall {
            name: C::NAME,
            operation: call.operation(),
            body: encode(call),
        });
        self
    }
}
