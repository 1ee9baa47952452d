//! The cache on Redis (6.2 or newer, one instance or one behind a sentinel; no cluster).
//!
//! Redis may be away, slow, emptied or full at any time. Then calls fail with `cache_away`, within a second or two,
//! and at once while it is known to be away; they work again when it does. Callers go to the store, or say 503.
//!
//! How long a value lasts over a restart of Redis is the server's business (`appendonly`), whatever the caller
//! asked for; over a restart of our process everything lasts.

#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock"
)]

mod cache;
mod gate;
mod line;
mod scripts;

pub use cache::{Config, Redis};
