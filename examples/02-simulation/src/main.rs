//! A system under simulation: a box office sells seats, and a printer prints the tickets. The
//! printer's author assumed that events arrive in order; the simulation shows that they do not.
//!
//! `cargo run -p example-02-simulation`

use serde::{Deserialize, Serialize};
use wingbeat::test::{Client, Process, Simulator, System, Violation, World};
use wingbeat::{
    App, BoxFuture, Claims, Command, Entity, Event, JsonSchema, Result, Service, Table, schemars,
};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "office.sell", version = 1, key = seat)]
struct Sell {
    seat: String,
    visitor: usize,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "office.seat_changed", version = 1, key = seat)]
struct SeatChanged {
    seat: String,
    now: Seat,
}

/// The visitor of a seat, and the number of times that it was sold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Seat {
    visitor: usize,
    change: u32,
}

impl Entity for Seat {
    const NAME: &'static str = "seat";
    type Id = String;
}

/// Sells a seat. A later sale moves it to another visitor.
async fn sell(command: Sell, seats: Table<Seat>, sales: Claims) -> Result<Option<SeatChanged>> {
    let Sell { seat, visitor } = command;
    let sale = format!("{seat}/{visitor}");
    if sales.owner("sale", &sale).await?.is_some() {
        return Ok(None);
    }
    sales.claim("sale", &sale, &seat).await?;
    let change = seats.get(&seat).await?.unwrap_or_default().change + 1;
    let now = Seat { visitor, change };
    seats.put(&seat, now.clone())?;
    Ok(Some(SeatChanged { seat, now }))
}

/// The planted bug: the event that arrives last wins, even if it is older.
async fn print_careless(event: SeatChanged, tickets: Table<Seat>) -> Result<()> {
    tickets.put(&event.seat, event.now)
}

/// The correct handler: an older event never replaces a newer one.
async fn print(event: SeatChanged, tickets: Table<Seat>) -> Result<()> {
    let known = tickets.get(&event.seat).await?.unwrap_or_default();
    match known.change < event.now.change {
        true => tickets.put(&event.seat, event.now),
        false => Ok(()),
    }
}

/// The system, with the correct printer or the careless one.
struct Theatre<const CAREFUL: bool>;

impl<const CAREFUL: bool> System for Theatre<CAREFUL> {
    fn new(_world: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        let office = Process::new("office", |_| {
            App::new().service(Service::new("office").on(sell))
        });
        let printer = || match CAREFUL {
            true => Service::new("printer").on(print),
            false => Service::new("printer").on(print_careless),
        };
        let printer = Process::new("printer", move |_| App::new().service(printer()));
        vec![office.replicas(2), printer]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let client = |visitor| Box::pin(buy(Client::new(world, visitor))) as _;
        (1..=3).map(client).collect()
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let printed = world.entities::<Seat>("printer");
        let mut wrong = world.entities::<Seat>("office");
        wrong.retain(|seat| !printed.contains(seat));
        let violation = |(seat, _)| {
            Violation::new(
                "tickets are right",
                seat,
                "the ticket differs from the sale",
            )
        };
        wrong.into_iter().map(violation).collect()
    }
}

async fn buy(mut client: Client) {
    let visitor = client.number;
    for _ in 0..20 {
        let seat = client.pick(20).to_string();
        client.world.publish(&Sell { seat, visitor }).await;
        client.pause(std::time::Duration::from_secs(1)).await;
    }
}

fn main() {
    let careless = Simulator::new()
        .until_failure()
        .run::<Theatre<false>>(1..200);
    careless.assert_found("tickets are right");
    println!("{}", careless.failures[0]);
    let careful = Simulator::new().run::<Theatre<true>>(1..200);
    careful.assert_held();
    println!(
        "the correct printer: {} lifetimes without a violation",
        careful.seeds
    );
}
