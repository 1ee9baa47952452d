//! The metrics that the program exposes, compared with the tables in `docs/metrics.md`: each metric
//! is documented, and each documented metric is exposed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shop_client::http::Call;
use shop_client::{Card, Order, Shopper};
use shop_e2e::fleet::Fleet;
use shop_e2e::process::Place;
use shop_e2e::proxy::Forwarding;
use shop_e2e::scrape::{Scrape, documented};
use shop_e2e::shopping::Shopping;
use shop_e2e::site::{Site, checkouts, sum};
use shop_e2e::wait::{BOUND, check, until};

use crate::shared::PLAIN;
use crate::storefront::open_sale;

/// The metrics that one process on its data directory has no reason to expose.
const NOT_EMBEDDED: [(&str, &str); 24] = [
    ("wingbeat_messaging_batch_size", "the shop has no batches"),
    ("wingbeat_requests_total", "the shop asks no requests"),
    ("wingbeat_requests_pending", "the shop asks no requests"),
    (
        "wingbeat_requests_expired_total",
        "the shop asks no requests",
    ),
    ("wingbeat_replies_late_total", "the shop asks no requests"),
    (
        "wingbeat_replies_dropped_total",
        "the shop asks no requests",
    ),
    ("wingbeat_bodies_total", "its messages are small"),
    ("wingbeat_schedule_runs_total", "the shop has no schedules"),
    ("wingbeat_outbox_unroutable", "it is its own broker"),
    ("wingbeat_otlp_spans_total", "it is built without OTLP"),
    (
        "wingbeat_otlp_log_records_total",
        "it is built without OTLP",
    ),
    (
        "wingbeat_otlp_metric_points_total",
        "it is built without OTLP",
    ),
    ("wingbeat_messaging_failures_total", "nothing fails"),
    ("wingbeat_messages_returned_total", "it is its own broker"),
    (
        "wingbeat_messaging_client_sent_messages_total",
        "it has no outbox",
    ),
    (
        "wingbeat_messaging_client_operation_duration_seconds",
        "it has no outbox",
    ),
    ("wingbeat_relay_batch_size", "it has no outbox"),
    ("wingbeat_commit_unknown_total", "its disk answers"),
    (
        "wingbeat_http_client_request_duration_seconds",
        "it has no upstream",
    ),
    ("wingbeat_upstream_open", "it has no upstream"),
    ("wingbeat_upstream_refused_total", "it has no upstream"),
    ("wingbeat_cache_requests_total", "its cache is no server"),
    ("wingbeat_cache_up", "its cache is no server"),
    (
        "wingbeat_calls_given_up_total",
        "the provider answers every call",
    ),
];

/// The metrics that a fleet has no reason to expose.
const NOT_IN_A_FLEET: [(&str, &str); 16] = [
    ("wingbeat_messaging_batch_size", "the shop has no batches"),
    ("wingbeat_requests_total", "the shop asks no requests"),
    ("wingbeat_requests_pending", "the shop asks no requests"),
    (
        "wingbeat_requests_expired_total",
        "the shop asks no requests",
    ),
    ("wingbeat_replies_late_total", "the shop asks no requests"),
    (
        "wingbeat_replies_dropped_total",
        "the shop asks no requests",
    ),
    ("wingbeat_bodies_total", "its messages are small"),
    ("wingbeat_schedule_runs_total", "the shop has no schedules"),
    ("wingbeat_outbox_unroutable", "every message has a queue"),
    ("wingbeat_otlp_spans_total", "it is built without OTLP"),
    (
        "wingbeat_otlp_log_records_total",
        "it is built without OTLP",
    ),
    (
        "wingbeat_otlp_metric_points_total",
        "it is built without OTLP",
    ),
    (
        "wingbeat_messages_returned_total",
        "every message has a queue",
    ),
    ("wingbeat_store_commit_seconds", "it has no embedded store"),
    (
        "wingbeat_store_commit_batch_size",
        "it has no embedded store",
    ),
    (
        "wingbeat_calls_given_up_total",
        "the provider answers every call",
    ),
];

