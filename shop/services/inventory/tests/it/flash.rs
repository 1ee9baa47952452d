//! Flash sales: claims in the cache, their confirmation by the store, and their ends.

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::inventory::{CommitFlashClaim, ReturnFlashClaim, UseFlashClaim};
use shop_contracts::{ClaimId, OrderId, SaleId};
use shop_inventory::flash_audit::{self, Shares};
use shop_inventory::{Config, service};
use uuid::Uuid;
use wingbeat::test::{Faults, Outages, TestApp};
use wingbeat::{App, Timestamp};

use crate::warehouse::{figures, order, stock, stocked};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A user, by number.
pub(crate) fn user(number: u32) -> Uuid {
    order(1_000 + number).0
}

pub(crate) struct Sale<'a> {
    world: &'a TestApp,
    pub(crate) id: String,
}

pub(crate) fn now(world: &TestApp) -> Timestamp {
    world.reads("inventory").runtime().now()
}

/// Returns the body of a sale of TEA that opens now.
pub(crate) fn body(world: &TestApp, allocation: u32) -> Value {
    let now = now(world);
    json!({
        "sku": "TEA", "price": {"amount_minor": 100, "currency": "EUR"}, "allocation": allocation,
        "opens_at": now, "closes_at": now + MINUTE, "claim_ttl_s": 20,
    })
}

pub(crate) fn create(world: &TestApp, body: &Value) -> (u16, Value) {
    let admin = world.sign_in(order(1).0, true);
    world.ask("POST", "/api/v1/admin/flash-sales", &admin, body)
}

impl<'a> Sale<'a> {
    pub(crate) fn open(world: &'a TestApp, allocation: u32) -> Self {
        Self::with(world, &body(world, allocation))
    }

    pub(crate) fn with(world: &'a TestApp, body: &Value) -> Self {
        let (status, created) = create(world, body);
        assert_eq!(status, 201, "{created}");
        let id = created["id"].as_str().unwrap().to_owned();
        Self { world, id }
    }

    fn post(&self, number: u32, key: &str, body: &Value) -> (u16, Value) {
        let token = self.world.sign_in(user(number), false);
        let path = format!("/api/v1/flash-sales/{}/claims", self.id);
        if key.is_empty() {
            return self.world.ask("POST", &path, &token, body);
        }
        self.world.post(&path, &token, key, body)
    }

