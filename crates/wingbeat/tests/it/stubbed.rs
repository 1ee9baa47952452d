//! Outside calls that a test answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::test::TestApp;
use wingbeat::{
    App, Call, Error, Event, GaveUp, JsonSchema, Result, Service, TargetPolicy, schemars,
};

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.sold", version = 1, key = parcel)]
struct Sold {
    parcel: u32,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "parcels.order_pickup", target = "carrier", key = parcel, outcome = Pickup)]
struct OrderPickup {
    parcel: u32,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "parcels.unknown", target = "carrier", key = parcel, outcome = Pickup)]
struct Unknown {
    parcel: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "parcels.pickup", version = 1, key = parcel)]
struct Pickup {
    parcel: u32,
    ordered: bool,
}

impl GaveUp<OrderPickup> for Pickup {
    fn gave_up(call: &OrderPickup, _: &Error) -> Self {
        Self {
            parcel: call.parcel,
            ordered: false,
        }
    }
}

impl GaveUp<Unknown> for Pickup {
    fn gave_up(call: &Unknown, _: &Error) -> Self {
        Self {
            parcel: call.parcel,
            ordered: false,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Ordered(bool);

impl wingbeat::Entity for Ordered {
    const NAME: &'static str = "ordered";
    type Id = u32;
}

async fn ship(sold: Sold) -> Result<OrderPickup> {
    let parcel = sold.parcel;
    Ok(OrderPickup { parcel })
}

async fn note(pickup: Pickup, ordered: wingbeat::Table<Ordered>) -> Result<()> {
    ordered.put(&pickup.parcel, Ordered(pickup.ordered))
}

/// The executor of production, which a test cannot use.
async fn order_pickup(_: OrderPickup) -> Result<Pickup> {
    Err(Error::retry("no_carrier", "there is no carrier in a test"))
}

fn parcels() -> App {
    let parcels = Service::new("parcels")
        .on(ship)
        .on(note)
        .target("carrier", TargetPolicy::default())
        .calls(order_pickup);
    App::new().service(parcels)
}

/// Sells a parcel; returns whether its pickup was ordered.
fn sell(app: &TestApp, parcel: u32) -> bool {
    app.publish(Uuid::from_u128(1), &Sold { parcel });
    app.until_idle();
    let ordered = app.run(app.reads("parcels").entity::<Ordered>(&parcel));
    ordered.expect("the store reads").expect("an outcome").0
}

fn ordered(call: &OrderPickup) -> Result<Pickup> {
    Ok(Pickup {
        parcel: call.parcel,
        ordered: true,
    })
}

#[test]
fn a_stub_answers_instead_of_the_executor() {
    let app = TestApp::start(1, parcels());
    app.stub_call::<OrderPickup>(ordered);
    assert!(sell(&app, 7));
}

#[test]
fn a_stub_outlives_a_crash_of_the_app() {
    let mut app = TestApp::start(1, parcels());
    app.stub_call::<OrderPickup>(ordered);
    app.crash(parcels());
    assert!(sell(&app, 7));
}

#[test]
fn a_rejecting_stub_gives_the_call_up_and_a_failing_one_is_asked_again() {
    let app = TestApp::start(1, parcels());
    app.stub_call::<OrderPickup>(|_| Err(Error::reject("not_found", "no such address")));
    assert!(!sell(&app, 7));
    let attempts = std::sync::atomic::AtomicU32::new(0);
    app.stub_call::<OrderPickup>(move |call| {
        match attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Err(Error::retry("busy", "the carrier is busy")),
            _ => ordered(call),
        }
    });
    assert!(sell(&app, 8));
}

#[test]
#[should_panic(expected = "no service of the app carries out the call parcels.unknown")]
fn a_stub_for_a_call_without_an_executor_is_refused() {
    let app = TestApp::start(1, parcels());
    app.stub_call::<Unknown>(|call| {
        let parcel = call.parcel;
        Ok(Pickup {
            parcel,
            ordered: true,
        })
    });
}
