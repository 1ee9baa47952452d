//! Traces, metrics and log records as a collector receives them from the `shop` binary with the
//! feature `otlp`, as one process and as a fleet on servers. The build with sabotage has every
//! feature.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use shop_e2e::fleet::Plan;
use shop_e2e::http_suite::{order as an_order, raw};
use shop_e2e::process::{Place, Running, sabotaged};
use shop_e2e::wait::BOUND;
use wingbeat_servers::collector::{Collector, Exemplar, Trace};

/// The caller's trace and span.
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER_SPAN: &str = "b7ad6b7169203331";
/// The services that take part in an order.
const SERVICES: [&str; 5] = [
    "orders",
    "inventory",
    "payments",
    "shipping",
    "notifications",
];
/// The time until a parcel is dispatched, and then until it is delivered.
const SHIPPING: &str = "200ms";

/// Places an order as part of the trace of [`CALLER`], and returns its id.
async fn place(url: &str, payment_token: &str) -> String {
    let to: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    let json_body = ("content-type", "application/json");
    let made = raw::ask(to, "POST", "/dev/shoppers", &[json_body], r#"{"count":1}"#).await;
    let token = made.json()["items"][0]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let order = an_order(payment_token);
    let headers = [
        json_body,
        ("authorization", &*format!("Bearer {token}")),
        ("idempotency-key", "one-order"),
        ("traceparent", CALLER),
    ];
    let placed = raw::ask(to, "POST", "/api/v1/orders", &headers, &order.to_string()).await;
    assert_eq!(placed.status, 202, "{placed:?}");
    placed.json()["order_id"].as_str().unwrap().to_owned()
}

/// Checks the spans of one order in every mode: all services take part, in one tree.
fn is_one_order(trace: &Trace, carrier: &str) {
    let request = trace.only("gateway", "POST", "server");
    assert_eq!(request.parent, CALLER_SPAN, "the caller's trace continues");
    for service in SERVICES {
        let handled = trace.some(service, "process ", "consumer");
        let published = trace.parent(handled);
        assert_eq!(
            published.kind, "producer",
            "{handled:?} is caused by {published:?}"
        );
        const ID: &str = "messaging.message.id";
        assert_eq!(
            handled.text(ID),
            published.text(ID),
            "it is caused by the message that it handles"
        );
        assert_eq!(handled.text("messaging.system"), carrier);
        assert!(!handled.text("messaging.message.conversation_id").is_empty());
        assert!(
            trace.is_under(handled, request),
            "{service} belongs to the order"
        );
        let commit = trace.child(handled, "commit").unwrap();
        assert!(commit.ended_after(handled.start));
    }
    let call = trace.answered("payments", "call payments.provider");
    assert!(trace.is_under(call, trace.some("payments", "process ", "consumer")));
    assert_eq!(call.text("peer.service"), "provider");
    let booked = trace.some("provider", "POST", "server");
    assert!(
        trace
            .parent(booked)
            .name
            .starts_with("call payments.provider"),
        "{booked:?}"
    );
    let answered = trace.some("payments", "process payments.provider_answered", "consumer");
    assert!(trace.is_under(answered, call), "the answer's continuation");
    let timer = trace.some("shipping", "timer shipping.", "internal");
    assert!(trace.is_under(timer, trace.some("shipping", "process ", "consumer")));
}

/// Returns whether all spans that the tests look for were exported.
fn is_whole(trace: &Trace) -> bool {
    let committed = |service: &&str| {
        let handled = trace.first(service, "process ", "consumer");
        handled.is_some_and(|handled| trace.child(handled, "commit").is_some())
    };
    SERVICES.iter().all(committed)
        && trace.has("provider", "POST")
        && trace.has("orders", "publish orders.order_completed")
        && trace.has("notifications", "process notifications.order_shipped")
        && trace.is_tree(CALLER_SPAN)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_one_trace_across_all_processes_the_broker_and_the_provider() {
    let collector = Collector::start().await;
    let url = collector.url();
    let plan = Plan::standard().binary(sabotaged()).ships_after(SHIPPING);
    let fleet = plan.with("WINGBEAT_OTLP", &url).start().await;
    place(&fleet.url(), "tok_ok").await;
    let sent = "send inventory.reserve_stock";
    let whole = |trace: &Trace| is_whole(trace) && trace.has("orders", sent);
    let trace = collector.wait(TRACE, BOUND, whole).await;
    is_one_order(&trace, "rabbitmq");
    // The gateway asked orders over HTTP.
    let placing = trace.only("orders", "POST /api/v1/orders", "internal");
    let asked = trace.parent(placing);
    assert_eq!(
        (&*asked.service, &*asked.name, &*asked.kind),
        ("orders", "POST", "server")
    );
    let asking = trace.parent(asked);
    assert_eq!(
        (&*asking.service, &*asking.name),
        ("gateway", "POST orders")
    );
    assert_eq!(trace.parent(asking).name, "POST");
    // Each message passed the broker.
    let published = trace.some("orders", "publish inventory.reserve_stock", "producer");
    let sent = trace.some("orders", sent, "client");
    assert_eq!(trace.parent(sent).id, published.id);
    assert_eq!(sent.text("messaging.system"), "rabbitmq");
}

/// The whole shop as one process that logs as JSON into a file.
async fn alone(place: &Place, collector: &Collector, log: &Path) -> Running {
    let listen = place.url();
    let mut command = Command::new(sabotaged());
    command
        .args(["--listen", listen.trim_start_matches("http://")])
        .args(["--ops-listen", "127.0.0.1:0", "--otlp", &collector.url()])
        .args(["--log", "wingbeat=debug,warn", "--log-format", "json"])
        .arg("--data")
        .arg(&place.data)
        .env("WINGBEAT_SHIPPING_DISPATCH_AFTER", SHIPPING)
        .env("WINGBEAT_SHIPPING_DELIVER_AFTER", SHIPPING)
        .stdout(Stdio::null())
        .stderr(File::create(log).unwrap());
    place.start_as(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_one_trace_in_one_process_which_exports_its_last_spans() {
    let collector = Collector::start().await;
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    let at = Place::of(data.path(), sabotaged());
    let running = alone(&at, &collector, &log).await;
    let order = place(&at.url(), "tok_flaky").await;
    let whole = collector.wait(TRACE, BOUND, is_whole).await;
    is_one_order(&whole, "wingbeat");
    let placing = whole.only("orders", "POST /api/v1/orders", "internal");
    assert_eq!(whole.parent(placing).service, "gateway");
    // The span of the last request is exported too, although the process ends before the next batch
    // is due.
    let last = "1bf7651916cd43dd8448eb211c80319c";
    let to = at.url().trim_start_matches("http://").parse().unwrap();
    let caller = CALLER.replace(TRACE, last);
    raw::ask(
        to,
        "GET",
        "/api/v1/products",
        &[("traceparent", &caller)],
        "",
    )
    .await;
    assert_eq!(running.terminate().code(), Some(0));
    let exported = collector.trace(last);
    assert!(exported.has("gateway", "GET"), "{exported:?}");
    // The log has the ids of the spans.
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let lines: Vec<Value> = lines.collect();
    let is_failed_call = |line: &&Value| line["call"].is_string() && line["operation"].is_string();
    let line = lines.iter().find(is_failed_call).unwrap();
    assert_eq!(
        (&line["trace_id"], &line["correlation_id"]),
        (&json!(TRACE), &json!(order))
    );
    let span = whole.span(line["span_id"].as_str().unwrap());
    assert_eq!(
        (&*span.name, span.text("error.type")),
        ("call payments.provider", "unavailable")
    );
    assert!(line["causation_id"].is_string(), "{line}");
    // So does the exported log, record by record.
    let logs = collector.logs();
    assert!(logs.iter().all(|it| it.service == "shop"), "{logs:?}");
    let exported = logs
        .iter()
        .find(|it| it.span == span.id && !it.text("call").is_empty());
    let exported = exported.unwrap_or_else(|| panic!("{} is missing in {logs:#?}", span.id));
    assert_eq!(
        (&*exported.trace, &json!(exported.message)),
        (TRACE, &line["message"])
    );
    assert_eq!(exported.text("causation_id"), line["causation_id"]);
    // The last metrics, and exemplars whose traces are there.
    let last = collector.metrics().pop().unwrap();
    assert_eq!(last.service, "shop");
    let made = r#"wingbeat_promises_made_total{promise="orders_paid",service="orders"}"#;
    assert_eq!(last.values[made], 1.0);
    assert!(!last.exemplars.is_empty());
    for exemplar in &last.exemplars {
        let trace = collector.trace(&exemplar.trace);
        assert!(trace.has_span(&exemplar.span), "{exemplar:?}: {trace:?}");
    }
    let of_order = |it: &&Exemplar| it.trace == TRACE && it.metric.ends_with("_lag_seconds");
    assert!(last.exemplars.iter().any(|it| of_order(&it)), "{last:?}");
}
