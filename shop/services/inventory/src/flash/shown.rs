//! A flash sale as everybody sees it.

use serde::Serialize;
use shop_contracts::{Price, SaleId, Sku};
use wingbeat::{JsonSchema, Reads, Timestamp, schemars};

use super::ALLOTMENTS;
use crate::domain::{FlashSale, SaleTerms};

/// The state of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SaleState {
    /// It has not begun.
    Scheduled,
    /// Units can be claimed.
    Open,
    /// Claims are not decided at the moment: the cache is unavailable, or has lost the sale.
    Paused,
    /// No unit is left at the moment.
    SoldOut,
    /// It has ended.
    Closed,
}

/// A flash sale.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlashSale")]
pub(super) struct ShownSale {
    id: SaleId,
    sku: Sku,
    price: Price,
    /// The units of the sale.
    allocation: u32,
    /// The units that can be claimed.
    left: u32,
    opens_at: Timestamp,
    closes_at: Timestamp,
    /// The most units of one user.
    per_user: u32,
    state: SaleState,
}

/// Returns a sale with its state. The units left of an open sale come from the cache.
pub(super) async fn shown(reads: &Reads, id: SaleId, sale: FlashSale) -> ShownSale {
    let (now, free) = (reads.runtime().now(), sale.free());
    let (left, state) = if sale.closed || now >= sale.terms.closes_at {
        (free, SaleState::Closed)
    } else if now < sale.terms.opens_at {
        (free, SaleState::Scheduled)
    } else {
        match ALLOTMENTS.claims(reads, &id.to_string(), 0).await {
            Ok(Some(log)) if log.left == 0 => (0, SaleState::SoldOut),
            Ok(Some(log)) => (u32::try_from(log.left).unwrap_or(free), SaleState::Open),
            Ok(None) | Err(_) => (free, SaleState::Paused),
        }
    };
    let SaleTerms {
        sku,
        price,
        allocation,
        per_user,
        opens_at,
        closes_at,
        ..
    } = sale.terms;
    ShownSale {
        id,
        sku,
        price,
        allocation,
        left,
        opens_at,
        closes_at,
        per_user,
        state,
    }
}
