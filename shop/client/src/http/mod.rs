//! A JSON client for one server, over pooled HTTP/1.1 connections.
//!
//! Each connection is driven by the request that uses it, in the same task. There is no task per
//! connection, and no channel and no wake-up across threads per request, so that a load generator
//! leaves the processor to its target.

mod answer;
mod call;
mod client;
mod connection;
mod error;
mod events;
mod pool;
mod url;

pub use answer::Answer;
pub use call::Call;
pub use client::{Client, Limits};
pub use error::{Error, Fault};
pub use events::{Event, EventStream};
pub use url::{BadUrl, Base};
