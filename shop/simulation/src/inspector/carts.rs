//! Carts: their limits, their totals, and what an order takes out of them.

use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::test::simulator::Ask;

use super::ordering::order;
use super::{Inspector, Visitor, call, eur, get, offer};

/// The products: one of them becomes dearer.
const SKUS: [(&str, i64); 3] = [("JAR-9", 150), ("MUG-9", 275), ("PAN-9", 1_999)];

fn put(sku: &str, quantity: i64) -> Ask {
    call(
        "PUT",
        &format!("/cart/items/{sku}"),
        json!({ "quantity": quantity }),
    )
}

fn take_out(sku: &str) -> Ask {
    call("DELETE", &format!("/cart/items/{sku}"), Value::Null)
}

impl Inspector {
    pub(super) async fn carts(&mut self) {
        for (sku, price) in SKUS {
            self.goods(sku, price, 100).await;
        }
        let mut ada = self.visitor().await;
        self.contains(&mut ada, &[], 0).await;
        for quantity in [0, 100] {
            self.rejects(&mut ada, put("JAR-9", quantity), "/quantity")
                .await;
        }
        self.refuses(&mut ada, put("NO-SUCH", 1), 404, "not_found")
            .await;
        self.gets(&mut ada, take_out("JAR-9"), 200).await;
        self.contains(&mut ada, &[], 0).await;
        self.gets(&mut ada, put("JAR-9", 1), 200).await;
        self.gets(&mut ada, put("MUG-9", 99), 200).await;
        self.gets(&mut ada, put("JAR-9", 4), 200).await;
        self.gets(&mut ada, put("JAR-9", 4), 200).await;
        self.contains(&mut ada, &[("JAR-9", 4), ("MUG-9", 99)], 3)
            .await;
        self.gets(&mut ada, put("MUG-9", 2), 200).await;
        self.gets(&mut ada, put("PAN-9", 1), 200).await;
        self.gets(&mut ada, take_out("MUG-9"), 200).await;
        self.contains(&mut ada, &[("JAR-9", 4), ("PAN-9", 1)], 6)
            .await;
        self.buys_the_cart(&mut ada).await;
        self.grows_dearer(&mut ada).await;
        self.full_cart(&mut ada).await;
    }

    /// Expects these lines at their prices.
    async fn contains(&mut self, who: &mut Visitor, lines: &[(&str, i64)], version: u64) {
        let price = |sku: &str| SKUS.iter().find(|it| it.0 == sku).map_or(0, |it| it.1);
        let line = |(sku, quantity): &(&str, i64)| {
            json!({
                "sku": sku, "name": format!("A {sku}"), "quantity": quantity,
                "price": eur(price(sku)),
            })
        };
        let total = lines
            .iter()
            .map(|(sku, quantity)| price(sku) * quantity)
            .sum();
        let lines: Vec<_> = lines.iter().map(line).collect();
        let right = json!({ "lines": lines, "total": eur(total), "version": version });
        let cart = self.gets(who, get("/cart"), 200).await;
        self.equal("a cart", &cart, &right);
    }

    /// An order takes the cart as its owner has seen it, and leaves what is added later.
    async fn buys_the_cart(&mut self, ada: &mut Visitor) {
        let mut other = self.visitor().await;
        self.refuses(&mut other, order(Value::Null, "empty"), 422, "cart_empty")
            .await;
        let before = self.now();
        let placed = self.gets(ada, order(Value::Null, "cart"), 202).await;
        let is_quick = self.now().since(before) < Duration::from_secs(1);
        self.equal(
            "an order of a known cart waits for nothing",
            &is_quick,
            &true,
        );
        self.equal(
            "the total of a cart",
            &placed["total"],
            &eur(4 * 150 + 1_999),
        );
        self.refuses(ada, order(Value::Null, "cart again"), 422, "cart_empty")
            .await;
        self.gets(ada, put("MUG-9", 3), 200).await;
        self.idle().await;
        let cart = self.gets(ada, get("/cart"), 200).await;
        self.equal(
            "what is left in the cart",
            &cart["lines"][0]["sku"],
            &json!("MUG-9"),
        );
        self.equal("the total that is left", &cart["total"], &eur(3 * 275));
        let items = json!([{ "sku": "MUG-9", "quantity": 1 }]);
        self.gets(ada, order(items, "beside the cart"), 202).await;
        self.idle().await;
        let after = self.gets(ada, get("/cart"), 200).await;
        self.equal("the cart of an order by items", &after, &cart);
    }

    async fn grows_dearer(&mut self, ada: &mut Visitor) {
        self.as_admin(offer("MUG-9", 300), 200).await;
        self.idle().await;
        let cart = self.gets(ada, get("/cart"), 200).await;
        self.equal("the total at the new price", &cart["total"], &eur(3 * 300));
        let placed = self.gets(ada, order(Value::Null, "dearer"), 202).await;
        self.equal("the total of the order", &placed["total"], &eur(3 * 300));
        self.idle().await;
    }

    /// A cart has 50 products at most.
    async fn full_cart(&mut self, ada: &mut Visitor) {
        for number in 0..=50 {
            self.as_admin(offer(&format!("KEY-{number}"), 10), 200)
                .await;
        }
        self.idle().await;
        for number in 0..50 {
            self.gets(ada, put(&format!("KEY-{number}"), 1), 200).await;
        }
        self.rejects(ada, put("KEY-50", 1), "/quantity").await;
        self.gets(ada, put("KEY-49", 2), 200).await;
        let cart = self.gets(ada, get("/cart"), 200).await;
        self.equal("the total of a full cart", &cart["total"], &eur(510));
        let item = |number| json!({ "sku": format!("KEY-{number}"), "quantity": 1 });
        let too_many: Value = (0..51).map(item).collect();
        self.rejects(ada, order(too_many, "51"), "/items").await;
        let many: Value = (0..50).map(item).collect();
        let placed = self.gets(ada, order(many, "50"), 202).await;
        self.equal("the total of 50 products", &placed["total"], &eur(500));
        self.idle().await;
        self.equal_status(ada, &placed, "rejected").await; // They are not in stock.
    }
}
