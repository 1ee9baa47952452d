//! Products and stock: what the admin may offer, and what everybody sees of it.

use serde_json::{Value, json};
use shop_contracts::inventory::AdjustStock;
use wingbeat::RuntimeExt as _;
use wingbeat::test::simulator::Ask;

use super::{Inspector, call, eur, get, offer, restock};

/// The product.
const SKU: &str = "LAMP-9";

fn put(name: &str, description: &str, cents: i64) -> Ask {
    let body = json!({ "name": name, "description": description, "price": eur(cents) });
    call("PUT", &format!("/admin/products/{SKU}"), body)
}

fn retire(sku: &str) -> Ask {
    call("DELETE", &format!("/admin/products/{sku}"), Value::Null)
}

fn stock(delta: i64, reason: &str) -> Ask {
    let body = json!({ "delta": delta, "reason": reason });
    let ask = call("POST", &format!("/admin/stock/{SKU}"), body);
    ask.idempotency_key(format!("inspected-{delta}-{}", reason.len()))
}

impl Inspector {
    pub(super) async fn assortment(&mut self) {
        self.offers().await;
        self.stock().await;
        self.lists().await;
        self.retirement().await;
    }

    async fn shows(&mut self, name: &str, description: &str, cents: i64, available: i64) {
        let right = json!({
            "sku": SKU, "name": name, "description": description, "price": eur(cents),
            "available": available,
        });
        let mut anybody = self.stranger();
        let path = format!("/products/{SKU}");
        let shown = self.gets(&mut anybody, get(&path), 200).await;
        self.equal("a product", &shown, &right);
        let list = self
            .gets(&mut anybody, get("/products?search=LAMP&limit=100"), 200)
            .await;
        self.equal(
            "the products that are found",
            &list["items"],
            &json!([right]),
        );
    }

    async fn offers(&mut self) {
        let (longest, longer) = ("n".repeat(200), "n".repeat(201));
        let (full, fuller) = ("d".repeat(2_000), "d".repeat(2_001));
        for name in ["", " ", "Lamp\nx", &longer] {
            self.rejects_admin(put(name, "", 1), "/name").await;
        }
        for description in ["a\u{202e}b", "a\u{7}b", &fuller] {
            self.rejects_admin(put("Lamp", description, 1), "/description")
                .await;
        }
        for cents in [0, -1, 100_000_001] {
            self.rejects_admin(put("Lamp", "", cents), "/price/amount_minor")
                .await;
        }
        let mut anybody = self.stranger();
        let path = format!("/products/{SKU}");
        self.refuses(&mut anybody, get(&path), 404, "not_found")
            .await;
        self.refuses_admin(retire(SKU), 404, "not_found").await;
        let mut customer = self.visitor().await;
        self.refuses(&mut customer, put("Lamp", "", 1), 403, "forbidden")
            .await;
        self.refuses(&mut customer, retire(SKU), 403, "forbidden")
            .await;
        self.refuses(&mut customer, stock(1, "mine"), 403, "forbidden")
            .await;
        self.refuses(&mut anybody, put("Lamp", "", 1), 401, "unauthenticated")
            .await;

        let lines = "Of brass.\r\n\tHeavy.";
        for (name, description, cents) in [
            (longest.as_str(), full.as_str(), 100_000_000),
            ("Lamp", lines, 100_000_000),
            ("Lamp", lines, 1),
            ("Lamp", "Of tin.", 1),
            ("Lamp", "Of tin.", 1),
            ("Lamp two", "Of tin.", 1),
            ("Lamp", "Of tin.", 2),
        ] {
            self.as_admin(put(name, description, cents), 200).await;
            if name != longest {
                self.shows(name, description, cents, 0).await;
            }
        }
    }