/// Compares the exposed metrics with the documented ones, but for those that cannot be exposed
/// here.
fn assert_documented(scrapes: &[Scrape], but: &[(&str, &str)]) {
    let documented = documented();
    let mut seen = BTreeSet::new();
    for scrape in scrapes {
        for family in scrape.families() {
            let kind = documented.get(family);
            assert!(kind.is_some(), "{family} is not in docs/metrics.md");
            let exposed = match scrape.kinds[family].as_str() {
                "untyped" => "gauge",
                exposed => exposed,
            };
            assert_eq!(kind.map(String::as_str), Some(exposed), "{family}");
            assert!(scrape.explained.contains(family), "{family} has no HELP");
            seen.insert(family.to_owned());
        }
    }
    let excused: BTreeSet<String> = but.iter().map(|(name, _)| (*name).to_owned()).collect();
    let never = documented.into_keys().filter(|it| !seen.contains(it));
    let never: BTreeSet<String> = never.collect();
    assert_eq!(never, excused, "never exposed, and excused from it");
}

/// Places orders of all kinds, claims a unit of a flash sale, sends other requests, and waits for
/// the orders to end; returns their number.
async fn busy(site: &Site) -> u64 {
    let shop = &site.shop;
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    for _ in 0..3 {
        shop.products().await.unwrap();
        let product = Call::get("/api/v1/products/WB-BELL-01");
        assert_eq!(shop.ask(&product).await.unwrap().status, 200);
    }
    let missing = Call::get("/api/v1/products/NO-SUCH-THING");
    assert_eq!(shop.ask(&missing).await.unwrap().status, 404);
    let sale = open_sale(site, Duration::from_secs(60)).await;
    let claim = format!("/api/v1/flash-sales/{sale}/claims");
    let claimed = shopper.ask(Call::post(&claim)).await.unwrap();
    assert_eq!(claimed.status, 202);
    let cards = [Card::Ok, Card::Declined, Card::Flaky, Card::Ok];
    let mut placed = Vec::new();
    for card in cards {
        placed.push(place(&shopper, card).await);
    }
    for id in placed {
        shopper.wait_ended(&id, BOUND).await.unwrap();
    }
    cards.len() as u64
}

async fn place(shopper: &Shopper, card: Card) -> String {
    let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(card);
    shopper.place(&order, BOUND).await.unwrap().order_id
}

/// Only checkouts that have ended, and how many.
fn all_ended(orders: u64) -> BTreeMap<String, u64> {
    [("ended".to_owned(), orders)].into()
}

#[tokio::test]
async fn one_process_exposes_the_documented_metrics_and_counts_checkouts_across_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let place_of = Place::new(data.path()).ships_after("200ms");
    let running = place_of.start().await;
    let site = place_of.site();
    let accepted = busy(&site).await;
    let scrape = once_ended(&site, accepted).await;
    assert_eq!(scrape.sum("wingbeat_ready", &[]), 1.0);
    let checkout = [("service", "orders"), ("subscription", "checkout")];
    let handled = "wingbeat_messaging_settled_total";
    assert!(scrape.sum(handled, &checkout) > 4.0 * accepted as f64);
    let started = "wingbeat_messaging_lag_seconds_count";
    let consumed = "wingbeat_messaging_client_consumed_messages_total";
    assert_eq!(
        scrape.sum(started, &checkout),
        scrape.sum(consumed, &checkout)
    );
    let request = [
        ("method", "GET"),
        ("route", "/api/v1/products/{sku}"),
        ("status", "404"),
    ];
    let requests = "wingbeat_http_server_request_duration_seconds_count";
    assert_eq!(scrape.sum(requests, &request), 1.0);
    assert!(scrape.sum("wingbeat_cache_reads_total", &[("outcome", "hit")]) >= 2.0);
    assert_documented(&[scrape], &NOT_EMBEDDED);

    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let mut placed = Vec::new();
    for _ in 0..10 {
        placed.push(place(&shopper, Card::Ok).await);
    }
    running.kill();
    let running = place_of.start().await;
    let all = accepted + placed.len() as u64;
    // The order that was placed last may not have its checkout yet.
    until("each order has a checkout", async || {
        let counted = checkouts(&place_of.metrics().await);
        let sum = counted.values().sum::<u64>();
        assert!(sum <= all, "{counted:?}");
        check(sum == all, format_args!("{counted:?}"))
    })
    .await;
    for id in placed {
        shopper.wait_ended(&id, BOUND).await.unwrap();
    }
    let scrape = once_ended(&site, all).await;
    // The promises of all orders, across the kill: one of them had a card that is declined.
    let paid = [("service", "orders"), ("promise", "orders_paid")];
    assert_eq!(
        scrape.sum("wingbeat_promises_made_total", &paid),
        all as f64
    );
    let ended = scrape.by_label("wingbeat_promises_ended_total", &paid, "outcome");
    assert_eq!(ended.values().sum::<u64>(), all);
    assert_eq!(ended.get("released"), Some(&1), "{ended:?}");
    drop(running);
}

