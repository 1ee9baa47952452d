//! Flash sales: from their announcement to their end, with claims that are refused, bought, left to
//! expire and given back.

use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::Timestamp;
use wingbeat::test::simulator::Ask;

use super::ordering::with;
use super::{Inspector, Visitor, call, eur, get};

/// The product, its price and its stock.
const SKU: &str = "RUG-9";
const PRICE: i64 = 9_900;
const UNITS: i64 = 10;
/// The lifetime of a claim, in seconds.
const TTL: u64 = 30;

/// The claims of an impatient user.
const CROWD: usize = 2_200;

const SECOND: Duration = Duration::from_secs(1);
/// More than a clock is wrong at most, and less than a sale waits until it is closed, with the
/// clock that is wrong the other way.
const SKEW: Duration = Duration::from_millis(2_500);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn new_sale(units: u32, per_user: u32, opens_at: Timestamp, closes_at: Timestamp) -> Ask {
    let body = json!({
        "sku": SKU, "price": eur(99), "allocation": units, "per_user": per_user,
        "opens_at": opens_at, "closes_at": closes_at, "claim_ttl_s": TTL,
    });
    let key = format!("inspected-{units}-{per_user}-{opens_at}-{closes_at}");
    call("POST", "/admin/flash-sales", body).idempotency_key(key)
}

fn claim(sale: &str, key: &str) -> Ask {
    let ask = call("POST", &format!("/flash-sales/{sale}/claims"), Value::Null);
    ask.idempotency_key(key)
}

fn order(claim: &str, key: &str) -> Ask {
    let ask = super::ordering::order(Value::Null, key);
    with(ask, "/flash_claim_id", json!(claim))
}

impl Inspector {
    pub(super) async fn sales(&mut self) {
        self.goods(SKU, PRICE, UNITS).await;
        self.invalid_sales().await;
        let mut buyers = Vec::new();
        for _ in 0..3 {
            buyers.push(self.visitor().await);
        }
        self.a_sale(&mut buyers).await;
        self.a_sale_that_ends(&mut buyers[0]).await;
        self.a_claim_that_waits(&mut buyers[0]).await;
    }

    async fn invalid_sales(&mut self) {
        let now = self.now();
        let sale = || new_sale(1, 1, now, now + DAY);
        for (field, value) in [
            ("allocation", json!(0)),
            ("allocation", json!(100_001)),
            ("per_user", json!(0)),
            ("per_user", json!(101)),
            ("claim_ttl_s", json!(0)),
            ("claim_ttl_s", json!(24 * 3_600 + 1)),
            ("closes_at", json!(now)),
            ("closes_at", json!(now - SECOND)),
            ("closes_at", json!(now + 31 * DAY + SECOND)),
        ] {
            let pointer = format!("/{field}");
            self.rejects_admin(with(sale(), &pointer, value), &pointer)
                .await;
        }
        let late = now + 366 * DAY + 60 * SECOND;
        self.rejects_admin(new_sale(1, 1, late, late + DAY), "/opens_at")
            .await;
        let past = new_sale(1, 1, now - 2 * DAY, now - DAY);
        self.rejects_admin(past, "/closes_at").await;
        let unpriced = with(
            with(sale(), "/price", Value::Null),
            "/sku",
            json!("NO-SUCH"),
        );
        self.rejects_admin(unpriced, "/price").await;
        let too_many = new_sale(11, 1, now, now + DAY);
        self.refuses_admin(too_many, 409, "insufficient_stock")
            .await;
        let mut customer = self.visitor().await;
        self.refuses(&mut customer, sale(), 403, "forbidden").await;
        for limit in ["0", "101"] {
            let list = get(&format!("/flash-sales?limit={limit}"));
            self.rejects(&mut customer, list, "/limit").await;
        }
        let nowhere = claim("00000000-0000-7000-8000-000000000000", "nowhere");
        self.refuses(&mut customer, nowhere, 404, "not_found").await;
        let none = get("/flash-claims/00000000-0000-7000-8000-000000000000");
        self.refuses(&mut customer, none, 404, "not_found").await;
    }

