//! Orders of claims on a flash sale, from the claim to the end of the order, on the model.

use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::Runtime as _;
use wingbeat::test::{Faults, Outages, Simulation};

use crate::world::{STOCK, World, id};

const SECOND: Duration = Duration::from_secs(1);

fn in_sale(seed: u64, units: u32, story: impl AsyncFnOnce(World, String)) {
    let simulation = Simulation::new(seed);
    let world = simulation.clone();
    simulation.run(async move {
        let world = World::open(world).await;
        let now = world.simulation.now();
        let sale = json!({
            "sku": "TEA-1", "price": { "amount_minor": 99, "currency": "EUR" },
            "allocation": units, "opens_at": now, "closes_at": now + 3_600 * SECOND,
            "claim_ttl_s": 20,
        });
        let admin = world.sign_in_admin().await;
        let created = world.ask("POST", "/admin/flash-sales", &admin, "", &sale);
        let (status, created) = created.await;
        assert_eq!(status, 201, "{created}");
        let id = created["id"].as_str().expect("an id").to_owned();
        story(world, id).await;
    });
}

fn body(claim: &str, token: &str) -> Value {
    json!({
        "flash_claim_id": claim,
        "payment_token": token,
        "address": { "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH" },
    })
}

impl World {
    async fn claim(&self, token: &str, sale: &str) -> String {
        let path = format!("/flash-sales/{sale}/claims");
        let (status, claim) = self.ask("POST", &path, token, "", &Value::Null).await;
        assert_eq!(status, 202, "{claim}");
        claim["claim_id"].as_str().expect("an id").to_owned()
    }

    async fn confirmed(&self, token: &str, sale: &str) -> String {
        let claim = self.claim(token, sale).await;
        self.pass(SECOND).await;
        assert_eq!(self.claim_status(token, &claim).await, "confirmed");
        claim
    }

    async fn claim_status(&self, token: &str, claim: &str) -> Value {
        let path = format!("/flash-claims/{claim}");
        let (_, shown) = self.ask("GET", &path, token, "", &Value::Null).await;
        shown["status"].clone()
    }

    /// Places an order that is refused, and returns the status and the code.
    async fn refused(&self, token: &str, key: &str, body: &Value) -> (u16, String) {
        let (status, problem) = self.ask("POST", "/orders", token, key, body).await;
        let code = problem["code"].as_str().unwrap_or_default();
        (status, code.to_owned())
    }

    async fn left(&self) -> Value {
        let (_, sales) = self.ask("GET", "/flash-sales", "", "", &Value::Null).await;
        sales["items"][0]["left"].clone()
    }
}