/// The metrics of a single process once so many checkouts have ended and nothing is on its way.
async fn once_ended(site: &Site, orders: u64) -> Scrape {
    site.until_quiet().await;
    let scrape = site.scrapes().await.unwrap().remove(0);
    assert_eq!(checkouts(&scrape), all_ended(orders));
    scrape
}

/// Pauses or resumes the processes of a service.
fn signal(fleet: &Fleet, service: &str, signal: &str) {
    let members = fleet.members.iter().filter(|it| it.runs(service));
    members.for_each(|it| it.signal(signal));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_of_a_fleet_exposes_its_metrics_also_without_the_store() {
    let fleet = PLAIN.alone().await;
    let site = fleet.site();
    site.until_quiet().await;
    let orders = &fleet.ops_ports("orders");
    let before = scrapes(orders).await.unwrap();
    let before = checkouts(&before[0]).get("ended").copied().unwrap_or(0);
    let busy = busy(&site).await;

    // The commands for payments wait, so that it has to ask the store when it resumes.
    signal(&fleet, "payments", "-STOP");
    let shopping = Shopping::begin(&site, 5).await;
    until("payments has commands", async || {
        let counted = checkouts(&scrapes(orders).await?[0]);
        let asking = counted.get("authorize").is_some_and(|count| *count >= 3);
        check(asking, format_args!("{counted:?}"))
    })
    .await;
    fleet.servers.to_store.set(Forwarding::Nothing);
    signal(&fleet, "payments", "-CONT");
    metrics_lack_the_store(orders).await;
    // Open statements fail. A commit is unknown if it was on its way; that takes some attempts.
    fleet.servers.to_store.cut();
    until("failures and unknown commits are counted", async || {
        fleet.servers.to_store.set(Forwarding::Everything);
        tokio::time::sleep(Duration::from_secs(1)).await;
        fleet.servers.to_store.set(Forwarding::Nothing);
        tokio::time::sleep(Duration::from_millis(300)).await;
        fleet.servers.to_store.cut();
        let scrapes = site.scrapes().await?;
        let failed = sum(&scrapes, "wingbeat_messaging_failures_total", &[]);
        let unknown = sum(&scrapes, "wingbeat_commit_unknown_total", &[]);
        let counted = failed > 0.0 && unknown > 0.0;
        check(
            counted,
            format_args!("{failed} failures, {unknown} unknown"),
        )
    })
    .await;
    fleet.servers.to_store.set(Forwarding::Everything);
    fleet.servers.to_store.cut();

    let outcome = shopping.end().await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    site.until_quiet().await;
    let ended = all_ended(before + busy + outcome.accepted as u64);
    for replica in scrapes(orders).await.unwrap() {
        assert_eq!(checkouts(&replica), ended, "of every replica");
    }
    assert_documented(&site.scrapes().await.unwrap(), &NOT_IN_A_FLEET);
}

/// Scrapes some of the processes.
async fn scrapes(ops_ports: &[u16]) -> Result<Vec<Scrape>, String> {
    let mut scrapes = Vec::new();
    for port in ops_ports {
        scrapes.push(Scrape::of(*port).await?);
    }
    Ok(scrapes)
}

/// Waits until these processes leave out the figures of the store, which does not answer, and still
/// expose their own and those of the broker.
async fn metrics_lack_the_store(ops_ports: &[u16]) {
    until("the figures of the store are left out", async || {
        let scrapes = scrapes(ops_ports).await?;
        let own = scrapes
            .iter()
            .all(|it| it.has("wingbeat_messaging_in_flight"));
        assert!(own, "own figures are always exposed");
        let complete = |part| sum(&scrapes, "wingbeat_scrape_complete", &[("part", part)]);
        let (store, broker) = (complete("store"), complete("broker"));
        check(
            store == 0.0 && broker == scrapes.len() as f64,
            format_args!("complete for {store} and {broker} processes"),
        )?;
        let stale = scrapes.iter().any(|it| it.has("wingbeat_outbox_waiting"));
        assert!(!stale, "an unknown figure is left out");
        Ok::<_, String>(())
    })
    .await;
}