    async fn stock(&mut self) {
        for delta in [0, 1_000_000_001, -1_000_000_001] {
            self.rejects_admin(stock(delta, "counted"), "/delta").await;
        }
        for reason in ["", " ", &"r".repeat(201)] {
            self.rejects_admin(stock(1, reason), "/reason").await;
        }
        self.refuses_admin(stock(-1, "stolen"), 409, "below_reserved")
            .await;
        self.as_admin(stock(1_000_000_000, "found"), 202).await;
        self.as_admin(stock(-999_999_990, &"r".repeat(200)), 202)
            .await;
        self.as_admin(stock(-999_999_990, &"r".repeat(200)), 202)
            .await; // The same once more.
        self.idle().await;
        self.shows("Lamp", "Of tin.", 2, 10).await;
        self.as_admin(stock(-10, "sold elsewhere"), 202).await;
        self.idle().await;
        self.shows("Lamp", "Of tin.", 2, 0).await;
        self.adjustments().await;
        self.as_admin(stock(7, "came"), 202).await;
        self.idle().await;
        self.shows("Lamp", "Of tin.", 2, 7).await;
    }

    /// Other programs send a command instead. It may arrive twice.
    async fn adjustments(&mut self) {
        for (delta, left) in [(7, 7), (-7, 0)] {
            let adjusted = AdjustStock {
                sku: SKU.parse().expect("a SKU"),
                delta,
                reason: "counted".into(),
                adjustment_id: self.world.simulation().id(),
            };
            for _ in 0..2 {
                self.world.publish(&adjusted).await;
                self.idle().await;
                self.shows("Lamp", "Of tin.", 2, left).await;
            }
        }
    }

    async fn lists(&mut self) {
        let mut anybody = self.stranger();
        for limit in ["0", "101"] {
            let list = get(&format!("/products?limit={limit}"));
            self.rejects(&mut anybody, list, "/limit").await;
        }
        let long = get(&format!("/products?search={}", "s".repeat(101)));
        self.rejects(&mut anybody, long, "/search").await;
        self.gets(
            &mut anybody,
            get(&format!("/products?search={}", "s".repeat(100))),
            200,
        )
        .await;
        let all = self.gets(&mut anybody, get("/products"), 200).await;
        let right: Vec<Value> = all["items"].as_array().cloned().unwrap_or_default();
        let (mut paged, mut path) = (Vec::new(), "/products?limit=2".to_owned());
        for _ in 0..=right.len() {
            let page = self.gets(&mut anybody, get(&path), 200).await;
            paged.extend(page["items"].as_array().cloned().unwrap_or_default());
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            path = format!("/products?limit=2&cursor={cursor}");
        }
        self.equal("the products on pages of two", &paged, &right);
        let strange = get("/orders?cursor=x");
        let mut customer = self.visitor().await;
        self.refuses(&mut customer, strange, 400, "bad_cursor")
            .await;
    }

    /// A product that is not sold any more can be listed again.
    async fn retirement(&mut self) {
        let mut customer = self.visitor().await;
        let item = format!("/cart/items/{SKU}");
        let put_in = |quantity: u32| call("PUT", &item, json!({ "quantity": quantity }));
        self.gets(&mut customer, put_in(1), 200).await;
        self.as_admin(retire(SKU), 204).await;
        self.as_admin(retire(SKU), 204).await;
        let mut anybody = self.stranger();
        let path = format!("/products/{SKU}");
        self.refuses(&mut anybody, get(&path), 404, "not_found")
            .await;
        let list = self
            .gets(&mut anybody, get("/products?search=lamp"), 200)
            .await;
        self.equal("the products that are found", &list["items"], &json!([]));
        self.idle().await;
        let cart = self.gets(&mut customer, get("/cart"), 200).await;
        self.equal(
            "the lines of a product that is not sold",
            &cart["lines"],
            &json!([]),
        );
        self.refuses(&mut customer, put_in(2), 404, "not_found")
            .await;
        let order = super::ordering::order(json!([{ "sku": SKU, "quantity": 1 }]), "retired");
        self.rejects(&mut customer, order, "/items/0/sku").await;
        let cart = super::ordering::order(Value::Null, "retired cart");
        self.refuses(&mut customer, cart, 422, "cart_empty").await;

        self.as_admin(offer(SKU, 2), 200).await;
        self.as_admin(restock(SKU, 1, "again"), 202).await;
        self.idle().await;
        let name = format!("A {SKU}");
        self.shows_again(&name).await;
        let cart = self.gets(&mut customer, get("/cart"), 200).await;
        self.equal(
            "the product of a line",
            &cart["lines"][0]["name"],
            &json!(name),
        );
    }

    async fn shows_again(&mut self, name: &str) {
        self.shows(name, "Of the simulation.", 2, 8).await;
    }
}
