//! The clients of the simulated shop: shoppers who order, watch and cancel, and the administrator.

use std::time::Duration;

use serde_json::{Value, json};
use shop_identity::ADMIN_EMAIL;
use wingbeat::Timestamp;
use wingbeat::test::Client;
use wingbeat::test::simulator::{Answer, Ask};

use super::goods::GOODS;

/// The admin's password in the simulation.
pub(super) const ADMIN_PASSWORD: &str = "the admin of a simulation";
/// The limit of attempts at a request.
const RETRIES: usize = 40;
/// The reads of a claim that is not decided yet.
const PENDING_MAX: usize = 8;
/// The cards, in the proportions in which they are drawn.
const CARDS: [&str; 10] = [
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_declined",
    "tok_declined",
    "tok_slow",
    "tok_flaky",
    "tok_lost_reply",
];

/// Returns the service that owns a path.
fn service(path: &str) -> &'static str {
    let of = |part: &str| path.starts_with(&format!("/api/v1/{part}"));
    match () {
        () if of("admin/products") || of("products") => "catalog",
        () if of("admin/stock") || of("admin/flash") || of("flash") => "inventory",
        () if of("cart") => "carts",
        () if of("promotions") => "promotions",
        () if of("orders") => "orders",
        () => "identity",
    }
}

/// Creates a request to the API.
pub(super) fn call(method: &'static str, path: &str, body: Value) -> Ask {
    let path = format!("/api/v1{path}");
    let service = service(&path);
    Ask {
        body,
        ..Ask::new(service, method, path)
    }
}

/// A signed-in user.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) client: Client,
    pub(super) email: String,
    pub(super) password: String,
    pub(super) token: String,
}

impl Visitor {
    pub(super) fn new(client: Client) -> Self {
        let email = format!("shopper{}@shop.example", client.number);
        Self {
            client,
            email,
            password: "correct horse battery".into(),
            token: String::new(),
        }
    }

    pub(super) fn admin(client: Client) -> Self {
        Self {
            email: ADMIN_EMAIL.into(),
            password: ADMIN_PASSWORD.into(),
            ..Self::new(client)
        }
    }

    pub(super) async fn sign_up(&mut self) {
        let name = format!("Shopper {}", self.client.number);
        let form = json!({
            "email": self.email, "password": self.password, "name": name,
            "marketing_opt_in": self.client.number.is_multiple_of(2),
        });
        // The user may exist although the answer was lost: then the retry gets 409.
        drop(
            self.client
                .ask_with_retries(call("POST", "/users", form), RETRIES)
                .await,
        );
    }

    pub(super) async fn sign_in(&mut self) {
        let form = json!({ "email": self.email, "password": self.password });
        let answer = self
            .client
            .ask_with_retries(call("POST", "/sessions", form), RETRIES)
            .await;
        self.token = answer.body()["token"].as_str().unwrap_or_default().into();
    }

    /// Sends a request once as this user.
    pub(super) async fn once(&mut self, ask: Ask) -> Answer {
        self.client.ask(ask.session(&self.token)).await
    }

    /// Sends a request until it gets an answer, and signs in again if the session has ended.
    pub(super) async fn ask_with_retries(&mut self, ask: Ask) -> Answer {
        for _ in 0..RETRIES {
            let answer = self
                .client
                .ask_with_retries(ask.clone().session(&self.token), RETRIES)
                .await;
            if answer.status() != 401 {
                return answer;
            }
            self.sign_in().await;
        }
        Answer::Unreachable
    }
}

