//! Orders alone, in virtual time. Each other service is a stub of one line.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod any_order;
mod promised;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shop_contracts::catalog::ProductListed;
use shop_contracts::identity::UserErased;
use shop_contracts::inventory::{
    CommitStock, FlashSaleCreated, ReserveStock, StockCommitted, StockRejected, StockReserved,
};
use shop_contracts::payments::{
    AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptured, PaymentDeclined,
};
use shop_contracts::promotions::{PromoReserved, ReservePromo};
use shop_contracts::{ClaimKey, Money, OrderId, Percent, Price, SaleId, UserId};
use shop_orders::copies::SaleCopy;
use shop_orders::placing::StoredAddress;
use shop_orders::{Config, service};
use uuid::Uuid;
use wingbeat::test::{TestApp, stub};
use wingbeat::{App, Event, JsonSchema, Select, Service, schemars};

const ADA: Uuid = Uuid::from_u128(0x0193_f0a0_0000_7000_8000_0000_0000_0001);

/// Starts orders beside these services, with tea for sale.
fn orders(others: Vec<Service>) -> TestApp {
    orders_with(&Config::default(), others)
}

/// Starts orders with these settings.
fn orders_with(config: &Config, others: Vec<Service>) -> TestApp {
    let app = TestApp::with(1, |sessions| {
        let app = App::new().service(service(config, sessions.clone()));
        others.into_iter().fold(app, App::service)
    });
    let tea = ProductListed {
        sku: "TEA".parse().unwrap(),
        name: "Tea".into(),
        price: Price::new(Money::eur(450)).unwrap(),
        version: 1,
    };
    app.publish(ADA, &tea);
    app.pass(Duration::from_secs(1));
    app
}

/// Places an order, lets two seconds pass, and returns the order.
fn order(app: &TestApp) -> Value {
    order_with(app, None)
}

/// Places an order with a promo code that orders does not know.
fn order_with(app: &TestApp, promo_code: Option<&str>) -> Value {
    let token = app.sign_in(ADA, false);
    let address = json!({"line1": "a", "city": "b", "postal_code": "c", "country": "DE"});
    let order = json!({
        "items": [{"sku": "TEA", "quantity": 2}], "payment_token": "tok_ok", "address": address,
        "promo_code": promo_code,
    });
    let (status, placed) = app.post("/api/v1/orders", &token, "key", &order);
    assert_eq!(status, 202, "{placed}");
    assert_eq!(placed["total"]["amount_minor"], json!(900));
    app.pass(Duration::from_secs(2));
    let path = format!("/api/v1/orders/{}", placed["order_id"].as_str().unwrap());
    app.ask("GET", &path, &token, &Value::Null).1
}

fn in_stock() -> Service {
    let reserved = |it: &ReserveStock| StockReserved {
        order_id: it.order_id,
    };
    stub("inventory", reserved).on(async |it: CommitStock| {
        let order_id = it.order_id;
        Ok::<_, wingbeat::Error>(StockCommitted { order_id })
    })
}

#[test]
fn an_order_is_rejected_when_a_product_is_out_of_stock() {
    let sold_out = |it: &ReserveStock| StockRejected {
        order_id: it.order_id,
        sku: "TEA".parse().unwrap(),
    };
    let order = order(&orders(vec![stub("inventory", sold_out)]));
    assert_eq!(
        (&order["status"], &order["reason"]),
        (&json!("rejected"), &json!("out_of_stock"))
    );
}

#[test]
fn an_order_is_compensated_when_the_card_is_declined() {
    let declined = |it: &AuthorizePayment| PaymentDeclined {
        order_id: it.order_id,
    };
    let order = order(&orders(vec![in_stock(), stub("payments", declined)]));
    assert!(
        matches!(
            order["status"].as_str(),
            Some("cancelling" | "stock_reserved" | "rejected")
        ),
        "{order}"
    );
}

#[test]
fn an_order_is_paid_when_all_services_accept() {
    let authorized = |it: &AuthorizePayment| PaymentAuthorized {
        order_id: it.order_id,
    };
    let payments = stub("payments", authorized).on(async |it: CapturePayment| {
        let order_id = it.order_id;
        Ok::<_, wingbeat::Error>(PaymentCaptured {
            order_id,
            amount: Money::eur(900),
        })
    });
    let order = order(&orders(vec![in_stock(), payments]));
    assert_eq!(order["status"], json!("paid"));
}

