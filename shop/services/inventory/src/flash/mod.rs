//! Flash sales: a limited number of units at a price of their own, for a limited time.
//!
//! A crowd of claims never reaches the store: the cache decides on each claim, and its log is
//! drained in batches. The store alone decides which claims get a unit.
//!
//! - [`open_sales`]: the sales that this process serves. `units`: a sale's records, which change in
//!   one unit of work.
//! - `claiming`: `POST /flash-sales/{id}/claims`. `draining`: the batches of claims, and the counts
//!   in the cache. `tending`: the end of claims and sales. `forgetting`: the deletion of old sales.
//!   `orders`: the commands of the checkout.
//! - `creating`: `POST /admin/flash-sales`. `sales`: the other routes. `shown`: a sale as they
//!   answer it.

pub(crate) mod claiming;
mod creating;
pub(crate) mod draining;
pub(crate) mod forgetting;
pub(crate) mod open_sales;
pub(crate) mod orders;
pub(crate) mod sales;
mod shown;
pub(crate) mod tending;
mod units;

use std::time::Duration;

use wingbeat::state::Allotment;

#[cfg(feature = "sabotage")]
pub(crate) use open_sales::OpenSales;
#[cfg(feature = "sabotage")]
pub(crate) use units::Decided;
pub(crate) use units::Units;

/// The allotments of flash sales in the cache. The key is the sale.
const ALLOTMENTS: Allotment = Allotment::new("flash-sale:");

/// The longest time for which the cache keeps the allotment of a sale beyond its end.
const ALLOTTED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The most claims that wait for the store. Further claims are refused until it has caught up.
const LOG_MAX: u64 = 10_000;
