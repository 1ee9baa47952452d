//! The messages of the shop, with one module per owning service.
//!
//! Events never contain names, e-mail addresses or postal addresses.

pub mod carts;
pub mod catalog;
pub mod catalogue;
pub mod identity;
pub mod inventory;
pub mod notifications;
pub mod orders;
pub mod payments;
pub mod promotions;
pub mod shipping;

mod ids;
mod line;
mod money;

pub use ids::{InvalidSku, OrderId, Sku, UserId};
pub use line::{Line, Lines, QUANTITY_MAX};
pub use money::{Currency, Money};
pub use orders::{OrderStatus, RejectReason};
