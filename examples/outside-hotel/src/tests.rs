use wingbeat::BoxFuture;
use wingbeat::serde_json::{Value, json};
use wingbeat::test::simulator::Ask;
use wingbeat::test::{Client, Process, Simulator, System, TestApp, Violation, World};

use super::*;

#[test]
fn a_room_that_is_not_paid_for_is_free_again() {
    let app = TestApp::start(1, hotel());
    let book = |key| app.post("/rooms/12/bookings", "", key, &Value::Null).0;
    assert_eq!([book("a"), book("b")], [202, 409]);
    app.until_idle();
    assert_eq!(book("c"), 202);
}

struct Hotel;

impl System for Hotel {
    fn new(_: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        vec![Process::new("hotel", |_| hotel())]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let guest = |number| Box::pin(guest(Client::new(world, number))) as _;
        (0..5).map(guest).collect()
    }

    fn span(&self) -> Duration {
        Duration::from_secs(120)
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let bills = world.entities::<Bill>("billing");
        let paid = bills.iter().filter(|(_, bill)| *bill == Bill::Paid).count();
        let twice = Violation::new("the room is sold once", "12", "two guests have paid");
        Vec::from_iter((paid > 1).then_some(twice))
    }
}

async fn guest(mut guest: Client) {
    guest.pause(Duration::from_secs(90)).await;
    let book = Ask::post("hotel", "/rooms/12/bookings", Value::Null);
    let book = book.idempotency_key(guest.number.to_string());
    let booked = guest.ask_with_retries(book, 20).await;
    guest.pause(Duration::from_secs(90)).await;
    let booking = json!({ "booking": booked.body()["booking"] });
    let pay = Ask::post("hotel", "/payments", booking);
    guest.ask_with_retries(pay, 20).await;
}

#[test]
fn the_room_is_sold_once_under_every_fault() {
    // A payment that overtakes the booking is too rare for so few lifetimes.
    let gap = "saga hold billing.paid.v1 in not_started";
    let simulator = Simulator::new().accept_gap(gap);
    simulator.run::<Hotel>(0..100).assert_held();
}