    /// Creates a sale with the longest values that are valid. Returns its id.
    async fn opens(&mut self, ask: Ask) -> String {
        let sale = self.as_admin(ask.clone(), 201).await;
        let again = self.as_admin(ask, 201).await;
        self.equal("the answer to the same sale", &again["id"], &sale["id"]);
        self.idle().await;
        sale["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Expects a sale with these units and this state in the list.
    async fn sale_is(&mut self, sale: &str, left: u32, state: &str) {
        let mut anybody = self.stranger();
        let list = self.gets(&mut anybody, get("/flash-sales"), 200).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let shown = items
            .into_iter()
            .find(|it| it["id"] == sale)
            .unwrap_or_default();
        let shown = (shown["left"].clone(), shown["state"].clone());
        self.equal(
            "the units and the state of a sale",
            &shown,
            &(json!(left), json!(state)),
        );
    }

    async fn claims(&mut self, who: &mut Visitor, sale: &str, key: &str) -> String {
        let claimed = self.gets(who, claim(sale, key), 202).await;
        claimed["claim_id"].as_str().unwrap_or_default().to_owned()
    }

    async fn claim_is(&mut self, who: &mut Visitor, claim: &str, right: &str) -> Value {
        let shown = self
            .gets(who, get(&format!("/flash-claims/{claim}")), 200)
            .await;
        self.equal("the status of a claim", &shown["status"], &json!(right));
        shown
    }

    async fn units_left(&mut self, right: i64) {
        self.idle().await;
        let left = self.available(SKU).await;
        self.equal("the units in the general stock", &left, &json!(right));
    }

    /// Four units, two for each user: one is sold, one expires, one is given back.
    async fn a_sale(&mut self, buyers: &mut [Visitor]) {
        let [ada, bob, eve] = buyers else { return };
        let now = self.now();
        let (opens_at, closes_at) = (now + 20 * SECOND, now + 20 * SECOND + 31 * DAY);
        let sale = self.opens(new_sale(4, 2, opens_at, closes_at)).await;
        self.units_left(UNITS - 4).await;
        self.sale_is(&sale, 4, "scheduled").await;
        self.refuses(ada, claim(&sale, "early"), 409, "not_open")
            .await;
        self.pass(opens_at.since(self.now()) + SKEW).await;
        self.sale_is(&sale, 4, "open").await;

        let first = self.claims(ada, &sale, "first").await;
        let again = self.claims(ada, &sale, "first").await;
        self.equal("the claim of the same key", &again, &first);
        let mut changed = claim(&sale, "first");
        changed.body = json!({ "other": "body" });
        self.expect(ada, changed, 422, "idempotency_key_reused")
            .await;
        self.refuses(
            eve,
            get(&format!("/flash-claims/{first}")),
            404,
            "not_found",
        )
        .await;
        let second = self.claims(ada, &sale, "second").await;
        self.refuses(ada, claim(&sale, "third"), 409, "limit_reached")
            .await;
        let third = self.claims(bob, &sale, "first").await;
        let fourth = self.claims(bob, &sale, "second").await;
        self.refuses(eve, claim(&sale, "first"), 409, "sold_out")
            .await;
        self.sale_is(&sale, 0, "sold_out").await;
        self.a_crowd(eve, &sale).await;
        self.pass(3 * SECOND).await;
        self.claim_is(ada, &first, "confirmed").await;
        self.claim_is(ada, &second, "confirmed").await;
        self.claim_is(bob, &third, "confirmed").await;
        self.buys(ada, bob, eve, [&first, &second, &third]).await;
        self.claim_is(bob, &fourth, "confirmed").await;
        self.sale_is(&sale, 1, "open").await; // The third came back.
        self.pass(Duration::from_secs(TTL) + 5 * SECOND).await;
        for (who, claim) in [(&mut *ada, &second), (bob, &fourth)] {
            self.claim_is(who, claim, "expired").await;
            let late = order(claim, &format!("late {claim}"));
            self.refuses(who, late, 409, "claim_expired").await;
        }
        self.sale_is(&sale, 3, "open").await;
        // A unit that a user has ordered counts, one that came back does not.
        self.claims(ada, &sale, "fourth").await;
        self.refuses(ada, claim(&sale, "fifth"), 409, "limit_reached")
            .await;
        self.claims(bob, &sale, "third").await;
        self.claims(bob, &sale, "fourth").await;
        self.refuses(eve, claim(&sale, "second"), 409, "sold_out")
            .await;
        self.pass(Duration::from_secs(TTL) + 10 * SECOND).await;
        self.units_left(UNITS - 4).await;
    }

    /// More claims, one after another, than each of two processes decides at once.
    async fn a_crowd(&mut self, eve: &mut Visitor, sale: &str) {
        for _ in 0..CROWD {
            let path = format!("/flash-sales/{sale}/claims");
            let ask = call("POST", &path, Value::Null);
            self.refuses(eve, ask, 409, "sold_out").await;
            if !self.broken.is_empty() {
                return;
            }
        }
    }

    /// An order that waits for the bank keeps its unit beyond the lifetime of its claim.
    async fn a_claim_that_waits(&mut self, ada: &mut Visitor) {
        let now = self.now();
        let ask = new_sale(1, 1, now - SKEW, now + DAY);
        let sale = self.opens(with(ask, "/claim_ttl_s", json!(8))).await;
        let claim = self.claims(ada, &sale, "waits").await;
        self.bank.set_closed(true);
        // The claim is confirmed meanwhile.
        let placed = self.gets(ada, order(&claim, "claim that waits"), 202).await;
        self.pass(16 * SECOND).await;
        self.claim_is(ada, &claim, "ordered").await;
        self.bank.set_closed(false);
        self.idle().await;
        self.equal_status(ada, &placed, "completed").await;
        self.units_left(UNITS - 6).await;
    }

    /// The first claim is bought, and the third is given back.
    async fn buys(
        &mut self,
        ada: &mut Visitor,
        bob: &mut Visitor,
        eve: &mut Visitor,
        [first, second, third]: [&String; 3],
    ) {
        let mut dearer = order(first, "dearer claim");
        dearer.body["expected_total"] = eur(PRICE);
        self.refuses(ada, dearer, 409, "price_changed").await;
        let both = with(order(first, "claim and promo"), "/promo_code", json!("X"));
        self.rejects(ada, both, "/promo_code").await;
        let items = json!([{ "sku": SKU, "quantity": 1 }]);
        let both = with(order(first, "claim and items"), "/items", items);
        self.rejects(ada, both, "/items").await;
        self.refuses(eve, order(first, "stolen claim"), 404, "not_found")
            .await;
        self.refuses(eve, order("no claim", "no claim"), 404, "not_found")
            .await;
        let unknown = "00000000-0000-7000-8000-000000000000";
        self.refuses(eve, order(unknown, "unknown claim"), 404, "not_found")
            .await;
        let placed = self.gets(ada, order(first, "claim"), 202).await;
        self.equal("the price of a sale", &placed["total"], &eur(99));
        self.refuses(ada, order(first, "claim again"), 409, "claim_used")
            .await;
        let declined = with(
            order(third, "declined claim"),
            "/payment_token",
            json!("tok_declined"),
        );
        let declined = self.gets(bob, declined, 202).await;
        self.pass(8 * SECOND).await;
        let shown = self.equal_status(ada, &placed, "completed").await;
        let line = json!([{
            "sku": SKU, "name": format!("A {SKU}"), "quantity": 1, "price": eur(99),
        }]);
        self.equal("the line of a claim", &shown["lines"], &line);
        self.equal_status(bob, &declined, "rejected").await;
        self.claim_is(ada, first, "ordered").await;
        self.claim_is(bob, third, "ordered").await;
        self.claim_is(ada, second, "confirmed").await;
    }

    /// At the end of a sale its units go back to the general stock: the free ones at once, and
    /// those of claims that are not ordered once these expire.
    async fn a_sale_that_ends(&mut self, ada: &mut Visitor) {
        let now = self.now();
        let closes_at = now + 15 * SECOND;
        let mut ask = new_sale(3, 3, now - SKEW, closes_at);
        ask.body["price"] = Value::Null;
        let sale = self.opens(ask).await;
        self.units_left(UNITS - 7).await;
        let bought = self.claims(ada, &sale, "bought").await;
        let left = self.claims(ada, &sale, "left").await;
        self.pass(3 * SECOND).await;
        let placed = self
            .gets(ada, order(&bought, "at the full price"), 202)
            .await;
        self.equal(
            "the price of a sale without one",
            &placed["total"],
            &eur(PRICE),
        );
        self.pass(closes_at.since(self.now()) + SKEW).await;
        self.refuses(ada, claim(&sale, "late"), 409, "not_open")
            .await;
        self.sale_is(&sale, 1, "closed").await;
        self.claim_is(ada, &left, "confirmed").await;
        self.pass(8 * SECOND).await;
        self.equal_status(ada, &placed, "completed").await;
        self.units_left(UNITS - 6).await;
        self.sale_is(&sale, 0, "closed").await;
        self.pass(Duration::from_secs(TTL)).await;
        self.claim_is(ada, &left, "expired").await;
        self.units_left(UNITS - 5).await;
        self.refuses(ada, claim(&sale, "later"), 409, "not_open")
            .await;
    }
}
