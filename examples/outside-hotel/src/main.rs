//! A hotel: `rooms` gives away rooms, `billing` takes payments. A room that is not paid for
//! within a minute is free again.

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "rooms.booked", version = 1, key = booking)]
struct Booked {
    booking: String,
    room: String,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "rooms.expired", version = 1, key = booking)]
struct Expired {
    booking: String,
    room: String,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "billing.paid", version = 1, key = booking)]
struct Paid {
    booking: String,
}

async fn book(Path(room): Path<String>, claims: Claims, scope: Scope) -> Result<Reply, Problem> {
    let booking = scope.new_id().to_string();
    if !claims.claim("room", &room, &booking).await? {
        return Err(Problem::new(409, "room_taken", "another guest has it"));
    }
    let booked = Booked { booking, room };
    scope.publish(&booked)?;
    Ok(accepted(&booked))
}

async fn free(event: Expired, claims: Claims) -> Result<()> {
    claims.release("room", &event.room)
}

#[derive(Default, Serialize, Deserialize)]
struct Hold;

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Booked(Booked),
    Paid(Paid),
    #[saga(timer)]
    Expired(Expired),
}

impl Saga for Hold {
    const NAME: &'static str = "hold";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Booked(Booked { booking, room }) => {
                effects.after(Duration::from_secs(60), &Expired { booking, room })
            }
            Input::Paid(_) => effects.end(),
            Input::Expired(expired) => effects.publish(&expired).end(),
        };
    }

    fn unexpected(&mut self, reason: Unexpected, _: Input, effects: &mut SagaEffects<Input>) {
        if reason == Unexpected::NotStarted {
            effects.defer();
        }
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
enum Bill {
    Open,
    Paid,
    Void,
}

impl Entity for Bill {
    const NAME: &'static str = "bills";
    type Id = String;
}

async fn open(event: Booked, bills: Table<Bill>) -> Result<()> {
    let open = |known: Option<Bill>| known.unwrap_or(Bill::Open);
    bills.update(&event.booking, open).await.map(drop)
}

async fn pay(Json(paid): Json<Paid>, bills: Table<Bill>, scope: Scope) -> Result<Reply, Problem> {
    if bills.get(&paid.booking).await? != Some(Bill::Open) {
        return Err(Problem::new(409, "not_open", "there is no open bill"));
    }
    bills.put(&paid.booking, Bill::Paid)?;
    scope.publish(&paid)?;
    Ok(accepted(&paid))
}

async fn refund(event: Expired, bills: Table<Bill>) -> Result<()> {
    bills.put(&event.booking, Bill::Void)
}

fn hotel() -> App {
    let book = Routes::new().route("/rooms/{room}/bookings", post(book).idempotent());
    let rooms = Service::new("rooms").routes(book).on(free).saga::<Hold>();
    let pay = Routes::new().route("/payments", post(pay));
    let billing = Service::new("billing").routes(pay).on(open).on(refund);
    App::new().service(rooms).service(billing)
}

fn main() -> ExitCode {
    wingbeat::run(|_: &Settings| hotel())
}
