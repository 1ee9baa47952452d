//! The promise that accepted orders are paid in time, counted once for each order.

use std::time::Duration;

use shop_contracts::payments::{
    AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptured, PaymentDeclined,
};
use shop_contracts::{Money, OrderId};
use shop_orders::checkout::PAID;
use wingbeat::test::{TestApp, stub};
use wingbeat::{PromiseEnd, Service};

use super::{in_stock, order, orders};

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

#[test]
fn an_order_that_is_paid_at_once_keeps_the_promise() {
    let authorized = |it: &AuthorizePayment| PaymentAuthorized {
        order_id: it.order_id,
    };
    let payments = stub("payments", authorized).on(async |it: CapturePayment| {
        let (order_id, amount) = (it.order_id, Money::eur(900));
        Ok::<_, wingbeat::Error>(PaymentCaptured { order_id, amount })
    });
    let app = orders(vec![in_stock(), payments]);
    assert_eq!(counted(&app), (0, [0; 4]));
    order(&app);
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
    let app = orders(vec![in_stock(), capturing()]);
    order(&app);
    app.pass(Duration::from_secs(25 * 3_600));
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