/// A shopper who signs up and places this many orders.
pub(super) async fn go_shopping(client: Client, orders: usize) {
    let mut me = Visitor::new(client);
    me.client.pause(Duration::from_secs(2)).await;
    me.sign_up().await;
    me.sign_in().await;
    for number in 0..orders {
        me.client.pause(Duration::from_secs(6)).await;
        let order = match me.client.pick(3) {
            0 => rush(&mut me, number).await,
            _ => place(&mut me, number).await,
        };
        if let Some(order) = order {
            watch(&mut me, &order).await;
        }
    }
    drop(
        me.ask_with_retries(call("GET", "/orders", Value::Null))
            .await,
    );
    if me.client.pick(3) == 0 {
        close_account(&mut me).await;
    }
}

/// Closes the account, possibly while orders are in flight. Asks until the shop answers 202, or no
/// longer knows the visitor.
async fn close_account(me: &mut Visitor) {
    for _ in 0..RETRIES {
        let ask = call("DELETE", "/me", json!({ "password": me.password }));
        let answer = me.client.ask_with_retries(ask.session(&me.token), RETRIES);
        match answer.await.status() {
            202 => return,
            401 => me.sign_in().await,
            _ => {}
        }
        if me.token.is_empty() {
            return;
        }
    }
}

fn goods(me: &mut Visitor) -> Vec<(&'static str, u64)> {
    let first = me.client.pick(GOODS.len());
    let count = 1 + me.client.pick(2);
    let chosen = (0..count).map(|next| GOODS[(first + next) % GOODS.len()].sku);
    let chosen: Vec<_> = chosen.collect();
    let quantity = |me: &mut Visitor| 1 + me.client.pick(3) as u64;
    chosen.into_iter().map(|sku| (sku, quantity(me))).collect()
}

/// Returns the body of an order: items by name, or the content of the cart.
async fn body(me: &mut Visitor) -> Value {
    let mut body = json!({
        "payment_token": CARDS[me.client.pick(CARDS.len())],
        "address": { "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH" },
    });
    let goods = goods(me);
    if me.client.pick(4) == 0 {
        for (sku, quantity) in goods {
            let path = format!("/cart/items/{sku}");
            let put = call("PUT", &path, json!({ "quantity": quantity }));
            drop(me.ask_with_retries(put).await);
        }
    } else {
        let item = |(sku, quantity)| json!({ "sku": sku, "quantity": quantity });
        body["items"] = goods.into_iter().map(item).collect();
    }
    if me.client.pick(3) == 0 {
        let promos = me
            .ask_with_retries(call("GET", "/promotions", Value::Null))
            .await;
        if let Some(code) = promos.body()["items"][0]["code"].as_str() {
            body["promo_code"] = json!(code);
        }
    } else if me.client.pick(20) == 0 {
        body["promo_code"] = json!("NO-SUCH-PROMO");
    }
    body
}

/// Places an order in one of several ways. Returns its id, if that is known.
async fn place(me: &mut Visitor, number: usize) -> Option<String> {
    let body = body(me).await;
    let key = format!("{}-{number}", me.client.number);
    let ask = call("POST", "/orders", body).idempotency_key(key);
    let answer = match me.client.pick(5) {
        0 => me.once(ask).await, // The answer may be missing.
        1 => {
            let twin = me.client.clone();
            let (one, other) = (
                ask.clone().session(&me.token),
                ask.clone().session(&me.token),
            );
            let (one, other) =
                futures_util::future::join(me.client.ask(one), twin.ask(other)).await;
            match (one.status(), other.status()) {
                (202, _) => one,
                (_, 202) => other,
                _ => me.ask_with_retries(ask).await,
            }
        }
        _ => me.ask_with_retries(ask).await,
    };
    let order = answer.body()["order_id"].as_str().map(str::to_owned);
    order.filter(|_| answer.status() == 202)
}

