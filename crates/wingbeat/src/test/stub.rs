//! Stubs of services that a test does not run.

use crate::effects::IntoEffects;
use crate::{Error, Message, Service};

/// Creates a service that answers each message `C` with an event, or with another value that a
/// handler may return. For more messages, add `.on(async |command: …| Ok(…))`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::{App, Command, Event, JsonSchema, schemars};
/// use wingbeat::test::{TestApp, stub};
///
/// #[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "warehouse.reserve", version = 1, key = order)]
/// struct Reserve {
///     order: u32,
/// }
///
/// #[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "warehouse.sold_out", version = 1, key = order)]
/// struct SoldOut {
///     order: u32,
/// }
///
/// let warehouse = stub("warehouse", |command: &Reserve| SoldOut { order: command.order });
/// let app = TestApp::start(1, App::new().service(warehouse));
/// # drop(app);
/// ```
#[must_use]
pub fn stub<C, E>(
    service: &'static str,
    answer: impl Fn(&C) -> E + Clone + Send + Sync + 'static,
) -> Service
where
    C: Message,
    E: IntoEffects + Send + 'static,
{
    Service::new(service).on(move |command: C| {
        let event = answer(&command);
        async move { Ok::<_, Error>(event) }
    })
}
