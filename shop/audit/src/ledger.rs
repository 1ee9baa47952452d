//! The provider's own ledger, read over HTTP as any client reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use shop_contracts::OrderId;
use wingbeat::{Error, Result, decode, outgoing};

use wingbeat::run::RunningSystem;

/// Entries per request, below the provider's maximum.
const ENTRIES_MAX: u32 = 2_000;
/// The longest wait for one page.
const WITHIN: Duration = Duration::from_secs(10);

/// The provider's bookings for one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Booked {
    /// The number of captures.
    pub(super) captures: u32,
    /// The captured amount, in cents.
    pub(super) captured: i64,
    /// The refunded amount, in cents.
    pub(super) refunded: i64,
    /// The amount was held on the card at some time.
    pub(super) authorized: bool,
    /// The hold was given back.
    pub(super) voided: bool,
}

impl Booked {
    /// Returns whether the provider holds the amount on the card now.
    pub(super) const fn holds(self) -> bool {
        self.authorized && !self.voided && self.captures == 0
    }
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Entry>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct Entry {
    order_id: OrderId,
    kind: String,
    amount_minor: i64,
}

/// Returns the bookings of the orders after `beyond`, up to `through`; `None` for no bound.
pub(super) async fn between(
    system: &RunningSystem,
    provider: &str,
    beyond: Option<&str>,
    through: Option<&str>,
) -> Result<BTreeMap<OrderId, Booked>> {
    let mut range = String::new();
    for (name, bound) in [("beyond", beyond), ("through", through)] {
        if let Some(bound) = bound {
            range += &format!("&{name}={bound}");
        }
    }
    let mut booked = BTreeMap::<OrderId, Booked>::new();
    let mut after = 0;
    loop {
        let page = page(system, provider, after, &range).await?;
        for entry in page.items {
            let of = booked.entry(entry.order_id).or_default();
            match entry.kind.as_str() {
                "capture" => {
                    of.captures += 1;
                    of.captured += entry.amount_minor;
                }
                "refund" => of.refunded += entry.amount_minor,
                "authorize" => of.authorized = true,
                "void" => of.voided = true,
                _ => {}
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(booked),
        }
    }
}

async fn page(system: &RunningSystem, provider: &str, after: i64, range: &str) -> Result<Page> {
    let request = outgoing::Request {
        method: "GET",
        url: format!("{provider}/v1/ledger?after={after}&limit={ENTRIES_MAX}{range}"),
        headers: Vec::new(),
        body: Bytes::new(),
        timeout: WITHIN,
    };
    let answer = system.ports.http.send(request).await?;
    if answer.status != 200 {
        return Err(Error::retry(
            "provider_unavailable",
            "the provider's ledger cannot be read",
        ));
    }
    decode(&answer.body)
}
