//! Calls to outside systems.
//!
//! A handler records a [`Call`] as one of its effects. After the commit an executor carries it out.
//! The executor may need several attempts, all with the same idempotency key. The runtime publishes
//! the outcome of the call as a message.
//!
//! # Operation ids
//!
//! An operation id is a text that identifies one business operation, such as the refund of one
//! order. A repetition of the operation has the same id, even if it has another message id. The
//! receiver uses it to carry out the operation once. The id occurs in these places:
//!
//! - [`Call::operation`] returns it; an executor extracts it as [`OperationKey`] and sends it as
//!   the idempotency key of its request.
//! - [`Effects::send_as`](crate::Effects::send_as) sends it with a command; the handler reads it as
//!   [`Meta::operation`](crate::Meta::operation).
//! - HTTP clients send it in the header `Idempotency-Key`; a route with `.idempotent()` requires
//!   it.

pub mod breaker;
mod definition;
mod executor;
mod http_client;
mod postponement;
mod target;

pub use definition::{Call, GaveUp};
pub use executor::{CallHandler, ErasedExecutor, Http, OperationKey, OutcomeOf};
pub use http_client::HyperClient;
pub use postponement::TargetReport;
pub(crate) use target::Admitted;
pub use target::Target;

pub(crate) use executor::{CallContext, Executor};
pub(crate) use postponement::Remarks;