#[test]
fn an_order_is_delayed_while_payments_does_not_reply() {
    let app = orders(vec![in_stock()]);
    let token = app.sign_in(ADA, false);
    let placed = order(&app);
    assert_eq!(
        (&placed["status"], &placed["payment_delayed"]),
        (&json!("stock_reserved"), &json!(false))
    );
    app.pass(Duration::from_secs(10));
    let path = format!("/api/v1/orders/{}", placed["order_id"].as_str().unwrap());
    let later = app.ask("GET", &path, &token, &Value::Null).1;
    assert_eq!(later["payment_delayed"], json!(true));
}

/// Promotions would accept the code, but orders has accepted the order without the discount.
#[test]
fn an_order_with_an_unknown_promo_is_rejected_instead_of_costing_more() {
    let held = |it: &ReservePromo| PromoReserved {
        order_id: it.order_id,
        code: it.code.clone(),
        percent: Percent::new(10).unwrap(),
    };
    let authorized = |it: &AuthorizePayment| PaymentAuthorized {
        order_id: it.order_id,
    };
    let others = vec![
        stub("promotions", held),
        in_stock(),
        stub("payments", authorized),
    ];
    let order = order_with(&orders(others), Some("WELCOME-1"));
    assert_eq!(
        (&order["status"], &order["reason"]),
        (&json!("rejected"), &json!("promo_invalid"))
    );
}

/// A listing as any program with access to the broker can publish it.
#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.product_listed", version = 1, key = sku)]
struct ForgedListing {
    sku: String,
    name: String,
    price: Value,
    version: u64,
}

/// A promo as any program with access to the broker can publish it.
#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_issued", version = 1, key = user_id)]
struct ForgedPromo {
    user_id: Uuid,
    code: String,
    percent: u64,
    expires_at: String,
}

#[test]
fn a_price_below_zero_is_a_dead_letter_and_changes_no_price() {
    let app = orders(vec![in_stock()]);
    let forged = ForgedListing {
        sku: "TEA".into(),
        name: "Tea".into(),
        price: json!({"amount_minor": -500, "currency": "EUR"}),
        version: 2,
    };
    app.publish(ADA, &forged);
    app.pass(Duration::from_secs(1));
    assert_eq!(app.dead_letters("orders"), 1);
    assert_eq!(order(&app)["total"]["amount_minor"], json!(900));
}

#[test]
fn a_discount_above_100_percent_is_a_dead_letter_and_gives_no_discount() {
    let app = orders(vec![in_stock()]);
    for percent in [255, 101, 0, 300] {
        let forged = ForgedPromo {
            user_id: ADA,
            code: "GENEROUS".into(),
            percent,
            expires_at: "2100-01-01T00:00:00Z".into(),
        };
        app.publish(ADA, &forged);
    }
    app.pass(Duration::from_secs(1));
    assert_eq!(app.dead_letters("orders"), 4);
    let order = order_with(&app, Some("GENEROUS"));
    assert_eq!(order["total"]["amount_minor"], json!(900));
}

#[test]
fn the_address_of_an_order_is_erased_with_its_owner_and_the_order_stays() {
    let app = orders(vec![in_stock()]);
    let placed = order(&app);
    let id: OrderId = placed["order_id"].as_str().unwrap().parse().unwrap();
    let reads = app.reads("orders");
    let address = || app.run(reads.entity::<StoredAddress>(&id)).unwrap();
    let stored = address().unwrap().0;
    let read = |app: &TestApp| app.run(reads.personal(&ADA, &stored)).unwrap();
    assert!(read(&app).is_some());
    app.publish(
        ADA,
        &UserErased {
            user_id: UserId(ADA),
        },
    );
    app.pass(Duration::from_secs(1)); // It is never idle: nobody answers the checkout.
    assert!(read(&app).is_none());
    assert!(address().is_none());
    let token = app.sign_in(ADA, false);
    let path = format!("/api/v1/orders/{id}");
    let stays = app.ask("GET", &path, &token, &Value::Null).1;
    assert_eq!(
        (&stays["status"], &stays["total"]),
        (&placed["status"], &placed["total"])
    );
}

