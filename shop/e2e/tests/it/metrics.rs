//! `/metrics` of the program, against the catalogue in `docs/metrics.md`: nothing is told that is not written down,
//! and what is written down is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shop_client::http::Call;
use shop_client::{Card, Order, Shop, Shopper};
use shop_e2e::fleet::{Fleet, PASSWORD};
use shop_e2e::process::{Place, binary};
use shop_e2e::scrape::{Scrape, catalogue};
use shop_e2e::shopping::Shopping;
use shop_e2e::wire::Weather;

/// How long anything may take to be told: long, since a fleet of fourteen processes shares the cores of a test.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// The pause between looks.
const LOOK: Duration = Duration::from_millis(50);

/// What one process with its data in a folder has no reason to tell.
const NOT_EMBEDDED: [(&str, &str); 13] = [
    ("wingbeat_outbox_unroutable", "it is its own broker"),
    ("wingbeat_otlp_spans_total", "it is built without OTLP"),
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
        "it asks nobody",
    ),
    ("wingbeat_upstream_open", "it asks nobody"),
    ("wingbeat_upstream_refused_total", "it asks nobody"),
    ("wingbeat_cache_requests_total", "its cache is no server"),
    ("wingbeat_cache_up", "its cache is no server"),
];

/// What a fleet has no reason to tell.
const NOT_IN_A_FLEET: [(&str, &str); 5] = [
    ("wingbeat_outbox_unroutable", "every message has a queue"),
    ("wingbeat_otlp_spans_total", "it is built without OTLP"),
    (
        "wingbeat_messages_returned_total",
        "every message has a queue",
    ),
    ("wingbeat_store_commit_seconds", "it has no embedded store"),
    (
        "wingbeat_store_commit_batch_size",
        "it has no embedded store",
    ),
];

/// Compares what was told with what is written, but for what cannot be told here.
fn is_as_written(told: &[Scrape], but: &[(&str, &str)]) {
    let written = catalogue();
    let mut seen = BTreeSet::new();
    for scrape in told {
        for family in scrape.families() {
            let kind = written.get(family);
            assert!(kind.is_some(), "{family} is not in docs/metrics.md");
            let told = match scrape.kinds[family].as_str() {
                "untyped" => "gauge",
                told => told,
            };
            assert_eq!(kind.map(String::as_str), Some(told), "{family}");
            assert!(scrape.explained.contains(family), "{family} has no HELP");
            seen.insert(family.to_owned());
        }
    }
    let excused: BTreeSet<String> = but.iter().map(|(name, _)| (*name).to_owned()).collect();
    let never: Vec<&String> = written.keys().filter(|it| !seen.contains(*it)).collect();
    let never: BTreeSet<String> = never.into_iter().cloned().collect();
    assert_eq!(never, excused, "never told, and excused from being told");
}

/// Orders of all kinds, and other requests; how many orders were accepted. All have ended.
async fn busy(shop: &Shop) -> usize {
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    for _ in 0..3 {
        shop.products().await.unwrap();
        let product = Call::get("/api/v1/products/WB-BELL-01");
        assert_eq!(shop.ask(&product).await.unwrap().status, 200);
    }
    let missing = Call::get("/api/v1/products/NO-SUCH-THING");
    assert_eq!(shop.ask(&missing).await.unwrap().status, 404);
    let mut placed = Vec::new();
    for card in [Card::Ok, Card::Declined, Card::Flaky, Card::Ok] {
        let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(card);
        placed.push(shopper.place(&order, Duration::from_secs(5)).await.unwrap());
    }
    for placed in &placed {
        ended(&shopper, &placed.order_id).await;
    }
    placed.len()
}

async fn ended(shopper: &Shopper, order: &str) {
    let ended = shopper.wait_ended(order, Duration::from_secs(30)).await;
    ended.expect("it ends");
}

/// Sagas in each state.
fn sagas(scrape: &Scrape) -> BTreeMap<&'static str, f64> {
    let states = [
        "promo",
        "stock",
        "authorize",
        "commit",
        "capture",
        "ship",
        "deliver",
        "unship",
        "undo",
        "ended",
    ];
    let count = |state| {
        scrape.sum(
            "wingbeat_saga_instances",
            &[("saga", "checkout"), ("state", state)],
        )
    };
    let counts = states.map(|state| (state, count(state)));
    counts
        .into_iter()
        .filter(|(_, count)| *count != 0.0)
        .collect()
}

#[tokio::test]
async fn a_busy_shop_tells_what_is_written_and_counts_its_sagas_over_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path());
    let running = place.start().await;
    let accepted = busy(&place.shop()).await as f64;
    let told = at_rest(&place, accepted).await;
    assert_eq!(told.sum("wingbeat_ready", &[]), 1.0);
    let checkout = [("service", "orders"), ("subscription", "checkout")];
    let handled = "wingbeat_messaging_settled_total";
    assert!(told.sum(handled, &checkout) > 4.0 * accepted);
    let started = "wingbeat_messaging_lag_seconds_count";
    let consumed = "wingbeat_messaging_client_consumed_messages_total";
    assert_eq!(told.sum(started, &checkout), told.sum(consumed, &checkout));
    let request = [
        ("method", "GET"),
        ("route", "/api/v1/products/{sku}"),
        ("status", "404"),
    ];
    let requests = "wingbeat_http_server_request_duration_seconds_count";
    assert_eq!(told.sum(requests, &request), 1.0);
    assert!(told.sum("wingbeat_cache_reads_total", &[("outcome", "hit")]) >= 2.0);
    is_as_written(&[told], &NOT_EMBEDDED);

    let shopper = place.shop().shoppers(1).await.unwrap().remove(0);
    let mut placed = Vec::new();
    for _ in 0..10 {
        let order = Order::of([("WB-BELL-01".into(), 1)]);
        placed.push(shopper.place(&order, Duration::from_secs(5)).await.unwrap());
    }
    running.kill();
    let running = place.start().await;
    let all = accepted + placed.len() as f64;
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let told = sagas(&place.metrics().await);
        let sum = told.values().sum::<f64>();
        if sum == all {
            break;
        }
        // Of the last one only the order may have been written, and the saga is about to be.
        assert!(sum < all && Instant::now() < until, "{told:?}");
        tokio::time::sleep(LOOK).await;
    }
    for placed in &placed {
        ended(&shopper, &placed.order_id).await;
    }
    at_rest(&place, all).await;
    drop(running);
}

