//! The promise that accepted orders are paid in time, counted once for each order.

use std::time::Duration;

use serde_json::Value;
use shop_contracts::payments::{
    AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptured, PaymentDeclined,
};
use shop_contracts::shipping::{CancelShipment, ShipmentCancelled};
use shop_contracts::{Money, OrderId};
use shop_orders::Config;
use shop_orders::checkout::PAID;
use wingbeat::test::{TestApp, stub};
use wingbeat::{PromiseEnd, Service};

use super::{ADA, in_stock, order, orders, orders_with};

/// Returns how many orders were promised, and how the promises ended.
fn counted(app: &TestApp) -> (i64, [i64; 4]) {
    let counters = app.run(app.reads("orders").counters()).unwrap();
    let of = |name| {
        let found = counters.iter().find(|(it, _)| *it == name);
        found.map_or(0, |(_, count)| *count)
    };
    (
        of(PAID.made()),
        PromiseEnd::ALL.map(|end| of(PAID.ended(end))),
    )
}

fn capturing() -> Service {
    let captured = |it: &CapturePayment| PaymentCaptured {
        order_id: it.order_id,
        amount: Money::eur(900),
    };
    stub("payments", captured)
}

/// The payment company answers, so late that the order has waited for it.
fn authorize(app: &TestApp, order_id: OrderId) {
    app.publish(order_id.0, &PaymentAuthorized { order_id });
    app.pass(Duration::from_secs(2));
}

/// Payments that answers at once.
fn paying() -> Service {
    let authorized = |it: &AuthorizePayment| PaymentAuthorized {
        order_id: it.order_id,
    };
    stub("payments", authorized).on(async |it: CapturePayment| {
        let (order_id, amount) = (it.order_id, Money::eur(900));
        Ok::<_, wingbeat::Error>(PaymentCaptured { order_id, amount })
    })
}

#[test]
fn an_order_that_is_paid_at_once_keeps_the_promise() {
    let app = orders(vec![in_stock(), paying()]);
    assert_eq!(counted(&app), (0, [0; 4]));
    order(&app);
    assert_eq!(counted(&app), (1, [1, 0, 0, 0]));
}

#[test]
fn an_order_that_is_cancelled_after_its_payment_has_kept_the_promise_once() {
    let cancelled = |it: &CancelShipment| ShipmentCancelled {
        order_id: it.order_id,
    };
    let others = vec![in_stock(), paying(), stub("shipping", cancelled)];
    let app = orders(others);
    let placed = order(&app);
    let token = app.sign_in(ADA, false);
    let path = format!(
        "/api/v1/orders/{}/cancel",
        placed["order_id"].as_str().unwrap()
    );
    let (status, answer) = app.post(&path, &token, "cancel", &Value::Null);
    assert_eq!(status, 202, "{answer}");
    app.pass(Duration::from_secs(2));
    let path = path.trim_end_matches("/cancel");
    let (_, later) = app.ask("GET", path, &token, &Value::Null);
    assert_eq!(later["status"], "cancelling", "{later}");
    assert_eq!(counted(&app), (1, [1, 0, 0, 0]));
}

#[test]
fn an_order_that_waits_for_its_payment_is_promised_and_then_late_once() {
    let app = orders(vec![in_stock(), capturing()]);
    let placed = order(&app);
    app.pass(Duration::from_secs(60));
    assert_eq!(
        counted(&app),
        (1, [0; 4]),
        "the promise is open while payment is out"
    );
    let order_id: OrderId = serde_json::from_value(placed["order_id"].clone()).unwrap();
    authorize(&app, order_id);
    assert_eq!(counted(&app), (1, [0, 1, 0, 0]));
    // Repeated answers change nothing.
    authorize(&app, order_id);
    let amount = Money::eur(900);
    app.publish(order_id.0, &PaymentCaptured { order_id, amount });
    app.pass(Duration::from_secs(2));
    assert_eq!(counted(&app), (1, [0, 1, 0, 0]));
}

#[test]
fn an_order_whose_payment_times_out_breaks_the_promise() {
    let mut config = Config::default();
    config.deadlines.payment_timeout = Duration::from_secs(60);
    let app = orders_with(&config, vec![in_stock(), capturing()]);
    order(&app);
    assert_eq!(counted(&app), (1, [0; 4]));
    app.pass(Duration::from_secs(60));
    assert_eq!(counted(&app), (1, [0, 0, 1, 0]));
}

#[test]
fn a_declined_card_releases_the_promise() {
    let declined = |it: &AuthorizePayment| PaymentDeclined {
        order_id: it.order_id,
    };
    let app = orders(vec![in_stock(), stub("payments", declined)]);
    order(&app);
    assert_eq!(counted(&app), (1, [0, 0, 0, 1]));
}
