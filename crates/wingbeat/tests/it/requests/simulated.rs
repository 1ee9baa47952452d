//! Requests under every fault: each has one outcome, and takes effect at most once.

use std::collections::BTreeMap;
use std::time::Duration;

use wingbeat::http::{Path, Problem, Reply, Routes, get, ok};
use wingbeat::test::simulator::Ask;
use wingbeat::test::{Client, Process, Simulator, System, Violation, World};
use wingbeat::{App, BoxFuture, Requests};

use super::{GetQuote, Quote, Quotes, Settings, pricing, shop};

const ASKED: usize = 40;
const CLIENTS: usize = 3;

async fn show(Path(sku): Path<String>, requests: Requests) -> Result<Reply, Problem> {
    let asked = requests.ask(GetQuote { sku });
    let quote = asked.within(Duration::from_secs(3)).await?;
    Ok(ok(&quote))
}

struct Shop;

async fn buy(mut client: Client) {
    for number in 0..ASKED {
        let path = format!("/quotes/{}-{number}", client.number);
        client.ask(Ask::get("shop", path)).await;
        client.pause(Duration::from_secs(2)).await;
    }
}

impl System for Shop {
    fn new(_: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        let shop = |_: &_| {
            let show = get(show).answers::<Quote>(200);
            let routes = Routes::new().route("/quotes/{sku}", show);
            App::new().service(shop().routes(routes))
        };
        let pricing = |_: &_| App::new().service(pricing(&Settings::default()));
        vec![
            Process::new("shop", shop).replicas(2),
            Process::new("pricing", pricing).replicas(2),
        ]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| Box::pin(buy(Client::new(world, number))) as BoxFuture<'static, ()>;
        (0..CLIENTS).map(client).collect()
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let quotes: BTreeMap<_, _> = world
            .entities::<Quotes>("pricing")
            .into_iter()
            .map(|(sku, Quotes(count))| (sku, count))
            .collect();
        let mut found = Vec::new();
        for exchange in world.history() {
            let sku = exchange.ask.path.trim_start_matches("/quotes/");
            let count = quotes.get(sku).copied().unwrap_or_default();
            let code = exchange.answer.body()["code"].as_str().unwrap_or_default();
            let status = exchange.answer.status();
            let fits = match (status, code) {
                (200, _) => count == 1,
                (503, "request_unavailable") => count == 0,
                // The caller does not know, or its process has ended.
                (504, "reply_timeout") | (0 | 503, _) => count <= 1,
                _ => false,
            };
            if !fits {
                let detail = format!("{status} {code}, and {count} effects");
                found.push(Violation::new("one outcome, one effect", sku, detail));
            }
        }
        found
    }
}

#[test]
fn each_request_has_one_outcome_under_every_fault() {
    let report = Simulator::new()
        .without_minimization()
        .until_failure()
        .run::<Shop>(1..60);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}
