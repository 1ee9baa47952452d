//! Your own system under simulation: a box office sells seats, a printer prints the tickets. The printer
//! was written by somebody who believed that an event arrives once and in order; the simulation finds
//! the seed, the fewest faults, and the story that show otherwise.
//!
//! `cargo run -p example-02-simulation`

use serde::{Deserialize, Serialize};
use wingbeat::{App, BoxFuture, Claims, Command, Entity, Event, Result, Service, Table};
use wingbeat_test::{Client, Process, Simulator, System, Violation, World};

const SEATS: usize = 20;

#[derive(Command, Clone, Serialize, Deserialize)]
#[command(name = "office.sell", version = 1, key = seat)]
struct Sell {
    seat: String,
    visitor: usize,
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[event(name = "office.seat_changed", version = 1, key = seat)]
struct SeatChanged {
    seat: String,
    visitor: usize,
    change: u32,
}

/// Who sits where, and how often that has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seat {
    visitor: usize,
    change: u32,
}

impl Entity for Seat {
    const NAME: &'static str = "seat";
    type Id = String;
}

/// Each sale of a seat moves it to the next visitor: the last one sits.
async fn sell(command: Sell, seats: Table<Seat>, sales: Claims) -> Result<Option<SeatChanged>> {
    let Sell { seat, visitor } = command;
    let sale = format!("{seat}/{visitor}");
    if sales.owner("sale", &sale).await?.is_some() {
        return Ok(None);
    }
    sales.claim("sale", &sale, &seat).await?;
    let sold = seats.update(&seat, |known| Seat {
        visitor,
        change: known.unwrap_or_default().change + 1,
    });
    let Seat { visitor, change } = sold.await?;
    Ok(Some(SeatChanged {
        seat,
        visitor,
        change,
    }))
}

/// The planted bug: whatever comes last wins, also when it is older.
async fn print_careless(event: SeatChanged, tickets: Table<Seat>) -> Result<()> {
    let SeatChanged {
        seat,
        visitor,
        change,
    } = event;
    tickets.put(&seat, Seat { visitor, change })
}

/// As it should be: an older change never replaces a newer one.
async fn print(event: SeatChanged, tickets: Table<Seat>) -> Result<()> {
    let SeatChanged {
        seat,
        visitor,
        change,
    } = event;
    let known = tickets.get(&seat).await?.unwrap_or_default();
    match known.change < change {
        true => tickets.put(&seat, Seat { visitor, change }),
        false => Ok(()),
    }
}

/// The theatre, with a careful printer or without.
struct Theatre<const CAREFUL: bool>;

impl<const CAREFUL: bool> System for Theatre<CAREFUL> {
    fn new(_world: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        let printer = |_: &_| match CAREFUL {
            true => App::new().service(Service::new("printer").on(print)),
            false => App::new().service(Service::new("printer").on(print_careless)),
        };
        let office = |_: &_| App::new().service(Service::new("office").on(sell));
        vec![
            Process::new("office", office).replicas(2),
            Process::new("printer", printer),
        ]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let buy = |visitor: usize| -> BoxFuture<'static, ()> {
            let mut client = Client::new(world, visitor);
            Box::pin(async move {
                for _ in 0..SEATS {
                    let seat = client.pick(SEATS).to_string();
                    client.world.publish(&Sell { seat, visitor }).await;
                    client.pause(std::time::Duration::from_secs(1)).await;
                }
            })
        };
        (1..=3).map(buy).collect()
    }

    async fn at_rest(&self, world: &World) -> Vec<Violation> {
        let (sold, printed) = (
            world.entities::<Seat>("office"),
            world.entities::<Seat>("printer"),
        );
        let wrong = sold.into_iter().filter(|seat| !printed.contains(seat));
        wrong
            .map(|(seat, sold)| Violation::new("tickets are right", seat, format!("sold {sold:?}")))
            .collect()
    }
}

fn main() -> anyhow::Result<()> {
    let careless = Simulator::new()
        .until_failure()
        .run::<Theatre<false>>(1..200);
    let failure = careless.failures.first();
    println!(
        "{}",
        failure.ok_or_else(|| anyhow::anyhow!("the planted bug was not found"))?
    );
    let careful = Simulator::new().run::<Theatre<true>>(1..200);
    anyhow::ensure!(careful.failures.is_empty(), "{}", careful.failures[0]);
    println!("mended: {} lifetimes, none broken", careful.seeds);
    Ok(())
}
