//! Orders while the bank is closed: they wait, keep what they have reserved, and end.

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::OrderId;
use shop_contracts::orders::{OrderPaid, OrderPaymentDelayed};
use wingbeat::test::simulator::Ask;
use wingbeat::{CorrelationId, Message as _};

use super::{Inspector, Visitor, call, get};

/// The product, and its stock.
const SKU: &str = "FAN-9";
const UNITS: i64 = 5;

/// The payment timeout of lifetimes in which an order waits long enough for the bank.
const PATIENT: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn order(key: &str) -> Ask {
    super::ordering::order(json!([{ "sku": SKU, "quantity": 1 }]), key)
}

fn id(order: &Value) -> String {
    order["order_id"].as_str().unwrap_or_default().to_owned()
}

impl Inspector {
    pub(super) async fn payments(&mut self) {
        self.goods(SKU, 700, UNITS).await;
        let mut ada = self.visitor().await;
        self.passes_each_status(&mut ada).await;
        let mut left = UNITS - 1;
        if self.payment_timeout >= PATIENT {
            self.waits_for_the_bank(&mut ada).await;
            left -= 1;
        }
        self.gives_up(&mut ada).await;
        self.cancels(&mut ada).await;
        let available = self.available(SKU).await;
        self.equal("the units that are left", &available, &json!(left));
    }

    async fn passes_each_status(&mut self, ada: &mut Visitor) {
        let placed = self.gets(ada, order("each status"), 202).await;
        let mut seen = Vec::new();
        for _ in 0..100 {
            let shown = self
                .gets(ada, get(&format!("/orders/{}", id(&placed))), 200)
                .await;
            let status = shown["status"].as_str().unwrap_or_default().to_owned();
            if !seen.contains(&status) {
                seen.push(status);
            }
            self.pass(SECOND / 10).await;
        }
        // With a wrong clock, shipping may send the parcel at once.
        seen.retain(|it| matches!(it.as_str(), "shipped" | "completed"));
        let right = ["shipped", "completed"].map(str::to_owned);
        self.equal("the last statuses of an order", &seen, &right.to_vec());
        let told = self.story(&placed).await;
        let is_paid = told.iter().any(|it| it == OrderPaid::NAME);
        self.equal("an order is paid before it is shipped", &is_paid, &true);
    }

    /// The reservation may end before the authorization: it is extended.
    async fn waits_for_the_bank(&mut self, ada: &mut Visitor) {
        self.bank.set_closed(true);
        let placed = self.gets(ada, order("waits"), 202).await;
        self.pass(9 * SECOND).await;
        let shown = self.equal_status(ada, &placed, "stock_reserved").await;
        self.equal("a delay", &shown["payment_delayed"], &json!(true));
        self.bank.set_closed(false);
        self.idle().await;
        let shown = self.equal_status(ada, &placed, "completed").await;
        self.equal(
            "a delay that is over",
            &shown["payment_delayed"],
            &json!(false),
        );
        let story = self.story(&placed).await;
        let is_told = story.iter().any(|it| it == OrderPaymentDelayed::NAME);
        self.equal("an event of the delay", &is_told, &true);
    }

    /// Returns the names of the messages about an order.
    pub(super) async fn story(&self, placed: &Value) -> Vec<String> {
        let running = self.world.running();
        let mut reads = running.iter().filter_map(|it| it.reads("orders"));
        let reads = reads.next().expect("orders runs");
        let order: OrderId = id(placed).parse().expect("an id");
        let story = reads.timeline(CorrelationId(order.0)).await;
        let story = story.expect("nothing goes wrong any more");
        story.into_iter().map(|it| it.name.to_string()).collect()
    }

    /// The bank answers too late.
    async fn gives_up(&mut self, ada: &mut Visitor) {
        self.bank.set_closed(true);
        let placed = self.gets(ada, order("gives up"), 202).await;
        self.pass(70 * SECOND).await;
        let shown = self
            .gets(ada, get(&format!("/orders/{}", id(&placed))), 200)
            .await;
        let has_ended = shown["status"] == "completed" || shown["status"] == "rejected";
        self.equal(
            "the end of an order before the bank's answer",
            &has_ended,
            &false,
        );
        self.bank.set_closed(false);
        self.idle().await;
        let shown = self.equal_status(ada, &placed, "rejected").await;
        self.equal(
            "the reason of a rejection",
            &shown["reason"],
            &json!("payment_timeout"),
        );
        let booked = self.bank.effects(&id(&placed));
        let is_free = matches!(&*booked, [] | [_, _]);
        self.equal("the hold of an order without a payment", &is_free, &true);
    }

    async fn cancels(&mut self, ada: &mut Visitor) {
        self.bank.set_closed(true);
        let placed = self.gets(ada, order("cancels"), 202).await;
        self.pass(SECOND).await;
        let cancel = call(
            "POST",
            &format!("/orders/{}/cancel", id(&placed)),
            Value::Null,
        );
        self.gets(ada, cancel.clone(), 202).await;
        self.pass(SECOND).await;
        self.equal_status(ada, &placed, "cancelling").await;
        self.gets(ada, cancel.clone(), 202).await;
        self.bank.set_closed(false);
        self.idle().await;
        self.equal_status(ada, &placed, "cancelled").await;
        self.gets(ada, cancel, 202).await;

        // A paid order waits for its parcel, which is called back and the money paid back.
        let placed = self.gets(ada, order("calls back"), 202).await;
        for _ in 0..100 {
            let shown = self.gets(ada, get(&format!("/orders/{}", id(&placed))), 200);
            if shown.await["status"] == "paid" {
                break;
            }
            self.pass(SECOND / 10).await;
        }
        let cancel = call(
            "POST",
            &format!("/orders/{}/cancel", id(&placed)),
            Value::Null,
        );
        self.gets(ada, cancel, 202).await;
        self.idle().await;
        self.equal_status(ada, &placed, "cancelled").await;
        let booked = self.bank.effects(&id(&placed));
        let right = ["authorize", "capture", "refund"].map(str::to_owned);
        self.equal("the bookings of a paid order", &booked, &right.to_vec());
    }
}