/// What is told once every order's saga has ended and nothing is in anybody's hands.
async fn at_rest(place: &Place, orders: f64) -> Scrape {
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let told = place.metrics().await;
        let in_flight = told.sum("wingbeat_messaging_in_flight", &[]);
        if sagas(&told) == [("ended", orders)].into() && in_flight == 0.0 {
            return told;
        }
        assert!(
            Instant::now() < until,
            "{in_flight} in flight, {:?}",
            sagas(&told)
        );
        tokio::time::sleep(LOOK).await;
    }
}

async fn scrapes(fleet: &Fleet) -> Vec<Scrape> {
    let members = fleet.members.iter().filter(|it| it.service != "provider");
    let scrapes: Vec<_> = members
        .map(|it| tokio::spawn(Scrape::of(it.ops_port)))
        .collect();
    let mut told = Vec::new();
    for scrape in scrapes {
        told.push(scrape.await.unwrap());
    }
    told
}

/// Waits until some orders have got so far that payments has been asked.
async fn payments_is_asked(fleet: &Fleet) {
    let orders = fleet.members.iter().find(|it| it.service == "orders");
    let ops_port = orders.unwrap().ops_port;
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let told = sagas(&Scrape::of(ops_port).await);
        if told.get("authorize").is_some_and(|asking| *asking >= 3.0) {
            return;
        }
        assert!(
            Instant::now() < until,
            "payments is asked nothing: {told:?}"
        );
    }
}

/// Waits until failures and commits of unknown outcome are told.
async fn something_fails(fleet: &Fleet) {
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let told = scrapes(fleet).await;
        let sum = |name| told.iter().map(|it| it.sum(name, &[])).sum::<f64>();
        let failed = sum("wingbeat_messaging_failures_total");
        let unknown = sum("wingbeat_commit_unknown_total");
        if failed > 0.0 && unknown > 0.0 {
            break;
        }
        assert!(
            Instant::now() < until,
            "{failed} failures and {unknown} commits of unknown outcome are told"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_of_a_fleet_tells_its_part_also_while_the_store_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(folder.path().to_owned(), binary(), &[]).await;
    let shop = fleet.shop();
    let before = busy(&shop).await;
    // Payments finds its commands waiting when the store is away already: to handle one it has to ask it.
    let payments = |signal: &str| {
        let members = fleet.members.iter().filter(|it| it.service == "payments");
        members.for_each(|it| it.signal(signal));
    };
    payments("-STOP");
    let shopping = Shopping::begin(&shop, 5).await;
    payments_is_asked(&fleet).await;

    fleet.servers.to_store.set(Weather::Swallowed);
    payments("-CONT");
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let told = scrapes(&fleet).await;
        let orders = of(&fleet, &told, "orders");
        assert!(
            orders[0].has("wingbeat_messaging_in_flight"),
            "what is known is told"
        );
        let store = [("part", "store")];
        let complete = |it: &Scrape| it.sum("wingbeat_scrape_complete", &store) > 0.0;
        if !orders.iter().any(|it| complete(it)) {
            let stale = orders.iter().any(|it| it.has("wingbeat_outbox_waiting"));
            assert!(!stale, "what is not known is not told");
            // The broker answers all the same, if it is given the time.
            if orders[0].sum("wingbeat_scrape_complete", &[("part", "broker")]) == 1.0 {
                break;
            }
        }
        let late = "the store is still told to answer, or the broker is not";
        assert!(Instant::now() < until, "{late}");
        tokio::time::sleep(LOOK).await;
    }
    // Whoever was asking is told that there is no answer.
    fleet.servers.to_store.cut();
    something_fails(&fleet).await;
    fleet.servers.to_store.set(Weather::Clear);
    fleet.servers.to_store.cut();

    let outcome = shopping.end(&shop, PASSWORD).await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    let ended = (before + outcome.accepted) as f64;
    let until = Instant::now() + TOLD_WITHIN;
    let told = loop {
        let told = scrapes(&fleet).await;
        let replicas = of(&fleet, &told, "orders");
        let at_rest = |it: &&Scrape| {
            sagas(it) == [("ended", ended)].into() && it.sum("wingbeat_outbox_waiting", &[]) == 0.0
        };
        if replicas.iter().all(at_rest) {
            break told; // Every replica tells the same, and it is right.
        }
        let counted: Vec<_> = replicas.iter().map(|it| sagas(it)).collect();
        assert!(Instant::now() < until, "{ended} orders, {counted:?}");
    };
    is_as_written(&told, &NOT_IN_A_FLEET);
}

/// The scrapes of a service's replicas.
fn of<'a>(fleet: &Fleet, told: &'a [Scrape], service: &str) -> Vec<&'a Scrape> {
    let members = fleet.members.iter().filter(|it| it.service != "provider");
    let of_each = members.zip(told);
    let own = of_each.filter(|(member, _)| member.service == service);
    own.map(|(_, scrape)| scrape).collect()
}