    /// Claims a unit and returns the claim, or the code of the problem.
    pub(crate) fn claim(&self, number: u32) -> Result<String, String> {
        let (status, answer) = self.post(number, "", &Value::Null);
        if status == 202 {
            return Ok(answer["claim_id"].as_str().unwrap().to_owned());
        }
        Err(answer["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Claims a unit, which the store confirms.
    pub(crate) fn confirmed(&self, number: u32) -> ClaimId {
        let claim = self.claim(number).unwrap();
        self.world.pass(SECOND);
        assert_eq!(self.status(number, &claim), "confirmed");
        claim.parse().unwrap()
    }

    pub(crate) fn status(&self, number: u32, claim: &str) -> String {
        status(self.world, number, claim)
    }

    /// Returns the listed sale.
    fn shown(&self) -> Value {
        let (_, listed) = self
            .world
            .ask("GET", "/api/v1/flash-sales", "", &Value::Null);
        let mut items = listed["items"].as_array().unwrap().iter();
        items.find(|it| it["id"] == json!(self.id)).unwrap().clone()
    }

    fn left(&self) -> (u64, String) {
        let shown = self.shown();
        let state = shown["state"].as_str().unwrap().to_owned();
        (shown["left"].as_u64().unwrap(), state)
    }

    /// Returns the units of the sale that are not free, and checks the invariant.
    fn shares(&self) -> Shares {
        let reads = self.world.reads("inventory");
        let sales = self.world.run(flash_audit::sales(&reads)).unwrap();
        let id: SaleId = self.id.parse().unwrap();
        let figures = &sales[&id];
        assert_eq!(figures.violations(), Vec::<String>::new());
        figures.counted
    }
}

fn status(world: &TestApp, number: u32, claim: &str) -> String {
    let token = world.sign_in(user(number), false);
    let path = format!("/api/v1/flash-claims/{claim}");
    let (status, shown) = world.ask("GET", &path, &token, &Value::Null);
    match status {
        200 => shown["status"].as_str().unwrap().to_owned(),
        _ => shown["code"].as_str().unwrap_or_default().to_owned(),
    }
}

fn shares(held: u32, ordered: u32, sold: u32) -> Shares {
    Shares {
        held,
        ordered,
        sold,
    }
}

fn use_claim(world: &TestApp, order_id: OrderId, claim_id: ClaimId) {
    world.publish(order_id.0, &UseFlashClaim { order_id, claim_id });
    world.pass(SECOND);
}

pub(crate) fn commit(world: &TestApp, order_id: OrderId, claim_id: ClaimId) {
    world.publish(order_id.0, &CommitFlashClaim { order_id, claim_id });
    world.pass(SECOND);
}

fn give_back(world: &TestApp, order_id: OrderId, claim_id: ClaimId) {
    world.publish(order_id.0, &ReturnFlashClaim { order_id, claim_id });
    world.pass(SECOND);
}

fn answered(world: &TestApp, order_id: OrderId) -> Option<String> {
    let mut events = world.published("inventory", order_id.0).into_iter();
    events.rfind(|name| name.contains("stock_"))
}

#[test]
fn a_sale_takes_its_units_out_of_the_stock_and_brings_the_rest_back() {
    let world = stocked(1);
    let sale = Sale::open(&world, 4);
    assert_eq!(figures(&world, "TEA"), (6, 0));
    assert_eq!(sale.left(), (4, "open".into()));
    let claim = sale.confirmed(1);
    commit(&world, order(10), claim);
    assert_eq!(
        answered(&world, order(10)).unwrap(),
        "inventory.stock_committed.v1"
    );
    assert_eq!(sale.shares(), shares(0, 0, 1));
    world.pass(MINUTE * 2);
    assert_eq!(sale.left(), (0, "closed".into()));
    assert_eq!(figures(&world, "TEA"), (9, 0));
    assert_eq!(sale.shares(), shares(0, 0, 1));
    assert_eq!(sale.claim(2), Err("not_open".into()));
}

#[test]
fn each_unit_is_claimed_once_and_each_user_has_a_limit() {
    let world = stocked(1);
    let sale = Sale::open(&world, 3);
    for number in 1..=3 {
        assert!(sale.claim(number).is_ok());
        assert_eq!(sale.claim(number), Err("limit_reached".into()));
    }
    assert_eq!(sale.claim(4), Err("sold_out".into()));
    assert_eq!(sale.left(), (0, "sold_out".into()));
    world.pass(SECOND);
    assert_eq!(
        sale.claim(1),
        Err("limit_reached".into()),
        "the store has it"
    );
    assert_eq!(sale.claim(4), Err("sold_out".into()));
    assert_eq!(sale.shares(), shares(3, 0, 0));
}

/// The crowd never reaches the store.
#[test]
fn a_claim_is_decided_without_the_store() {
    let world = stocked(1);
    let sale = Sale::open(&world, 2);
    world.pass(SECOND * 2);
    let away = Outages {
        store: true,
        ..Outages::default()
    };
    world.set_outages(away);
    let claim = sale.claim(1).unwrap();
    assert!(sale.post(2, "key", &Value::Null).0 == 202);
    assert_eq!(sale.claim(3), Err("sold_out".into()));
    world.pass(SECOND * 5);
    world.set_outages(Outages::default());
    assert_ne!(sale.status(1, &claim), "expired");
    world.pass(SECOND * 5);
    assert_eq!(sale.status(1, &claim), "confirmed");
    assert_eq!(sale.shares(), shares(2, 0, 0));
}

#[test]
fn a_claim_that_is_not_ordered_in_time_returns_its_unit() {
    let world = stocked(1);
    let sale = Sale::open(&world, 1);
    let claim = sale.confirmed(1).to_string();
    assert_eq!(sale.claim(2), Err("sold_out".into()));
    world.pass(SECOND * 20);
    assert_eq!(sale.status(1, &claim), "expired");
    world.pass(SECOND * 5);
    assert_eq!(sale.left(), (1, "open".into()));
    assert_eq!(sale.shares(), shares(0, 0, 0));
    assert!(sale.claim(1).is_ok(), "the user may claim again");
}

#[test]
fn a_used_claim_does_not_expire_and_is_taken_out_once() {
    let world = stocked(1);
    let sale = Sale::open(&world, 2);
    let claim = sale.confirmed(1);
    use_claim(&world, order(10), claim);
    assert_eq!(sale.status(1, &claim.to_string()), "ordered");
    world.pass(MINUTE * 3);
    assert_eq!(sale.shares(), shares(0, 1, 0));
    for _ in 0..2 {
        commit(&world, order(10), claim);
        assert_eq!(
            answered(&world, order(10)).unwrap(),
            "inventory.stock_committed.v1"
        );
        assert_eq!(sale.shares(), shares(0, 0, 1));
    }
    commit(&world, order(11), claim);
    let refused = answered(&world, order(11)).unwrap();
    assert_eq!(refused, "inventory.stock_commit_refused.v1");
}

#[test]
fn a_rejected_order_returns_its_unit_to_the_open_sale() {
    let world = stocked(1);
    let sale = Sale::open(&world, 1);
    let claim = sale.confirmed(1);
    use_claim(&world, order(10), claim);
    for _ in 0..2 {
        give_back(&world, order(10), claim);
        assert_eq!(
            answered(&world, order(10)).unwrap(),
            "inventory.stock_released.v1"
        );
        assert_eq!(sale.left(), (1, "open".into()));
    }
    assert_eq!(sale.status(1, &claim.to_string()), "ordered");
    let again = sale.claim(2).unwrap();
    world.pass(SECOND);
    assert_eq!(sale.status(2, &again), "confirmed");
    commit(&world, order(10), claim);
    let refused = answered(&world, order(10)).unwrap();
    assert_eq!(refused, "inventory.stock_commit_refused.v1");
}

#[test]
fn a_cancelled_order_of_a_closed_sale_returns_its_unit_to_the_stock() {
    let world = stocked(1);
    let sale = Sale::open(&world, 2);
    let claim = sale.confirmed(1);
    commit(&world, order(10), claim);
    world.pass(MINUTE * 2);
    assert_eq!(figures(&world, "TEA"), (9, 0));
    give_back(&world, order(10), claim);
    assert_eq!(figures(&world, "TEA"), (10, 0));
    assert_eq!(sale.shares(), shares(0, 0, 0));
}

#[test]
fn a_return_that_overtakes_the_use_is_final() {
    let world = stocked(1);
    let sale = Sale::open(&world, 1);
    let claim = sale.confirmed(1);
    give_back(&world, order(10), claim);
    use_claim(&world, order(10), claim);
    assert_eq!(sale.shares(), shares(0, 0, 0));
    assert_eq!(sale.left(), (1, "open".into()));
}

/// The first claims may reach a process before it has read its open sales.
#[test]
fn a_process_that_has_just_started_knows_which_sales_there_are() {
    let world = TestApp::start(1, App::new().service(service(&Config::default())));
    let unknown = Sale {
        world: &world,
        id: order(1).to_string(),
    };
    assert_eq!(unknown.claim(1), Err("not_found".into()));
}

/// A claim that was lost before the store knew it reads `expired`, and its unit can be claimed.
#[test]
fn a_lost_cache_pauses_the_sale_until_the_count_is_rebuilt() {
    let world = stocked(1);
    let sale = Sale::open(&world, 3);
    let kept = sale.confirmed(1).to_string();
    let lost = sale.claim(2).unwrap();
    world.lose_cache();
    assert_eq!(sale.left(), (2, "paused".into()));
    assert_eq!(sale.claim(3), Err("sale_paused".into()));
    assert_eq!(sale.status(2, &lost), "expired");
    world.pass(SECOND);
    assert_eq!(sale.left(), (2, "open".into()));
    assert_eq!(sale.status(1, &kept), "confirmed");
    assert_eq!(sale.status(2, &lost), "expired");
    assert_eq!(sale.claim(1), Err("limit_reached".into()));
    assert!(sale.claim(2).is_ok());
    assert!(sale.claim(3).is_ok());
    assert_eq!(sale.claim(4), Err("sold_out".into()));
    world.pass(SECOND);
    assert_eq!(sale.shares(), shares(3, 0, 0));
}

#[test]
fn an_unavailable_cache_pauses_the_sale() {
    let world = stocked(1);
    let sale = Sale::open(&world, 3);
    let claim = sale.claim(1).unwrap();
    world.set_outages(Outages {
        cache: true,
        ..Outages::default()
    });
    assert_eq!(sale.left(), (3, "paused".into()), "a public read goes on");
    world.pass(SECOND * 5);
    world.set_outages(Outages::default());
    world.pass(SECOND);
    assert_eq!(sale.status(1, &claim), "confirmed");
    assert_eq!(sale.left(), (2, "open".into()));
}

#[test]
fn foreign_and_forged_claims_do_not_exist() {
    let world = stocked(1);
    let sale = Sale::open(&world, 3);
    let pending = sale.claim(1).unwrap();
    assert_eq!(sale.status(1, &pending), "pending");
    assert_eq!(sale.status(2, &pending), "not_found");
    world.pass(SECOND);
    assert_eq!(sale.status(1, &pending), "confirmed");
    assert_eq!(sale.status(2, &pending), "not_found");
    let forged = Uuid::from_u128(pending.parse::<Uuid>().unwrap().as_u128() ^ 1);
    for wrong in [forged.to_string(), order(7).to_string(), "nothing".into()] {
        assert_eq!(sale.status(1, &wrong), "not_found", "{wrong}");
    }
}

#[test]
fn a_key_stands_for_one_claim_also_when_the_cache_forgets_the_sale() {
    let world = stocked(1);
    let mut body = body(&world, 5);
    body["per_user"] = json!(3);
    let sale = Sale::with(&world, &body);
    let (status, first) = sale.post(1, "one", &Value::Null);
    assert_eq!(status, 202);
    let key = format!("flash-sale:{}", sale.id);
    let cache = world.reads("inventory").cache().clone();
    for _ in 0..2 {
        assert_eq!(sale.post(1, "one", &Value::Null), (202, first.clone()));
        world.run(cache.allotments().unwrap().end(&key)).unwrap();
    }
    assert_eq!(sale.post(1, "one", &json!({"a": 1})).0, 422);
    world.pass(SECOND);
    let (_, other) = sale.post(1, "two", &Value::Null);
    assert_ne!(other["claim_id"], first["claim_id"]);
    assert_ne!(
        sale.post(2, "one", &Value::Null).1,
        first,
        "keys are per user"
    );
}

#[test]
fn a_user_claims_ten_times_a_second_at_most() {
    let world = stocked(1);
    let sale = Sale::open(&world, 5);
    let codes: Vec<_> = (0..12).map(|_| sale.claim(1)).collect();
    let limited = codes
        .iter()
        .filter(|it| **it == Err("too_many_claims".into()));
    assert_eq!(limited.count(), 2);
    assert!(sale.claim(2).is_ok(), "others go on");
    world.pass(SECOND);
    assert_eq!(sale.claim(1), Err("limit_reached".into()));
}

#[test]
fn a_sale_is_scheduled_until_it_opens() {
    let world = stocked(1);
    let mut body = body(&world, 5);
    body["opens_at"] = json!(now(&world) + MINUTE / 2);
    let sale = Sale::with(&world, &body);
    assert_eq!(sale.left(), (5, "scheduled".into()));
    assert_eq!(sale.claim(1), Err("not_open".into()));
    world.pass(MINUTE / 2);
    assert!(sale.claim(1).is_ok());
    assert_eq!(sale.left(), (4, "open".into()));
}

#[test]
fn only_possible_sales_are_created() {
    let world = stocked(1);
    let right = body(&world, 5);
    let wrong = |field: &str, value: Value| {
        let mut body = right.clone();
        body[field] = value;
        let (status, problem) = create(&world, &body);
        (
            status,
            problem["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let invalid = || (422, "invalid".to_owned());
    assert_eq!(wrong("allocation", json!(0)), invalid());
    assert_eq!(wrong("allocation", json!(100_001)), invalid());
    assert_eq!(wrong("per_user", json!(0)), invalid());
    assert_eq!(wrong("claim_ttl_s", json!(0)), invalid());
    assert_eq!(wrong("closes_at", right["opens_at"].clone()), invalid());
    assert_eq!(wrong("closes_at", json!("2100-01-01T00:00:00Z")), invalid());
    let late = now(&world) + MINUTE * 60 * 24 * 367;
    let mut ahead = right.clone();
    ahead["opens_at"] = json!(late);
    ahead["closes_at"] = json!(late + MINUTE);
    assert_eq!(
        create(&world, &ahead).1["errors"][0]["pointer"],
        json!("/opens_at")
    );
    assert_eq!(
        wrong("price", json!({"amount_minor": 0, "currency": "EUR"})),
        invalid()
    );
    assert_eq!(wrong("price", Value::Null), invalid(), "no price is known");
    assert_eq!(wrong("sku", json!("tea")), invalid());
    assert_eq!(wrong("more", json!(1)), invalid());
    assert_eq!(
        wrong("allocation", json!(11)),
        (409, "insufficient_stock".into())
    );
    assert_eq!(
        wrong("sku", json!("HAT")),
        (409, "insufficient_stock".into())
    );
    let customer = world.sign_in(user(1), false);
    let path = "/api/v1/admin/flash-sales";
    assert_eq!(world.ask("POST", path, &customer, &right).0, 403);
    assert_eq!(world.ask("POST", path, "", &right).0, 401);
    assert_eq!(figures(&world, "TEA"), (10, 0));
    let admin = world.sign_in(order(1).0, true);
    let first = world.post(path, &admin, "key", &right);
    assert_eq!(first.0, 201);
    assert_eq!(world.post(path, &admin, "key", &right), first);
    assert_eq!(figures(&world, "TEA"), (5, 0));
}

#[test]
fn only_signed_in_users_claim() {
    let world = stocked(1);
    let sale = Sale::open(&world, 1);
    let path = format!("/api/v1/flash-sales/{}/claims", sale.id);
    assert_eq!(world.ask("POST", &path, "", &Value::Null).0, 401);
    let token = world.sign_in(user(1), false);
    for unknown in [order(9).to_string(), "nothing".into()] {
        let path = format!("/api/v1/flash-sales/{unknown}/claims");
        world.pass(SECOND * 2);
        assert_eq!(world.ask("POST", &path, &token, &Value::Null).0, 404);
    }
}

/// A rush with lost caches and faults of the store: a unit is never sold twice, and none is kept
/// back.
#[test]
fn exactly_the_units_are_sold_under_faults_and_lost_caches() {
    for seed in 0..10 {
        let world = TestApp::start(seed, App::new().service(service(&Config::default())));
        stock(&world, 1, "TEA", 10);
        let mut body = body(&world, 5);
        body["closes_at"] = json!(now(&world) + MINUTE * 10);
        let sale = Sale::with(&world, &body);
        world.set_faults(Faults {
            commit_unknown: 100,
            store_unavailable: 100,
            duplicate: 200,
            delay: Duration::from_millis(20),
            ..Faults::default()
        });
        for round in 0..20 {
            for number in 0..4 {
                let buyer = round * 4 + number;
                let _ = sale.claim(buyer);
            }
            if round % 3 == 0 {
                world.lose_cache();
            }
            world.pass(Duration::from_millis(150));
        }
        world.set_faults(Faults::default());
        world.pass(SECOND * 5);
        for buyer in 100..110 {
            let _ = sale.claim(buyer);
        }
        world.pass(SECOND * 5);
        assert_eq!(sale.shares().held, 5, "seed {seed}");
        assert_eq!(sale.left(), (0, "sold_out".into()), "seed {seed}");
        assert_eq!(world.dead_letters("inventory"), 0, "seed {seed}");
    }
}
