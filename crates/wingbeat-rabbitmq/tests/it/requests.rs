//! Requests on RabbitMQ and PostgreSQL, with two replicas of each service.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::QueueDeleteOptions;
use serde::{Deserialize, Serialize};
use wingbeat::ports::{Dialog, Envelope};
use wingbeat::{
    App, Entity, Error, JsonSchema, Request, Requests, Result, Service, Table, schemars,
};
use wingbeat_core::Transport as _;
use wingbeat_core::conformance::{RESERVE, envelope};

use crate::conformance::{block_on, server};
use crate::replaying::{Process, Servers};
use crate::topology::by_hand;
use crate::traffic::{bench, config};

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Request, Serialize, Deserialize, JsonSchema)]
#[request(name = "pricing.get_quote", version = 1, key = sku, reply = Quote)]
struct GetQuote {
    sku: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Quote {
    number: u32,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Quotes(u32);

impl Entity for Quotes {
    const NAME: &'static str = "quotes";
    type Id = String;
}

async fn quote(request: GetQuote, quotes: Table<Quotes>) -> Result<Quote> {
    let count = |quotes: Option<Quotes>| Quotes(quotes.unwrap_or_default().0 + 1);
    let Quotes(number) = quotes.update(&request.sku, count).await?;
    if request.sku == "tea" {
        return Err(Error::reject("unknown_sku", "there is no such article"));
    }
    Ok(Quote { number })
}

fn pricing() -> App {
    App::new().service(Service::new("pricing").answer(quote))
}

fn shop() -> App {
    App::new().service(Service::new("shop").asks::<GetQuote>())
}

fn requests(process: &Process) -> Requests {
    process.running.requests("shop").expect("it asks")
}

fn get(sku: impl Into<String>) -> GetQuote {
    GetQuote { sku: sku.into() }
}

/// Asks each article once, by turns.
async fn ask_all(askers: &[Process], round: &str) {
    let asked = (0..60).map(|number| {
        let asker = requests(&askers[number % askers.len()]);
        asker.ask(get(format!("{round}-{number}"))).within(LIMIT)
    });
    for outcome in join_all(asked).await {
        assert_eq!(outcome.expect("a reply"), Quote { number: 1 });
    }
}

#[test]
fn each_replica_receives_its_own_replies_although_answerers_are_killed() {
    block_on(async {
        let servers = Servers::start();
        let mut answerers = [
            servers.process(pricing()).await,
            servers.process(pricing()).await,
        ];
        let askers = [servers.process(shop()).await, servers.process(shop()).await];
        ask_all(&askers, "first").await;
        let rejected = requests(&askers[0]).ask(get("tea")).within(LIMIT).await;
        assert_eq!(rejected.expect_err("a rejection").code(), "unknown_sku");

        let killing = async {
            for answerer in &mut answerers {
                answerer.tasks.kill().await;
                *answerer = servers.process(pricing()).await;
            }
        };
        futures_util::future::join(ask_all(&askers, "killed"), killing).await;
        let reads = answerers[0].running.reads("pricing").expect("it runs");
        let all = reads.entities::<Quotes>(None, 1_000).await;
        let all = all.expect("the store answers");
        assert_eq!(all.len(), 120);
        assert!(all.iter().all(|(_, Quotes(count))| *count == 1));
        for asker in &askers {
            assert_eq!(requests(asker).pending(), 0);
        }
    });
}

/// The broker cancels the consumer, and later replies find the queue that was declared again.
#[test]
fn a_deleted_reply_queue_is_declared_again() {
    block_on(async {
        let config = config(server());
        let (bench, transport) = bench(&config).await;
        let queue = "wingbeat.replies.shop.1";
        let open = async || transport.replies(queue, 10).await.expect("it opens");
        let mut consumer = open().await;
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{queue}", config.namespace);
        let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        let lost = bench.within(consumer.next()).await.expect_err("it is gone");
        assert_eq!(lost.code(), "consumer_lost");
        drop(consumer);
        let mut consumer = open().await;
        let reply = Envelope {
            dialog: Some(Dialog::Reply { to: queue.into() }),
            ..bench.message(RESERVE)
        };
        bench.publish(vec![reply.clone()]).await;
        let taken = bench.take(&mut consumer, 1).await;
        assert_eq!(envelope(&taken[0]), &reply);
    });
}
