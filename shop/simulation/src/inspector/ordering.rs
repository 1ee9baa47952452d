//! Orders and promos: what is refused at once, what an order costs, and how it ends.

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::orders::OrderPaid;
use wingbeat::Message as _;
use wingbeat::test::simulator::Ask;

use super::{Inspector, Visitor, call, eur, get};

/// The product, its price and its stock.
const SKU: &str = "VASE-9";
const PRICE: i64 = 3_335;
const UNITS: i64 = 20;

fn address() -> Value {
    json!({ "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH" })
}

/// An order of these items with a good card; of the cart if there are none.
pub(super) fn order(items: Value, key: &str) -> Ask {
    let mut body = json!({ "payment_token": "tok_ok", "address": address() });
    if !items.is_null() {
        body["items"] = items;
    }
    call("POST", "/orders", body).idempotency_key(format!("inspected-{key}").replace(' ', "-"))
}

fn of_units(units: i64, key: &str) -> Ask {
    order(json!([{ "sku": SKU, "quantity": units }]), key)
}

/// The order with another value at this place.
pub(super) fn with(mut ask: Ask, at: &str, value: Value) -> Ask {
    let (parent, name) = at.rsplit_once('/').unwrap_or(("", at));
    ask.body.pointer_mut(parent).expect("it is there")[name] = value;
    ask
}

fn id(order: &Value) -> String {
    order["order_id"].as_str().unwrap_or_default().to_owned()
}

fn cancel(order: &Value) -> Ask {
    call(
        "POST",
        &format!("/orders/{}/cancel", id(order)),
        Value::Null,
    )
}

impl Inspector {
    pub(super) async fn orders(&mut self) {
        self.goods(SKU, PRICE, UNITS).await;
        let mut ada = self.visitor().await;
        let cancelled = self.invalid_orders(&mut ada).await;
        self.equal_available(UNITS).await;
        self.a_whole_order(&mut ada).await;
        self.ends(&mut ada, &cancelled).await;
        self.promos(&mut ada).await;
        self.pages(&mut ada).await;
    }

    /// Expects an order with this status. Returns it.
    pub(super) async fn equal_status(
        &mut self,
        who: &mut Visitor,
        placed: &Value,
        right: &str,
    ) -> Value {
        let shown = self
            .gets(who, get(&format!("/orders/{}", id(placed))), 200)
            .await;
        self.equal("the status of an order", &shown["status"], &json!(right));
        shown
    }

    async fn equal_available(&mut self, right: i64) {
        let available = self.available(SKU).await;
        self.equal("the units that are left", &available, &json!(right));
    }

    /// Returns an order that was cancelled, perhaps after it was paid.
    async fn invalid_orders(&mut self, ada: &mut Visitor) -> Value {
        let (longest, longer) = ("x".repeat(200), "x".repeat(201));
        for field in ["line1", "city", "postal_code"] {
            for value in ["", " ", "a\nb", &longer] {
                let ask = with(
                    of_units(1, "wrong"),
                    &format!("/address/{field}"),
                    json!(value),
                );
                self.rejects(ada, ask, &format!("/address/{field}")).await;
            }
        }
        for country in ["", "C", "CHE", "ch", "C1"] {
            let ask = with(of_units(1, "wrong"), "/address/country", json!(country));
            self.rejects(ada, ask, "/address/country").await;
        }
        let token = with(of_units(1, "wrong"), "/payment_token", json!("tok_stolen"));
        self.rejects(ada, token, "/payment_token").await;
        let code = with(of_units(1, "wrong"), "/promo_code", json!("c".repeat(101)));
        self.rejects(ada, code, "/promo_code").await;
        for quantity in [0, 100] {
            self.rejects(ada, of_units(quantity, "wrong"), "/items/0/quantity")
                .await;
        }
        let one = json!({ "sku": SKU, "quantity": 1 });
        self.rejects(ada, order(json!([one, one]), "wrong"), "/items/1/sku")
            .await;
        self.rejects(ada, order(json!([]), "wrong"), "/items").await;
        for sku in ["NO-SUCH", "no sku"] {
            let items = json!([one, { "sku": sku, "quantity": 1 }]);
            self.rejects(ada, order(items, "wrong"), "/items/1/sku")
                .await;
        }
        let mut cheaper = of_units(2, "cheaper");
        cheaper.body["expected_total"] = eur(2 * PRICE - 1);
        self.refuses(ada, cheaper, 409, "price_changed").await;
        let mut stranger = self.stranger();
        self.refuses(&mut stranger, of_units(1, "nobody"), 401, "unauthenticated")
            .await;
        let far = with(of_units(1, "far"), "/address/line1", json!(longest));
        let placed = self.gets(ada, far, 202).await;
        self.gets(ada, cancel(&placed), 202).await;
        self.idle().await;
        self.equal_status(ada, &placed, "cancelled").await;
        placed
    }

