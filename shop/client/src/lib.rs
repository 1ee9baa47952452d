//! Tools that talk to a running shop, over HTTP and nothing else.
//!
//! - [`http`]: a small, fast JSON client over kept-alive HTTP/1.1 connections.
//! - [`shop`](mod@shop): the shop's API as types; for benchmarks, for tests that kill things, and for the
//!   tools. [`answers`]: what the shop says.
//! - [`traffic`]: `shop traffic`, simulated shoppers on an open loop.
//! - [`audit`]: `shop audit`, the invariants as an exit code.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use shop_client::{Card, Order, Shop};
//!
//! let shop = Shop::at("http://127.0.0.1:8080")?;
//! let shopper = shop.newcomer().await?;
//! let sku = shop.products().await?[0].sku.clone();
//! let order = Order::of([(sku, 2)]).paid_with(Card::Flaky);
//! let placed = shopper.place(&order, Duration::from_secs(10)).await?;
//! let status = shopper.wait_ended(&placed.order_id, Duration::from_secs(30)).await?;
//! assert_eq!(status.status, "completed");
//! # Ok(()) }
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an outside client lives by the real clock, real chance and the real environment"
)]

pub mod answers;
pub mod audit;
pub mod http;
pub mod order;
pub mod shop;
pub mod traffic;

pub use order::{Card, Order};
pub use shop::{Error, Shop, Shopper};
