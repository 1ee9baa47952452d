//! Requests: a route asks another service, and waits for the reply until a deadline.
//!
//! The request is a command that names the reply queue of this process and a deadline. A unit of
//! work with only this message commits it ([`Requests`]), so it is signed, traced, journaled and
//! published like any other. The handler that answers returns the reply, which is part of its unit
//! (`answer`). The relay sends it to the reply queue, and `inbox` hands it to the caller.
//!
//! `docs/requests.md` says when to use requests.

mod answer;
mod ask;
mod definition;
mod error;
#[cfg(feature = "http")]
mod extract;
mod inbox;
mod pending;

pub use answer::{ReplyOutput, RequestHandler};
pub use ask::{Asking, Requests};
pub use definition::Request;
pub use error::RequestError;

pub(crate) use answer::patience;
pub(crate) use definition::{rejected_type, reply_type};
