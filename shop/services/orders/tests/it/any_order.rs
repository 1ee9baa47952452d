//! The checkout saga and the order, fed with messages in random order: each can always reach its
//! end.

use serde_json::{Value, json};
use shop_contracts::inventory::ExtendReservation;
use shop_contracts::{Money, OrderStatus};
use shop_orders::checkout::{Checkout, CheckoutInput};
use shop_orders::domain::{Change, Order, OrderCommand, Placed};
use wingbeat::test::{KeptSaga, ends_in_any_order, given_saga};
use wingbeat::{Aggregate as _, Saga as _, SagaEffects, SagaInput as _, Timestamp, Unexpected};

const ORDER: &str = "019b76da-f652-7000-a018-03d64bb2a7ab";
const SEEDS: u64 = 2_000;
/// The inputs of a checkout up to the payment.
const PAID: [&str; 6] = [
    "orders.start_checkout.v1",
    "promotions.promo_reserved.v1",
    "inventory.stock_reserved.v1",
    "payments.payment_authorized.v1",
    "inventory.stock_committed.v1",
    "payments.payment_captured.v1",
];

/// A body that decodes as every input of the checkout.
fn body() -> Vec<u8> {
    json!({
        "order_id": ORDER, "user_id": ORDER, "lines": [["TEA-1", 2]], "sku": "TEA-1",
        "total": Money::eur(900), "amount": Money::eur(900), "promo_code": "HELLO", "code": "HELLO",
        "token": "tok_ok", "percent": 10, "reason": "unknown",
    })
    .to_string()
    .into_bytes()
}

/// The answers of the services that own the checkout's commands.
fn answers(asked: &str) -> &'static [&'static str] {
    match asked {
        "promotions.reserve_promo.v1" => &["promotions.promo_reserved.v1"],
        "promotions.release_promo.v1" => &["promotions.promo_released.v1"],
        "inventory.reserve_stock.v1" => &["inventory.stock_reserved.v1"],
        "inventory.release_stock.v1" => &["inventory.stock_released.v1"],
        "inventory.commit_stock.v1" => &["inventory.stock_committed.v1"],
        "payments.authorize_payment.v1" => &["payments.payment_authorized.v1"],
        "payments.capture_payment.v1" => &["payments.payment_captured.v1"],
        "payments.void_payment.v1" => &["payments.payment_voided.v1"],
        "payments.refund_payment.v1" => &["payments.payment_refunded.v1"],
        "shipping.create_shipment.v1" => &[
            "shipping.shipment_dispatched.v1",
            "shipping.shipment_delivered.v1",
        ],
        "shipping.cancel_shipment.v1" => &["shipping.shipment_cancelled.v1"],
        _ => &[],
    }
}

#[test]
fn the_checkout_ends_after_any_sequence_of_inputs() {
    ends_in_any_order::<Checkout>(0..SEEDS, &body(), answers);
}

/// The input of this wire type.
fn input(message: &str) -> CheckoutInput {
    let mut rows = CheckoutInput::ROWS.iter();
    let row = rows.find(|row| row.message == message).expect("an input");
    (row.decode)(&body()).expect("a body for every message").1
}

#[test]
fn an_early_cancel_is_deferred_and_a_late_one_is_refused() {
    let unexpected = |mut saga: Checkout, reason| {
        let mut effects = SagaEffects::at(Timestamp::default());
        saga.unexpected(reason, input("orders.cancel_checkout.v1"), &mut effects);
        (effects.is_deferred(), effects.messages())
    };
    assert_eq!(
        unexpected(Checkout::default(), Unexpected::NotStarted),
        (true, vec![])
    );
    let delivered = given_saga::<Checkout>(PAID.map(input))
        .when(input("shipping.shipment_delivered.v1"))
        .ends();
    let refused = vec!["orders.cancel_refused.v1"];
    assert_eq!(
        unexpected(delivered.saga, Unexpected::Ended),
        (false, refused)
    );
    let sold_out = given_saga::<Checkout>(PAID[..2].iter().copied().map(input))
        .when(input("inventory.stock_rejected.v1"))
        .saga;
    assert_eq!(unexpected(sold_out, Unexpected::Ended), (false, vec![]));
}

