//! The cache on Redis 6.2 or newer: one instance, or one behind a sentinel. Redis Cluster is not
//! supported.
//!
//! Services select it with `--cache redis://…`; [`Redis::connect`] is for hosts that wire their
//! ports themselves.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use wingbeat_core::cache::Durability;
//! use wingbeat_core::runtime::SharedRuntime;
//! use wingbeat_core::{Cache as _, Result};
//! use wingbeat_redis::{Config, Redis};
//!
//! # async fn connect(runtime: SharedRuntime) -> Result<()> {
//! let cache = Redis::connect(&Config::new("redis://localhost:6379"), runtime).await?;
//! let ttl = Duration::from_secs(60);
//! cache.put("price:egg", "0.30".into(), ttl, Durability::Volatile).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Failures
//!
//! Redis may be unavailable, slow, emptied or full at any time. Calls then fail with
//! `cache_unavailable`: the first ones within two seconds by default, most later ones at once. They
//! succeed again as soon as Redis is available. Callers read from the store instead, or respond
//! with HTTP 503.
//!
//! A value survives a restart of this process in any case. It survives a restart of Redis as far as
//! the server persists it (`appendonly`), whatever [`Durability`](wingbeat_core::cache::Durability)
//! it has.

#![deny(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock"
)]

mod address;
mod allotments;
mod cache;
mod connection;
mod cooldown;
mod scripts;
mod server;

#[doc(hidden)]
pub use allotments::CLAIM;
pub use cache::{Config, Redis};
pub use wingbeat_connect::TlsFiles;
