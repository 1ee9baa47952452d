//! The payment provider's ledger.

use std::collections::BTreeMap;

use serde::Deserialize;
use shop_client::Shop;
use shop_client::http::Call;

/// All bookings.
pub struct Ledger {
    orders: BTreeMap<String, BTreeMap<String, Booked>>,
}

/// Bookings of one kind for one order.
#[derive(Clone, Copy, Default)]
struct Booked {
    times: u32,
    cents: i64,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Entry>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct Entry {
    order_id: String,
    kind: String,
    amount_minor: i64,
}

impl Ledger {
    /// Reads all pages.
    pub async fn read(shop: &Shop) -> Self {
        let (mut orders, mut after) = (BTreeMap::<_, BTreeMap<_, Booked>>::new(), 0);
        loop {
            let path = format!("/dev/provider/ledger?after={after}");
            let answer = shop.ask(&Call::get(&path)).await.unwrap();
            let page: Page = serde_json::from_slice(&answer.body).unwrap();
            for entry in page.items {
                let kinds = orders.entry(entry.order_id).or_default();
                let booked: &mut Booked = kinds.entry(entry.kind).or_default();
                booked.times += 1;
                booked.cents += entry.amount_minor;
            }
            match page.next {
                Some(next) => after = next,
                None => return Self { orders },
            }
        }
    }

    /// Bookings that exist more than once for one order.
    #[must_use]
    pub fn repeated(&self) -> Vec<String> {
        let kinds = self
            .orders
            .iter()
            .flat_map(|(order, kinds)| kinds.iter().map(move |(kind, it)| (order, kind, it)));
        let repeated = kinds.filter(|(.., booked)| booked.times > 1);
        repeated
            .map(|(order, kind, it)| format!("{kind} of {order} was booked {} times", it.times))
            .collect()
    }

    /// The cost of an order in cents: captured and not refunded.
    #[must_use]
    pub fn net(&self, order: &str) -> i64 {
        let of = |kind| {
            let kinds = self.orders.get(order);
            kinds
                .and_then(|kinds| kinds.get(kind))
                .map_or(0, |it| it.cents)
        };
        of("capture") - of("refund")
    }
}
