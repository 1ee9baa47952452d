//! Calls to outside systems.
//!
//! A handler records a [`Call`] as one of its effects. After the commit an executor carries it out,
//! once or several times under the same idempotency key, and its outcome is published as a message.

pub mod breaker;
mod definition;
mod executor;
mod http_client;
mod target;

pub use definition::{Call, GaveUp};
pub use executor::{CallHandler, ErasedExecutor, Http, OperationKey, OutcomeOf};
pub use http_client::HyperClient;
pub use target::Target;

pub(crate) use executor::{CallContext, Executor};
