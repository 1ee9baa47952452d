//! The messages of the shop, with one module per owning service.
//!
//! Events never contain names, e-mail addresses or postal addresses.

pub mod carts;
pub mod catalog;
pub mod identity;
pub mod inventory;
pub mod notifications;
pub mod orders;
pub mod payments;
pub mod promotions;
pub mod shipping;

mod bounds;
mod claim_key;
mod ids;
mod line;
mod money;
mod percent;
mod price;
mod text;

pub use bounds::{CODE_MAX, NAME_MAX, QUANTITY_MAX};
pub use claim_key::{ClaimKey, InvalidClaimKey};
pub use ids::{ClaimId, InvalidSku, OrderId, SaleId, Sku, UserId};
pub use line::{Line, Lines};
pub use money::{Currency, Money};
pub use orders::{OrderStatus, RejectReason};
pub use percent::{InvalidPercent, Percent};
pub use price::{InvalidPrice, Price};
pub use text::{is_line, is_unprintable};