#[test]
fn the_unit_of_a_claim_is_bought_at_the_price_of_the_sale() {
    in_sale(1, 2, async |world, sale| {
        let token = world.sign_in().await;
        let claim = world.confirmed(&token, &sale).await;
        let placed = world.order(&token, "k", &body(&claim, "tok_ok")).await;
        assert_eq!(placed["total"]["amount_minor"], 99);
        world.pass(2 * SECOND).await;
        let shown = world.show(&token, &id(&placed)).await;
        assert_eq!(shown["status"], "paid");
        assert_eq!(shown["lines"][0]["sku"], "TEA-1");
        assert_eq!(world.claim_status(&token, &claim).await, "ordered");
        let again = world.order(&token, "k", &body(&claim, "tok_ok")).await;
        assert_eq!(again, placed);
        world.pass(10 * SECOND).await;
        assert_eq!(
            world.show(&token, &id(&placed)).await["status"],
            "completed"
        );
        assert_eq!(world.bank.effects(&id(&placed)), ["authorize", "capture"]);
        assert_eq!(world.left().await, 1);
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

/// The stock is reserved by the claim: the checkout begins with the payment.
#[test]
fn an_order_of_a_claim_needs_no_reservation() {
    in_sale(2, 2, async |world, sale| {
        let token = world.sign_in().await;
        let claim = world.confirmed(&token, &sale).await;
        let placed = world.order(&token, "k", &body(&claim, "tok_ok")).await;
        world.pass(2 * SECOND).await;
        let reads = world.running.reads("orders").expect("it runs");
        let order = id(&placed).parse::<uuid::Uuid>().expect("an id");
        let story = reads.timeline(order.into()).await.expect("it reads");
        let sent: Vec<_> = story.iter().map(|entry| entry.name.as_str()).collect();
        assert!(!sent.contains(&"inventory.reserve_stock.v1"), "{sent:?}");
        assert!(sent.contains(&"inventory.use_flash_claim.v1"), "{sent:?}");
    });
}

#[test]
fn a_claim_is_used_once_by_its_user_and_with_nothing_else() {
    in_sale(3, 2, async |world, sale| {
        let (ann, eve) = (world.sign_in().await, world.sign_in().await);
        let claim = world.confirmed(&ann, &sale).await;
        let mut with_promo = body(&claim, "tok_ok");
        with_promo["promo_code"] = json!("WELCOME");
        assert_eq!(
            world.refused(&ann, "a", &with_promo).await,
            (422, "invalid".into())
        );
        let mut with_items = body(&claim, "tok_ok");
        with_items["items"] = json!([{ "sku": "TEA-1", "quantity": 1 }]);
        assert_eq!(
            world.refused(&ann, "b", &with_items).await,
            (422, "invalid".into())
        );
        let mut cheaper = body(&claim, "tok_ok");
        cheaper["expected_total"] = json!({ "amount_minor": 98, "currency": "EUR" });
        assert_eq!(
            world.refused(&ann, "c", &cheaper).await,
            (409, "price_changed".into())
        );
        let right = body(&claim, "tok_ok");
        let not_found = || (404, "not_found".to_owned());
        assert_eq!(world.refused(&eve, "d", &right).await, not_found());
        for forged in ["nothing", "0193f0a0-0000-7000-8000-000000000001"] {
            assert_eq!(
                world.refused(&ann, forged, &body(forged, "tok_ok")).await,
                not_found()
            );
        }
        world.order(&ann, "e", &right).await;
        assert_eq!(
            world.refused(&ann, "f", &right).await,
            (409, "claim_used".into())
        );
    });
}

#[test]
fn a_claim_is_ordered_after_its_confirmation_and_before_its_expiry() {
    in_sale(4, 2, async |world, sale| {
        let (ann, bob) = (world.sign_in().await, world.sign_in().await);
        let late = world.confirmed(&bob, &sale).await;
        // The confirmation does not reach orders.
        world.model.set_outages(Outages {
            broker: true,
            ..Outages::default()
        });
        let claim = world.claim(&ann, &sale).await;
        let pending = world.refused(&ann, "a", &body(&claim, "tok_ok")).await;
        assert_eq!(pending, (409, "claim_pending".into()));
        world.model.set_outages(Outages::default());
        world.pass(5 * SECOND).await;
        world.order(&ann, "b", &body(&claim, "tok_ok")).await;
        world.pass(15 * SECOND).await;
        let expired = world.refused(&bob, "c", &body(&late, "tok_ok")).await;
        assert_eq!(expired, (409, "claim_expired".into()));
        world.pass(5 * SECOND).await;
        assert_eq!(world.left().await, 1);
    });
}

#[test]
fn a_lost_claim_is_expired() {
    in_sale(5, 2, async |world, sale| {
        let token = world.sign_in().await;
        let claim = world.claim(&token, &sale).await;
        let key = format!("flash-sale:{sale}");
        let allotments = wingbeat::ports::Cache::allotments(&*world.model.cache);
        let allotments = allotments.expect("the model has allotments");
        allotments.end(&key).await.expect("the cache answers");
        assert_eq!(world.claim_status(&token, &claim).await, "expired");
        world.pass(20 * SECOND).await;
        let expired = world.refused(&token, "a", &body(&claim, "tok_ok")).await;
        assert_eq!(expired, (409, "claim_expired".into()));
        assert_eq!(world.left().await, 2);
    });
}

#[test]
fn a_declined_card_returns_the_unit_to_the_sale() {
    in_sale(6, 1, async |world, sale| {
        let token = world.sign_in().await;
        let claim = world.confirmed(&token, &sale).await;
        assert_eq!(world.left().await, 0);
        let placed = world
            .order(&token, "k", &body(&claim, "tok_declined"))
            .await;
        world.pass(20 * SECOND).await;
        let shown = world.show(&token, &id(&placed)).await;
        assert_eq!(shown["reason"], "payment_declined");
        assert_eq!(world.left().await, 1);
        let other = world.sign_in().await;
        world.confirmed(&other, &sale).await;
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

#[test]
fn a_cancelled_order_returns_its_unit_to_the_sale() {
    in_sale(7, 1, async |world, sale| {
        let token = world.sign_in().await;
        let claim = world.confirmed(&token, &sale).await;
        let placed = world.order(&token, "k", &body(&claim, "tok_ok")).await;
        world.pass(SECOND).await;
        let cancel = format!("/orders/{}/cancel", id(&placed));
        assert_eq!(
            world.ask("POST", &cancel, &token, "", &Value::Null).await.0,
            202
        );
        world.pass(20 * SECOND).await;
        assert_eq!(
            world.show(&token, &id(&placed)).await["status"],
            "cancelled"
        );
        assert_eq!(world.left().await, 1);
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

/// The unit of an order that is not paid must not wait for a day.
#[test]
fn an_order_of_a_claim_waits_five_minutes_for_its_payment() {
    in_sale(8, 1, async |world, sale| {
        let token = world.sign_in().await;
        let claim = world.confirmed(&token, &sale).await;
        world.model.set_faults(Faults {
            outside_fails: 1_000,
            ..Faults::default()
        });
        let placed = world.order(&token, "k", &body(&claim, "tok_ok")).await;
        world.pass(290 * SECOND).await;
        let shown = world.show(&token, &id(&placed)).await;
        assert_eq!(
            (&shown["status"], &shown["payment_delayed"]),
            (&json!("stock_reserved"), &json!(true))
        );
        assert_eq!(world.left().await, 0);
        world.pass(30 * SECOND).await;
        world.model.set_faults(Faults::default());
        world.pass(120 * SECOND).await;
        let shown = world.show(&token, &id(&placed)).await;
        assert_eq!(
            (&shown["status"], &shown["reason"]),
            (&json!("rejected"), &json!("payment_timeout"))
        );
        assert_eq!(world.left().await, 1);
        assert_eq!(world.figures().await, Vec::<String>::new());
        let reads = world.running.reads("inventory").expect("it runs");
        let stock = shop_inventory::audit::stock(&reads)
            .await
            .expect("it reads");
        assert_eq!(stock[&"TEA-1".parse().expect("a SKU")].on_hand, STOCK - 1);
    });
}
