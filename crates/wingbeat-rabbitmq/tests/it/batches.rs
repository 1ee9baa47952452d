//! Batches on RabbitMQ and PostgreSQL, with two replicas, of which one is killed and replaced.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::Envelope;
use wingbeat::{
    App, Batch, Entity, Error, Event, Handler as _, JsonSchema, Result, Service, Table,
    encode_body, schemars,
};
use wingbeat_core::runtime::SharedRuntime;

use crate::conformance::{block_on, open_with};
use crate::replaying::Servers;
use crate::traffic::{publish, until};

const TILLS: u32 = 20;
const SALES: u32 = 30;
/// The sale that the handler rejects.
const POISON: (u32, u32) = (7, 11);

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

async fn keep(batch: Batch<Sold>, sales: Table<Sales>) -> Result<()> {
    for sold in &batch {
        if (sold.till, sold.number) == POISON {
            return Err(Error::reject("refused_sale", "no such sale"));
        }
        let add = |known: Option<Sales>| {
            let mut sales = known.unwrap_or_default();
            sales.0.push(sold.number);
            sales
        };
        sales.update(&sold.till.to_string(), add).await?;
    }
    Ok(())
}

fn totals() -> App {
    let keep = keep.up_to(50).within(Duration::from_millis(100));
    App::new().service(Service::new("totals").on(keep))
}

fn envelope(runtime: &SharedRuntime, sold: &Sold) -> Envelope {
    wingbeat::ports::published_by("till", sold, &**runtime)
}

#[test]
fn every_sale_of_a_batch_takes_effect_once_although_a_replica_is_killed() {
    block_on(async {
        let servers = Servers::start();
        let mut replicas = [
            servers.process(totals()).await,
            servers.process(totals()).await,
        ];
        let runtime: SharedRuntime = servers.runtime.clone();
        let publisher = open_with(&servers.broker, &runtime).await;
        for number in 0..SALES {
            let sales = (0..TILLS).map(|till| envelope(&runtime, &Sold { till, number }));
            let sales: Vec<_> = sales.collect();
            let again = sales.iter().take(3).cloned();
            publish(&publisher, sales.iter().cloned().chain(again).collect()).await;
            if number % 10 == 5 {
                servers.replace(&mut replicas[0], totals()).await;
            }
        }
        let running = &replicas[1].running;
        let reads = running.reads("totals").unwrap();
        let sales = async || reads.entities::<Sales>(None, 100).await.unwrap();
        let expected = (TILLS * SALES - 1) as usize;
        until("all sales are handled", async || {
            let letters = running.dead_letters("totals".into()).await.unwrap();
            let handled: usize = sales().await.iter().map(|(_, sales)| sales.0.len()).sum();
            handled >= expected && letters.len() == 1
        })
        .await;
        for (till, mut sales) in sales().await {
            sales.0.sort_unstable();
            let poison = |number: &u32| (till.as_str(), *number) == ("7", POISON.1);
            let all: Vec<u32> = (0..SALES).filter(|number| !poison(number)).collect();
            assert_eq!(sales.0, all, "till {till}");
        }
        let letters = running.dead_letters("totals".into()).await.unwrap();
        let message = letters[0].message().unwrap();
        assert_eq!(
            message.body,
            encode_body(&Sold {
                till: 7,
                number: 11
            })
        );
        let queue = "totals.sold".into();
        until("everything is acknowledged", async || {
            replicas[1]
                .running
                .ports
                .transport
                .depth(queue)
                .await
                .unwrap()
                == 0
        })
        .await;
    });
}