/// Shipping's answers to a cancel that lost may come in any order.
#[test]
fn a_cancel_that_loses_to_the_dispatch_is_refused_once() {
    let (sent, refused) = (
        "shipping.shipment_dispatched.v1",
        "shipping.shipment_cancel_refused.v1",
    );
    let delivered = "shipping.shipment_delivered.v1";
    for came in [
        [sent, refused, delivered],
        [refused, sent, delivered],
        [delivered, sent, refused],
    ] {
        let mut kept = KeptSaga::<Checkout>::new(&body());
        for message in PAID.into_iter().chain(["orders.cancel_checkout.v1"]) {
            kept.receive(message);
        }
        let told: Vec<_> = came
            .iter()
            .flat_map(|message| kept.receive(message))
            .collect();
        let times = |name| told.iter().filter(|told| **told == name).count();
        assert!(kept.is_ended(), "{came:?}");
        assert_eq!(times("orders.cancel_refused.v1"), 1, "{came:?}");
        assert_eq!(times("orders.order_completed.v1"), 1, "{came:?}");
    }
}

#[test]
fn reserved_stock_leads_to_the_authorization() {
    let asked = ["promotions.promo_reserved.v1"].map(input);
    given_saga::<Checkout>([input("orders.start_checkout.v1")].into_iter().chain(asked))
        .when(input("inventory.stock_reserved.v1"))
        .then(["payments.authorize_payment.v1"])
        .sets([
            "orders.payment_slow.v1",
            "orders.payment_expired.v1",
            "orders.resend_due.v1",
        ]);
}

#[test]
fn a_slow_payment_is_published_once_and_extends_the_reservation() {
    let so_far = || {
        [
            "orders.start_checkout.v1",
            "promotions.promo_reserved.v1",
            "inventory.stock_reserved.v1",
        ]
        .map(input)
    };
    let slow = given_saga::<Checkout>(so_far()).when(input("orders.payment_slow.v1"));
    let slow = slow.then([
        "inventory.extend_reservation.v1",
        "orders.order_payment_delayed.v1",
    ]);
    let extended: ExtendReservation = slow.message();
    assert_eq!(extended.order_id.to_string(), ORDER);
    let twice = so_far()
        .into_iter()
        .chain([input("orders.payment_slow.v1")]);
    let again = given_saga::<Checkout>(twice).when(input("orders.payment_slow.v1"));
    drop(again.then([]));
}

#[test]
fn an_order_never_leaves_a_terminal_status() {
    use OrderStatus as Is;
    const ALL: [OrderStatus; 8] = [
        Is::StockReserved,
        Is::PaymentAuthorized,
        Is::Paid,
        Is::Cancelling,
        Is::Shipped,
        Is::Completed,
        Is::Rejected,
        Is::Cancelled,
    ];
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut order = Order::default();
        let zero = Money::eur(0);
        let placed = Placed {
            user_id: serde_json::from_value(Value::from(ORDER)).expect("an id"),
            lines: Vec::new(),
            subtotal: zero,
            discount: zero,
            total: zero,
            at: Timestamp::default(),
        };
        let events = order
            .decide(OrderCommand::Place(placed))
            .expect("it is new");
        events.iter().for_each(|event| order.apply(event));
        for _ in 0..20 {
            let (before, ended) = (order.status(), order.is_ended());
            let change = Change {
                status: ALL[random.usize(..ALL.len())],
                reason: None,
                payment_delayed: random.bool(),
                at: Timestamp::default(),
            };
            let events = order
                .decide(OrderCommand::Change(change))
                .expect("never refused");
            events.iter().for_each(|event| order.apply(event));
            assert!(
                !ended || order.status() == before,
                "seed {seed}: it left {before:?}"
            );
        }
    }
}
