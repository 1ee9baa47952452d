//! Batches in the simulator: loans of a library, which statistics count in batches.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wingbeat::prelude::*;
use wingbeat::test::simulator::Ask;
use wingbeat::test::{Client, Process, Simulator, System, Violation, World};
use wingbeat::{BoxFuture, schemars};

const READERS: usize = 4;
const BOOKS: usize = 12;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.lent", version = 1, key = book)]
struct Lent {
    book: String,
    reader: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "statistics.counted", version = 1, key = reader)]
struct Counted {
    reader: String,
    loans: u32,
}

/// The loans of a reader.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Loans(u32);

impl Entity for Loans {
    const NAME: &'static str = "loans";
    type Id = String;
}

async fn lend(loan: Json<Lent>, scope: Scope) -> Result<Reply, Problem> {
    scope.publish(&loan.0)?;
    Ok(accepted(&loan.0))
}

async fn count(batch: Batch<Lent>, loans: Table<Loans>) -> Result<Vec<Counted>> {
    let mut counted = Vec::new();
    for Lent { reader, .. } in batch.into_iter().map(|it| it.message) {
        let known = loans.get(&reader).await?.unwrap_or_default();
        let loans_now = known.0 + 1;
        loans.put(&reader, Loans(loans_now))?;
        counted.push(Counted {
            reader,
            loans: loans_now,
        });
    }
    Ok(counted)
}

async fn hear(_: Counted) -> Result<()> {
    Ok(())
}

fn system() -> App {
    let routes = Routes::new().route("/loans", post(lend).idempotent());
    let count = count.up_to(5).within(Duration::from_secs(3));
    App::new()
        .service(Service::new("library").routes(routes))
        .service(Service::new("statistics").on(count).on(hear))
}

struct Library;

impl System for Library {
    fn new(_: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        vec![
            Process::new("library", |_| system().run_only(["library"])),
            Process::new("statistics 1", |_| system().run_only(["statistics"])),
            Process::new("statistics 2", |_| system().run_only(["statistics"])),
        ]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let reader = |number| Box::pin(reader(Client::new(world, number))) as _;
        (0..READERS).map(reader).collect()
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let loans = world.entities::<Loans>("statistics");
        let counted = loans
            .iter()
            .map(|(_, loans)| loans.0 as usize)
            .sum::<usize>();
        let wrong = Violation::new("a loan is counted once", "loans", counted.to_string());
        Vec::from_iter((counted != READERS * BOOKS).then_some(wrong))
    }
}

async fn reader(mut client: Client) {
    for book in 0..BOOKS {
        client.pause(Duration::from_secs(2)).await;
        let reader = client.number.to_string();
        let key = format!("{book}-{reader}");
        let loan = json!({ "book": book.to_string(), "reader": reader });
        let ask = Ask::post("library", "/loans", loan).idempotency_key(key);
        client.ask_with_retries(ask, 200).await;
    }
}

#[test]
fn batches_count_every_loan_once_in_all_lifetimes() {
    crate::again::disable();
    Simulator::new().run::<Library>(0..60).assert_held();
}

#[test]
fn the_simulator_notices_a_missing_inbox() {
    let test = "batches::simulated::batches_count_every_loan_once_in_all_lifetimes";
    crate::again::fails_without("inbox", test);
}
