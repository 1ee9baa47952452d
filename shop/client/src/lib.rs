//! A client of a running shop, and the command-line tools that use it. It speaks only HTTP.
//!
//! - [`http`]: a small, fast JSON client over pooled HTTP/1.1 connections.
//! - [`shop`](mod@shop): the HTTP API of the shop as methods, for tools, benchmarks and end-to-end
//!   tests. [`order`], [`answers`]: the requests and the replies.
//! - [`traffic`]: `shop traffic`, simulated shoppers in an open loop.
//! - [`flash`]: `shop flash-sale`, a flash sale and its crowd.
//! - [`audit`]: `shop audit`, the check of the invariants.
//! - [`output`]: the output and the exit codes of these commands.
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
    reason = "a client outside of the simulation uses the real clock, randomness and environment"
)]

pub mod answers;
pub mod audit;
pub mod flash;
pub mod http;
pub mod order;
pub mod output;
pub mod shop;
pub mod traffic;

pub use order::{Card, Order};
pub use shop::{Error, Shop, Shopper};
