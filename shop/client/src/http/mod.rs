//! JSON over HTTP/1.1, for one server, on kept-alive connections.
//!
//! Each connection is driven by the request that uses it, in the same task: no task a connection, no
//! channel and no wake-up between two threads a request. That is what lets a load generator leave the
//! machine to what it loads.

mod answer;
mod call;
mod client;
mod error;
mod events;
mod lane;
mod pool;
mod url;

pub use answer::Answer;
pub use call::Call;
pub use client::{Client, Limits};
pub use error::{Error, Fault};
pub use events::{Event, EventStream};
pub use url::{BadUrl, Base};