#[test]
fn the_addresses_of_many_orders_are_removed() {
    let app = orders(vec![]);
    let token = app.sign_in(ADA, false);
    let address = json!({"line1": "a", "city": "b", "postal_code": "c", "country": "DE"});
    let body = json!({
        "items": [{"sku": "TEA", "quantity": 1}], "payment_token": "tok_ok", "address": address,
    });
    for number in 0..201 {
        let (status, _) = app.post("/api/v1/orders", &token, &number.to_string(), &body);
        assert_eq!(status, 202);
    }
    let reads = app.reads("orders");
    let left = || {
        app.run(reads.entities::<StoredAddress>(None, 1_000))
            .unwrap()
            .len()
    };
    assert_eq!(left(), 201);
    app.publish(
        ADA,
        &UserErased {
            user_id: UserId(ADA),
        },
    );
    app.pass(Duration::from_secs(5));
    assert_eq!(left(), 0);
}

/// Returns a sale of a day that opens after these days.
fn sale(app: &TestApp, number: u128, days: u32) -> FlashSaleCreated {
    let day = Duration::from_secs(24 * 3600);
    let opens_at = app.reads("orders").runtime().now() + day * days;
    FlashSaleCreated {
        sale_id: SaleId(Uuid::from_u128(number)),
        sku: "TEA".parse().unwrap(),
        price: Price::new(Money::eur(100)).unwrap(),
        allocation: 1,
        per_user: 1,
        opens_at,
        closes_at: opens_at + day,
        claim_ttl_s: 60,
        claim_key: ClaimKey::new([7; 32]),
    }
}

#[test]
fn the_copy_of_a_flash_sale_is_deleted_40_days_after_its_end() {
    let mut kept = None;
    let mut app = TestApp::with(1, |sessions| {
        kept = Some(sessions.clone());
        App::new().service(service(&Config::default(), sessions.clone()))
    });
    for (number, days) in [(1, 0), (2, 60)] {
        app.publish(ADA, &sale(&app, number, days));
    }
    app.pass(Duration::from_secs(1));
    let days = Duration::from_secs(42 * 24 * 3600);
    app.crash_for(
        days,
        App::new().service(service(&Config::default(), kept.unwrap())),
    );
    app.pass(Duration::from_secs(61));
    let reads = app.reads("orders");
    let (rows, copies) = app.run(async {
        let rows = reads.rows::<SaleCopy>(Select::All, None, 10).await.unwrap();
        let copies = reads.entities::<SaleCopy>(None, 10).await.unwrap();
        (rows.rows, copies)
    });
    let ahead = SaleId(Uuid::from_u128(2)).to_string();
    assert_eq!(rows.iter().map(|it| &it.0).collect::<Vec<_>>(), [&ahead]);
    assert_eq!(copies.iter().map(|it| &it.0).collect::<Vec<_>>(), [&ahead]);
}

/// Sales that have ended do not hide the sale of a claim that is on its way.
#[test]
fn a_claim_is_recognized_beside_many_sales_that_end_before_its_own() {
    let app = orders(vec![]);
    for number in 1..=101 {
        app.publish(ADA, &sale(&app, number, 0));
        app.pass(Duration::from_millis(10));
    }
    app.pass(Duration::from_secs(1));
    let last = SaleId(Uuid::from_u128(101));
    let now = app.reads("orders").runtime().now();
    let key = ClaimKey::new([7; 32]);
    let claim = key.sign(last, UserId(ADA), now, 1).to_string();
    let foreign = key.sign(last, UserId::default(), now, 1).to_string();
    let token = app.sign_in(ADA, false);
    let address = json!({"line1": "a", "city": "b", "postal_code": "c", "country": "DE"});
    let code = |claim: &str| {
        let body = json!({
            "flash_claim_id": claim, "payment_token": "tok_ok", "address": address,
        });
        let (status, problem) = app.post("/api/v1/orders", &token, claim, &body);
        (status, problem["code"].clone())
    };
    assert_eq!(code(&claim), (409, json!("claim_pending")));
    assert_eq!(code(&foreign), (404, json!("not_found")));
}