    async fn a_whole_order(&mut self, ada: &mut Visitor) {
        let mut ask = of_units(3, "whole");
        ask.body["expected_total"] = eur(3 * PRICE);
        let before = self.now();
        let placed = self.gets(ada, ask.clone(), 202).await;
        let right = json!({
            "order_id": placed["order_id"], "status": "placed", "subtotal": eur(3 * PRICE),
            "discount": eur(0), "total": eur(3 * PRICE),
        });
        self.equal("the answer to an order", &placed, &right);
        let again = self.gets(ada, ask, 202).await;
        self.equal("the answer to the same order", &again, &placed);
        self.idle().await;
        self.equal_available(UNITS - 3).await;
        let shown = self.equal_status(ada, &placed, "completed").await;
        let line = json!([{
            "sku": SKU, "name": format!("A {SKU}"), "quantity": 3, "price": eur(PRICE),
        }]);
        self.equal("the lines of an order", &shown["lines"], &line);
        self.equal(
            "a delay that is over",
            &shown["payment_delayed"],
            &json!(false),
        );
        self.refuses(ada, cancel(&placed), 409, "not_cancellable")
            .await;

        let mut eve = self.visitor().await;
        let path = format!("/orders/{}", id(&placed));
        self.refuses(&mut eve, get(&path), 404, "not_found").await;
        self.refuses(&mut eve, cancel(&placed), 404, "not_found")
            .await;
        let past = format!(
            "{path}?as_of={}",
            shown["placed_at"].as_str().unwrap_or_default()
        );
        self.refuses(ada, get(&past), 403, "forbidden").await;
        let then = self.as_admin(get(&past), 200).await;
        self.equal("the past of an order", &then["total"], &placed["total"]);
        // The clock of a process may be two seconds behind.
        let earlier = before - Duration::from_secs(5);
        self.refuses_admin(get(&format!("{path}?as_of={earlier}")), 404, "not_found")
            .await;
    }

    /// Orders that are not completed: their units come back, and their owner learns why.
    async fn ends(&mut self, ada: &mut Visitor, cancelled: &Value) {
        let declined = with(
            of_units(2, "declined"),
            "/payment_token",
            json!("tok_declined"),
        );
        let declined = self.gets(ada, declined, 202).await;
        let too_many = self.gets(ada, of_units(UNITS, "too many"), 202).await;
        self.idle().await;
        for (placed, reason) in [(&declined, "payment_declined"), (&too_many, "out_of_stock")] {
            let shown = self.equal_status(ada, placed, "rejected").await;
            self.equal(
                "the reason of a rejection",
                &shown["reason"],
                &json!(reason),
            );
            self.refuses(ada, cancel(placed), 409, "not_cancellable")
                .await;
        }
        self.equal_available(UNITS - 3).await;
        let slow = with(of_units(4, "slow"), "/payment_token", json!("tok_slow"));
        let slow = self.gets(ada, slow, 202).await;
        self.idle().await;
        self.equal_status(ada, &slow, "completed").await;
        let last = self.gets(ada, of_units(UNITS - 7, "last"), 202).await;
        self.idle().await;
        self.equal_status(ada, &last, "completed").await;
        self.equal_available(0).await;
        let mails = self.mails(ada).await;
        let told = self.story(cancelled).await;
        let was_paid = told.iter().any(|it| it == OrderPaid::NAME);
        let right = [
            ("order_cancelled", 1),
            ("order_paid", 3 + usize::from(was_paid)),
            ("order_rejected", 2),
            ("order_shipped", 3),
        ];
        let right = right.into_iter();
        let right = right.flat_map(|(kind, count)| vec![kind.to_owned(); count]);
        let right = Vec::from_iter(right);
        let about_orders = mails.into_iter().filter(|it| it.starts_with("order_"));
        let mails = Vec::from_iter(about_orders);
        self.equal("the mails about orders", &mails, &right);
    }

