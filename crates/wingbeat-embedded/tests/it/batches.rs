//! Batches on SQLite as store and broker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::{Envelope, Transport as _};
use wingbeat::{
    App, Batch, Entity, Error, Event, Handler as _, JsonSchema, Result, Runtime as _, Service,
    Table, TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded};

use crate::setup;

const COUNT: u32 = 300;
const POISON: u32 = 123;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "till.sold", version = 1, key = till)]
struct Sold {
    till: u32,
    number: u32,
}

/// The sales of a till, in the order in which they took effect.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Sales(Vec<u32>);

impl Entity for Sales {
    const NAME: &'static str = "sales";
    type Id = String;
}

fn envelope(runtime: &TokioRuntime, sold: &Sold) -> Envelope {
    wingbeat::ports::published_by("till", sold, runtime)
}

#[tokio::test]
async fn batches_keep_the_order_of_each_key_and_leave_out_the_poison() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let ports = setup::ports(runtime.clone(), &embedded, directory.path());
    let runs = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&runs);
    let keep = move |batch: Batch<Sold>, sales: Table<Sales>| {
        noted.lock().unwrap().push(batch.len());
        async move {
            for sold in &batch {
                if sold.number == POISON {
                    return Err(Error::reject("refused_sale", "no such sale"));
                }
                let add = |known: Option<Sales>| {
                    let mut sales = known.unwrap_or_default();
                    sales.0.push(sold.number);
                    sales
                };
                sales.update(&sold.till.to_string(), add).await?;
            }
            Result::Ok(())
        }
    };
    let keep = keep.up_to(100).within(Duration::from_secs(2));
    let app = App::new().service(Service::new("totals").on(keep));
    let app = app.allow_unknown_owners();
    let running = app.start(ports).await.unwrap();
    let sale = |number| Sold {
        till: number % 7,
        number,
    };
    let all = (0..COUNT).map(|number| envelope(&runtime, &sale(number)));
    let answers = embedded.publish(all.collect()).await;
    assert!(answers.iter().all(Result::is_ok));

    let reads = running.reads("totals").unwrap();
    let mut sales = Vec::new();
    for _ in 0..4_000 {
        sales = reads.entities::<Sales>(None, 100).await.unwrap();
        let handled: usize = sales.iter().map(|(_, sales)| sales.0.len()).sum();
        let letters = running.dead_letters("totals".into()).await.unwrap();
        if handled as u32 == COUNT - 1 && letters.len() == 1 {
            break;
        }
        runtime.sleep(Duration::from_millis(5)).await;
    }
    running.drain().await;
    for till in 0..7 {
        let of = |number: &u32| number % 7 == till && *number != POISON;
        let expected: Vec<u32> = (0..COUNT).filter(of).collect();
        let (_, sales) = sales
            .iter()
            .find(|(id, _)| *id == till.to_string())
            .unwrap();
        assert_eq!(sales.0, expected, "till {till}");
    }
    let letters = running.dead_letters("totals".into()).await.unwrap();
    let message = letters[0].message().unwrap();
    assert_eq!(message.body, wingbeat::encode_body(&sale(POISON)));
    assert_eq!(embedded.depth("totals.sold".into()).await.unwrap(), 0);
    let runs = runs.lock().unwrap();
    assert_eq!(runs[0], 100, "{runs:?}");
    assert!(runs.len() <= 3 + 2 * 8, "{runs:?}");
}
