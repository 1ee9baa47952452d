//! Outside calls: recorded by handlers, carried out after the commit, answered by a message.

pub mod breaker;
mod definition;
mod executor;
mod http_client;
mod target;

pub use definition::{Call, GaveUp};
pub use executor::{CallHandler, Http, OperationKey, OutcomeOf, Planned};
pub use http_client::HyperClient;
pub use target::Target;

pub(crate) use executor::{CallContext, Executor};