    async fn promo(&mut self, who: &mut Visitor) -> Value {
        let mut promos = self.gets(who, get("/promotions"), 200).await;
        let count = promos["items"].as_array().map_or(0, Vec::len);
        self.equal("the number of welcome promos", &count, &1);
        promos["items"][0].take()
    }

    async fn promos(&mut self, ada: &mut Visitor) {
        self.as_admin(super::restock(SKU, 10, "promos"), 202).await;
        self.idle().await;
        let promo = self.promo(ada).await;
        self.equal(
            "the status of a new promo",
            &promo["status"],
            &json!("issued"),
        );
        self.equal("its discount", &promo["percent"], &json!(10));
        let code = promo["code"].as_str().unwrap_or_default();
        let typed = json!(format!(" {} ", code.to_lowercase()));
        let using = |key: &str| with(of_units(1, key), "/promo_code", typed.clone());
        let mut eve = self.visitor().await;
        let theft = self.gets(&mut eve, using("theft"), 202).await;
        self.equal(
            "the discount of another's promo",
            &theft["discount"],
            &eur(0),
        );
        let unknown = with(
            of_units(1, "unknown"),
            "/promo_code",
            json!("c".repeat(100)),
        );
        let unknown = self.gets(&mut eve, unknown, 202).await;
        self.idle().await;
        for placed in [&theft, &unknown] {
            let shown = self.equal_status(&mut eve, placed, "rejected").await;
            self.equal(
                "the reason of a rejection",
                &shown["reason"],
                &json!("promo_invalid"),
            );
        }
        let declined = with(
            using("promo, declined"),
            "/payment_token",
            json!("tok_declined"),
        );
        let declined = self.gets(ada, declined, 202).await;
        self.idle().await;
        self.equal_status(ada, &declined, "rejected").await;
        let promo = self.promo(ada).await;
        self.equal(
            "the status of a released promo",
            &promo["status"],
            &json!("issued"),
        );

        let mut ask = using("promo");
        ask.body["expected_total"] = eur(PRICE - 334); // Half a cent is rounded up.
        let placed = self.gets(ada, ask, 202).await;
        self.equal("the discount", &placed["discount"], &eur(334));
        self.idle().await;
        let twice = self.gets(ada, using("promo again"), 202).await;
        self.idle().await;
        self.equal_status(ada, &placed, "completed").await;
        self.equal_status(ada, &twice, "rejected").await;
        let promo = self.promo(ada).await;
        self.equal(
            "the status of a used promo",
            &promo["status"],
            &json!("redeemed"),
        );
        self.equal_available(9).await;
    }

    async fn pages(&mut self, ada: &mut Visitor) {
        for limit in ["0", "101"] {
            self.rejects(ada, get(&format!("/orders?limit={limit}")), "/limit")
                .await;
        }
        let all = self.gets(ada, get("/orders?limit=100"), 200).await;
        let all = all["items"].as_array().cloned().unwrap_or_default();
        self.equal("the number of orders", &all.len(), &9);
        let mut newest_first = all.clone();
        newest_first.sort_by_key(|it| std::cmp::Reverse(id(it)));
        self.equal("orders, newest first", &all, &newest_first);
        let (mut paged, mut path) = (Vec::new(), "/orders?limit=4".to_owned());
        for _ in 0..3 {
            let page = self.gets(ada, get(&path), 200).await;
            paged.extend(page["items"].as_array().cloned().unwrap_or_default());
            let cursor = page["next_cursor"].as_str().unwrap_or_default();
            path = format!("/orders?limit=4&cursor={cursor}");
        }
        self.equal("the orders on pages of four", &paged, &all);
    }
}
