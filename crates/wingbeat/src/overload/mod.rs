//! Overload: the intake refuses requests before memory, disk or backlog run out, the least
//! important ones first, and recovers without help.
//!
//! [`Overload`] watches five [resources](Resource), each with a high and a low [`Watermark`]. A
//! reading above the high one raises the level of the resource; a level of 1 ends only below the
//! low one, so a reading between both changes nothing. The highest level of all resources decides
//! which requests are refused, by the [`Priority`] of their route:
//!
//! | Level | Refused |
//! |---|---|
//! | 0 | nothing |
//! | 1 | [`Priority::Low`] |
//! | 2 | also [`Priority::Normal`]: by default, all writes |
//! | 3 | also [`Priority::High`]: by default, all reads |
//!
//! [`Priority::Essential`] is never refused. Messages, timers, calls and everything else that
//! continues accepted work go on at every level. A refused request gets 503 `overloaded` with
//! `Retry-After`, before its body is read.
//!
//! [`run`](crate::run()) watches with the watermarks of its settings. Other hosts use
//! [`App::shedding`](crate::App::shedding).
//!
//! ```
//! use std::sync::Arc;
//!
//! use wingbeat::http::{Json, Problem, Reply, Routes, accepted, post};
//! use wingbeat::overload::{Overload, Priority, Probe, Watermarks};
//! use wingbeat::{App, JsonSchema, Service, schemars};
//! # use serde::{Deserialize, Serialize};
//!
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Vote { song: String }
//! async fn vote(Json(vote): Json<Vote>) -> Result<Reply, Problem> {
//!     Ok(accepted(&vote))
//! }
//!
//! /// A machine without limits.
//! struct Unlimited;
//!
//! impl Probe for Unlimited {}
//!
//! let votes = Routes::new().route("/votes", post(vote).priority(Priority::Low));
//! let overload = Overload::new(Watermarks::default(), Arc::new(Unlimited));
//! let app = App::new()
//!     .service(Service::new("charts").routes(votes))
//!     .shedding(overload.clone());
//! assert!(app.check().is_ok());
//! assert!(!overload.sheds(Priority::Low));
//! ```

mod level;
mod sampling;
mod sources;
mod state;

pub use level::{Level, Priority, Resource, Watermark, Watermarks};
pub(crate) use sources::Oldest;
pub use sources::Probe;
pub use state::{Overload, Reading};
