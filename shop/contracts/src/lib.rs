//! The messages of the shop, one module an owning service: the only code that services share.
//!
//! Names, e-mail addresses and postal addresses never enter an event.

pub mod carts;
pub mod catalog;
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
