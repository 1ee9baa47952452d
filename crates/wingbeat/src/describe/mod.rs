//! Documents of a system, derived from its wiring.
//!
//! [`asyncapi`] describes the messages that services exchange, [`openapi`] the HTTP routes. Both
//! read the types of handlers and routes, so they stay in step with the code. Declare what types do
//! not show: messages inside [`Effects`](crate::Effects) with
//! [`Service::publishes`](crate::Service::publishes), and the answers of routes with
//! [`Endpoint::answers`](crate::http::Endpoint::answers).
//!
//! ```
//! use wingbeat::describe::{self, Info};
//! use wingbeat::{App, Event, JsonSchema, Result, Service, schemars};
//! # use serde::{Deserialize, Serialize};
//!
//! /// A room was booked.
//! #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! #[event(name = "bookings.room_booked", version = 1, key = room)]
//! struct RoomBooked {
//!     room: String,
//! }
//!
//! async fn clean(_: RoomBooked) -> Result<()> {
//!     Ok(())
//! }
//!
//! let app = App::new().service(Service::new("housekeeping").on(clean));
//! let document = describe::asyncapi(&app, &Info::new("The hotel", "1"));
//! let channel = &document["channels"]["bookings.room_booked.v1"];
//! assert_eq!(channel["bindings"]["amqp"]["exchange"]["name"], "wingbeat.events");
//! ```

mod asyncapi;
mod cloud_event;
mod openapi;
mod operation;
mod request;
mod schemas;
mod stored;
mod system;

pub use operation::{Answer, Operation};
pub use request::{Field, ProblemCase, RequestDescription, Security};
pub use stored::{StoredKind, StoredName, StoredType};
pub use system::{Info, ServiceDescription, SubscriptionDescription, System};
pub use wingbeat_core::{HasSchema, SchemaOf};

use serde_json::Value;

/// Returns the AsyncAPI 3.0 document of a system: a channel for each message that is not internal
/// to its service, and an operation for each subscription and each publisher.
#[must_use]
pub fn asyncapi(system: impl Into<System>, info: &Info) -> Value {
    asyncapi::document(&system.into(), info)
}

/// Returns the OpenAPI 3.1 document of a system: all routes that services declare with
/// [`Routes`](crate::http::Routes). Plain axum routers are served, but not described.
#[must_use]
pub fn openapi(system: impl Into<System>, info: &Info) -> Value {
    openapi::document(&system.into(), info)
}
