//! Dashboards and alerts, evaluated by a Prometheus server that scrapes a fleet: no panel is empty
//! because it asks for what is not there.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use shop_client::{Card, Order, Shopper};
use shop_e2e::prometheus::Prometheus;
use shop_e2e::scrape::{Scrape, documented};
use shop_e2e::site::Site;
use shop_e2e::wait::{BOUND, check, until};

use crate::shared::PLAIN;

/// The metrics that a fleet without faults, batches, schedules and requests does not expose. Their
/// panels are empty.
const ABSENT: [&str; 20] = [
    "wingbeat_bodies_total",
    "wingbeat_breaker_changes_total",
    "wingbeat_calls_given_up_total",
    "wingbeat_claims_total",
    "wingbeat_commit_unknown_total",
    "wingbeat_messages_returned_total",
    "wingbeat_messaging_batch_size",
    "wingbeat_messaging_failures_total",
    "wingbeat_otlp_log_records_total",
    "wingbeat_otlp_metric_points_total",
    "wingbeat_otlp_spans_total",
    "wingbeat_outbox_unroutable",
    "wingbeat_replies_dropped_total",
    "wingbeat_replies_late_total",
    "wingbeat_requests_expired_total",
    "wingbeat_requests_pending",
    "wingbeat_requests_total",
    "wingbeat_schedule_runs_total",
    "wingbeat_store_commit_batch_size",
    "wingbeat_store_commit_seconds",
];

/// A query with the title of its panel.
struct Query {
    panel: String,
    text: String,
}

/// The queries of all dashboards for all services, with the interval that Grafana would insert.
fn queries() -> Vec<Query> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana/dashboards");
    let mut queries = Vec::new();
    for file in folder.read_dir().unwrap() {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        let board: Value = serde_json::from_slice(&text).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().into_iter().flatten();
            queries.extend(targets.map(|target| Query {
                panel: format!("{}: {}", board["title"], panel["title"]),
                text: filled(target["expr"].as_str().unwrap()),
            }));
        }
    }
    queries
}

fn filled(query: &str) -> String {
    let query = query.replace("$__rate_interval", "1m");
    let query = query.replace("$service", ".*");
    let query = query.replace("$subscription", ".*");
    assert!(!query.contains('$'), "a variable is unknown: {query}");
    query
}

/// The documented metrics that a query reads.
fn metrics(query: &str) -> BTreeSet<String> {
    let documented = documented();
    let words = query.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let parts = ["", "_bucket", "_sum", "_count"];
    let families = words.filter_map(|word| {
        let mut bases = parts.iter().filter_map(|part| word.strip_suffix(part));
        bases.find(|base| documented.contains_key(*base))
    });
    families.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_panel_and_no_alert_asks_for_what_is_not_there() {
    let fleet = PLAIN.beside_others().await;
    let site = fleet.site();
    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let prometheus = Prometheus::of(&site).await;
    let queries = queries();
    assert!(queries.len() > 60, "{} queries", queries.len());
    // Rates need two samples.
    until("every panel has series", async || {
        order(&shopper).await;
        let exposed = exposed(&site).await?;
        let mut empty = Vec::new();
        for Query { panel, text } in &queries {
            let read = metrics(text);
            let known = read.iter().any(|it| exposed.contains(it));
            let excused = read.iter().all(|it| ABSENT.contains(&it.as_str()));
            let found = prometheus.query(text).await?;
            if found.is_empty() && (known || !excused) {
                empty.push(format!("{panel}: {text}"));
            }
        }
        check(empty.is_empty(), format_args!("empty: {empty:#?}"))
    })
    .await;
    until("every alert is evaluated", async || {
        let rules = prometheus.rules().await?;
        let unwell = rules.iter().find(|rule| rule["health"] != "ok");
        check(unwell.is_none(), format_args!("{unwell:#?}"))
    })
    .await;
    let rules = prometheus.rules().await.unwrap();
    assert!(rules.len() >= 18, "{} rules", rules.len());
    let down = prometheus.query("up{job=\"wingbeat\"} == 0").await.unwrap();
    assert_eq!(down, Vec::<Value>::new());
    drop(prometheus);
}

/// The metrics that any process exposes now.
async fn exposed(site: &Site) -> Result<BTreeSet<String>, String> {
    let scrapes = site.scrapes().await?;
    let families = scrapes.iter().flat_map(Scrape::families);
    Ok(families.map(str::to_owned).collect())
}

async fn order(shopper: &Shopper) {
    let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(Card::Ok);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
}