/// Claims a unit of a flash sale and orders it, or leaves it. Returns the order, if that is known.
async fn rush(me: &mut Visitor, number: usize) -> Option<String> {
    let sales = me
        .ask_with_retries(call("GET", "/flash-sales", Value::Null))
        .await;
    let open = sales.body()["items"].as_array()?.iter();
    let open: Vec<_> = open.filter(|it| it["state"] != "closed").collect();
    let sale = open.get(me.client.pick(open.len().max(1)))?["id"].as_str()?;
    let claim = call("POST", &format!("/flash-sales/{sale}/claims"), Value::Null);
    let key = format!("claim-{}-{number}", me.client.number);
    let claim = me.ask_with_retries(claim.idempotency_key(key)).await;
    let claim_id = claim.body()["claim_id"].as_str()?.to_owned();
    let path = format!("/flash-claims/{claim_id}");
    for _ in 0..PENDING_MAX {
        let shown = me.ask_with_retries(call("GET", &path, Value::Null)).await;
        if shown.body()["status"] != "pending" {
            break;
        }
        me.client.pause(Duration::from_secs(1)).await;
    }
    if me.client.pick(4) == 0 {
        me.client.pause(Duration::from_secs(12)).await; // The claim may expire meanwhile.
    }
    let body = json!({
        "flash_claim_id": claim_id,
        "payment_token": CARDS[me.client.pick(CARDS.len())],
        "address": { "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH" },
    });
    let key = format!("{}-{number}", me.client.number);
    let ask = call("POST", "/orders", body).idempotency_key(key);
    let answer = me.ask_with_retries(ask).await;
    let order = answer.body()["order_id"].as_str().map(str::to_owned);
    order.filter(|_| answer.status() == 202)
}

/// Reads an order several times, and cancels some.
async fn watch(me: &mut Visitor, order: &str) {
    let path = format!("/orders/{order}");
    let cancels = me.client.pick(3) == 0;
    for look in 0..3 {
        drop(me.once(call("GET", &path, Value::Null)).await);
        me.client.pause(Duration::from_secs(3)).await;
        if cancels && look == me.client.pick(2) {
            let cancel = call("POST", &format!("{path}/cancel"), Value::Null);
            drop(me.ask_with_retries(cancel).await);
        }
    }
}

/// The administrator, who changes prices and stock meanwhile.
pub(super) async fn keep_shop(client: Client) {
    let mut me = Visitor::admin(client);
    me.sign_in().await;
    for number in 0..6 {
        me.client.pause(Duration::from_secs(10)).await;
        let goods = &GOODS[me.client.pick(GOODS.len())];
        if me.client.pick(2) == 0 {
            let price = goods.price + me.client.pick(100) as i64;
            drop(me.ask_with_retries(offer(goods.sku, price)).await);
        } else {
            let delta = [10, -2][me.client.pick(2)];
            drop(
                me.ask_with_retries(restock(goods.sku, delta, &number.to_string()))
                    .await,
            );
        }
    }
}

/// Lists a product, or changes its price.
pub(super) fn offer(sku: &str, price: i64) -> Ask {
    let price = json!({ "amount_minor": price, "currency": "EUR" });
    let body =
        json!({ "name": format!("A {sku}"), "description": "Of the simulation.", "price": price });
    call("PUT", &format!("/admin/products/{sku}"), body)
}

/// Creates a flash sale, which opens in a second.
pub(super) fn sale(sku: &str, units: u32, per_user: u32, now: Timestamp, lasts: Duration) -> Ask {
    let opens_at = now + Duration::from_secs(1);
    let body = json!({
        "sku": sku, "price": { "amount_minor": 100, "currency": "EUR" }, "allocation": units,
        "per_user": per_user, "opens_at": opens_at, "closes_at": opens_at + lasts, "claim_ttl_s": 8,
    });
    call("POST", "/admin/flash-sales", body).idempotency_key(format!("sale-{sku}-{units}"))
}

/// Changes a product's stock, once for each key.
pub(super) fn restock(sku: &str, delta: i64, key: &str) -> Ask {
    let body = json!({ "delta": delta, "reason": "simulated" });
    call("POST", &format!("/admin/stock/{sku}"), body).idempotency_key(format!("stock-{sku}-{key}"))
}
