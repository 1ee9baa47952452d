//! The names that most service files use, for one glob import.
//!
//! It contains the traits whose methods would need an import of their own, such as
//! [`Handler::ordered`] and [`Message::NAME`], the derive macros, the extractors, and the types and
//! functions that wire a service. It also contains the crate [`schemars`], so that
//! `derive(JsonSchema)` works without that dependency. Names of your own hide those of the prelude.
//!
//! Not part of it: the test kit ([`test`](mod@crate::test)), the HTTP client of outside calls
//! ([`call::Http`](crate::call::Http)), and the ports.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wingbeat::prelude::*;
//!
//! /// A parcel changed hands.
//! #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! #[event(name = "parcels.handed_over", version = 1, key = parcel)]
//! struct HandedOver {
//!     parcel: String,
//!     to: String,
//! }
//!
//! /// The last known holder of a parcel.
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Holder(String);
//!
//! impl Entity for Holder {
//!     const NAME: &'static str = "holders";
//!     type Id = String;
//! }
//!
//! async fn record(event: HandedOver, holders: Table<Holder>) -> Result<()> {
//!     holders.put(&event.parcel, Holder(event.to))
//! }
//!
//! let tracking = Service::new("tracking").on(record.ordered());
//! # #[cfg(feature = "test")]
//! # {
//! # let app = wingbeat::test::TestApp::start(1, App::new().service(tracking));
//! # for to in ["post office", "Ada"].map(String::from) {
//! #     app.publish(Default::default(), &HandedOver { parcel: "7".into(), to });
//! # }
//! # app.until_idle();
//! # let holder = app.run(app.reads("tracking").entity::<Holder>(&"7".into()));
//! # assert_eq!(holder.unwrap().unwrap().0, "Ada");
//! # }
//! ```

#[cfg(feature = "host")]
pub use crate::Settings;
#[cfg(feature = "http")]
pub use crate::http::{
    Caller, IdempotencyKey, Json, Path, Problem, Query, Reply, Routes, accepted, created, delete,
    get, no_content, ok, post, put,
};
pub use crate::{
    Aggregate, App, Attempts, Batch, Call, Claims, Command, Effects, Either, Entity, Error, Event,
    Failure, GaveUp, Handler, Happened, JsonSchema, Message, Meta, Now, OperationKey, Parts, Rate,
    Reads, Repo, Request, RequestError, Requests, Result, Retry, Rows, Saga, SagaEffects,
    SagaInput, Scope, Service, State, Table, TargetPolicy, Unexpected, View, schemars,
};
