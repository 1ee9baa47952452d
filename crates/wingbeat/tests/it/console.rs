//! The operations console over a scripted source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wingbeat::describe::System;
use wingbeat::run::console::{Console, OwnPage, Refused, Source};
use wingbeat::{BoxFuture, TokioRuntime};

const HOSTILE: &str = "</code><script>alert('x')</script>\"'&";
/// What `HOSTILE` must never look like on a page.
const RAW: &str = "<script>alert";
const ID: &str = "00000000-0000-0000-0000-000000000007";
/// Every page.
const PAGES: [&str; 14] = [
    "/console",
    "/console/subscriptions",
    "/console/incidents",
    "/console/incidents/orders/0a",
    "/console/dead-letters",
    "/console/dead-letters/00000000-0000-0000-0000-000000000007",
    "/console/outside",
    "/console/sagas",
    "/console/sagas/orders/checkout",
    "/console/sagas/orders/checkout/7",
    "/console/schedules",
    "/console/stories",
    "/console/stories/00000000-0000-0000-0000-000000000007?step=00000000-0000-0000-0000-000000000007",
    "/console/stories/00000000-0000-0000-0000-000000000007",
];
/// The page of a story.
const STORY: &str = PAGES[13];

/// A source with replies by path.
#[derive(Clone, Default)]
struct Script {
    replies: BTreeMap<String, Value>,
    /// The answer to all requests, instead of a reply.
    refuses: Option<u16>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn with(mut self, path: &str, reply: Value) -> Self {
        self.replies.insert(path.into(), reply);
        self
    }

    fn empty() -> Self {
        [
            "/subscriptions",
            "/breakers",
            "/unroutable",
            "/schedules",
            "/replays",
            "/rebuilds",
            "/incidents",
            "/redrives",
            "/sagas",
        ]
        .into_iter()
        .fold(Self::default(), |script, path| {
            script.with(path, json!({"items": []}))
        })
        .with("/dead-letters", json!({"items": [], "next_cursor": null}))
        .with(&format!("/stories/{ID}"), json!({"items": []}))
    }

    fn refusing(status: u16) -> Self {
        Self {
            refuses: Some(status),
            ..Self::default()
        }
    }

    /// Returns the requests that changed something.
    fn writes(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .iter()
            .filter(|it| it.starts_with("POST"))
            .cloned()
            .collect()
    }

    fn console(&self) -> Router {
        Console::new(self.clone(), &System::default(), TokioRuntime::new())
            .with_sign_in("/account")
            .with_hint("Ask Ada.")
            .routes()
    }
}

impl Source for Script {
    fn ask<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        _: &'a Parts,
    ) -> BoxFuture<'a, Result<Bytes, Refused>> {
        let line = format!("{method} {path}");
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        let refused = |status: u16| {
            let status = StatusCode::from_u16(status).expect("a status");
            Refused::new(status, "", "the store does not answer")
        };
        let path = path.split('?').next().unwrap_or(path);
        let reply = match (self.refuses, self.replies.get(path)) {
            (Some(status), _) => Err(refused(status)),
            (None, Some(reply)) => Ok(Bytes::from(reply.to_string())),
            (None, None) if method == Method::POST => Ok(Bytes::new()),
            (None, None) => Err(refused(404)),
        };
        Box::pin(async move { reply })
    }

    fn ready<'a>(&'a self, _: &'a Parts) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }
}

struct Reply {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}

async fn send(console: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "ops.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let Ok(response) = console.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.into()).expect("text"),
    }
}

async fn get(console: &Router, path: &str) -> Reply {
    send(console, "GET", path, &[]).await
}

fn subscription(service: &str, name: &str, state: &str) -> Value {
    json!({
        "service": service, "name": name, "state": state, "waiting": 12_345, "in_flight": 1,
        "handled": 7, "retried": 2, "dead": 3,
    })
}

fn letter(text: &str) -> Value {
    json!({
        "id": ID, "subscription": text, "type": text, "reason": text, "error": text, "attempts": 3,
        "first_at": "2026-01-01T00:00:00Z", "last_at": "2026-01-01T00:01:00Z", "fingerprint": "f",
    })
}

fn saga(text: &str) -> Value {
    json!({
        "id": text, "in_state": text, "ended": false, "timers": [text],
        "updated_at": "2026-01-01T00:00:00Z", "story": ID, "state": { text: text },
    })
}

fn incident(text: &str) -> Value {
    let at = "2026-01-02T03:04:05Z";
    json!({
        "service": text, "group": text, "subscription": text, "type": text, "reason": text,
        "error": text, "first_at": at, "last_at": at, "count": 3, "failures": 4,
        "per_minute": 0.4, "last_hour": 4, "affected_keys": 2, "keys": [text],
    })
}

/// A system in which every text of every list is this one.
fn full(text: &str) -> Script {
    let at = "2026-01-01T00:00:00Z";
    let mut whole = letter(text);
    whole["first_error"] = json!(format!("first {text}"));
    whole["headers"] = json!({"correlationid": ID, "source": text});
    whole["body"] = json!({ text: text });
    let mut group = incident(text);
    group["items"] = json!([letter(text)]);
    group["next_cursor"] = json!("c");
    let run = json!({"planned": at, "at": at, "error": text});
    let list = |item: Value| json!({"items": [item], "away": [text]});
    let script = Script::default()
        .with("/subscriptions", list(subscription(text, text, "paused")))
        .with(
            "/breakers",
            list(json!({"service": text, "name": text, "state": "open", "since": at})),
        )
        .with(
            "/unroutable",
            list(json!({"type": text, "since": at, "waiting": 5})),
        )
        .with(
            "/schedules",
            list(json!({
                "service": text, "name": text, "times": text, "state": "running", "next": at,
                "last": run,
            })),
        )
        .with(
            "/replays",
            list(json!({
                "service": text, "queue": text, "message": text, "state": "failing", "began": at,
                "events": 1, "aggregates": 1, "done": null, "failure": text,
            })),
        )
        .with(
            "/rebuilds",
            list(json!({
                "service": text, "table": text, "state": "failing", "incomplete": [text],
                "records": 1, "began": at, "done": null, "failure": text,
                "projection": {"view": text, "version": 2, "shown": 1, "events": 3},
            })),
        )
        .with(
            "/dead-letters",
            json!({"items": [letter(text)], "next_cursor": null, "away": [text]}),
        )
        .with(&format!("/dead-letters/{ID}"), whole)
        .with("/incidents", list(incident(text)))
        .with("/incidents/orders/0a", group)
        .with(
            "/redrives",
            list(json!({
                "service": text, "id": ID, "selection": {"reason": text}, "rate": 5,
                "tolerate": 0, "state": "running", "by": text, "why": text, "began": at,
                "ended": null, "sent": 2, "failed": 1, "skipped": 0, "failed_letter": ID,
                "error": text,
            })),
        );
    told(script, text)
}

/// Adds a story and a saga.
fn told(script: Script, text: &str) -> Script {
    let at = "2026-01-01T00:00:00Z";
    let list = |item: Value| json!({"items": [item], "away": [text]});
    script
        .with(
            &format!("/stories/{ID}"),
            list(json!({
                "at": at, "service": text, "kind": text, "name": text, "id": ID,
                "causation_id": null,
            })),
        )
        .with(
            &format!("/stories/{ID}/records"),
            list(json!({
                "service": text, "at": at, "causation_id": ID, "effects": [ID], "kind": "saga",
                "table": format!("saga.{text}"), "id": text, "version": 2, "moved_to": text,
                "known": "unchanged", "state": { text: text },
            })),
        )
        .with(
            "/sagas",
            list(json!({"service": text, "saga": text, "states": { text: 3, "ended": 4 }})),
        )
        .with(
            "/sagas/orders/checkout",
            json!({"items": [saga(text)], "next_cursor": "c"}),
        )
        .with("/sagas/orders/checkout/7", {
            let mut one = saga(text);
            one["pending"] = json!([{"message": text, "due_at": null}]);
            one["waits_for"] = json!([text]);
            one
        })
}

#[tokio::test]
async fn every_page_renders_with_nothing_to_show() {
    let console = Script::empty().console();
    for path in PAGES.into_iter().filter(|path| {
        let ones = ["dead-letters/", "incidents/", "sagas/"];
        !ones.iter().any(|part| path.contains(part))
    }) {
        let page = get(&console, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.ends_with("</html>"), "{path}: {}", page.body);
    }
    let overview = get(&console, "/console").await.body;
    assert!(overview.contains("All is well"), "{overview}");
    assert_eq!(get(&console, "/console/dead-letters/x").await.status, 404);
    assert_eq!(get(&console, "/console/nothing").await.status, 404);
}

#[tokio::test]
async fn hostile_text_is_escaped_on_every_page() {
    let console = full(HOSTILE).console();
    let confirm = format!("/console/dead-letters/{ID}/discard");
    for path in PAGES.into_iter().chain([confirm.as_str()]) {
        let page = get(&console, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(!page.body.contains(RAW), "{path}: {}", page.body);
    }
    let search = get(&console, "/console/subscriptions?q=%3Cscript%3Ealert").await;
    assert!(!search.body.contains(RAW), "{}", search.body);
    let story = get(&console, "/console/stories?id=%3Cscript%3Ealert").await;
    assert!(!story.body.contains(RAW), "{}", story.body);
    let said = get(&console, "/console?did=%3Cscript%3Ealert").await;
    assert!(
        !said.body.contains("data-done"),
        "unknown results show nothing"
    );
    let letter = get(&console, &format!("/console/dead-letters/{ID}")).await;
    let shown = "&#60;/code&#62;&#60;script&#62;alert(&#39;x&#39;)";
    assert!(letter.body.contains(shown), "the control: {}", letter.body);
}

#[tokio::test]
async fn what_needs_attention_comes_first() {
    let console = full("orders").console();
    let overview = get(&console, "/console").await.body;
    let place = |text: &str| {
        overview
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {overview}"))
    };
    let order = [
        "orders does not answer",
        "The breaker of orders is open",
        "1 dead letter to decide",
        "No queue takes orders",
        "orders.orders is paused: 12,345 messages waiting",
    ]
    .map(place);
    assert!(order.is_sorted(), "{overview}");
    assert!(overview.contains("things need attention"), "{overview}");
}

#[tokio::test]
async fn a_thousand_subscriptions_come_in_pages() {
    let many = (0..1_000).map(|at| subscription("orders", &format!("s{at:04}"), "running"));
    let script = Script::empty().with("/subscriptions", json!({"items": many.collect::<Vec<_>>()}));
    let console = script.console();
    let rows = async |query: &str| {
        let page = get(&console, &format!("/console/subscriptions{query}")).await;
        assert!(page.body.len() < 200_000, "{} bytes", page.body.len());
        (
            page.body.matches("data-key=").count(),
            page.body.contains("s0950"),
        )
    };
    assert_eq!(rows("").await, (100, false));
    assert_eq!(rows("?page=10").await, (100, true));
    for beyond in ["?page=11", "?page=99999999", "?page=18446744073709551615"] {
        assert_eq!(rows(beyond).await, (100, true), "the last page: {beyond}");
    }
    assert_eq!(rows("?page=-1").await, (100, false));
    assert_eq!(rows("?q=s095").await, (10, true));
    assert_eq!(rows("?show=paused").await, (0, false));
}

#[tokio::test]
async fn the_next_page_of_dead_letters_starts_at_its_cursor() {
    let script = full("orders").with(
        "/dead-letters",
        json!({"items": [letter("orders")], "next_cursor": "abc"}),
    );
    let page = get(&script.console(), "/console/dead-letters?cursor=x%26y").await;
    assert!(
        page.body.contains("/console/dead-letters?cursor=abc"),
        "{}",
        page.body
    );
    let asked = script.asked.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*asked, ["GET /dead-letters?limit=100&cursor=x%26y"]);
}

#[tokio::test]
async fn an_unavailable_server_leaves_the_pages_standing() {
    let console = Script::refusing(503).console();
    for path in [
        "/console",
        "/console/subscriptions",
        "/console/schedules",
        "/console/outside",
    ] {
        let page = get(&console, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(
            page.body.contains("the store does not answer"),
            "{path}: {}",
            page.body
        );
    }
    let story = get(&console, STORY).await;
    assert_eq!(story.status, 503);
    assert!(
        story.body.contains("http-equiv=\"refresh\""),
        "{}",
        story.body
    );
}

#[tokio::test]
async fn strangers_are_sent_to_the_sign_in_and_others_are_refused() {
    let (anonymous, shopper) = (
        Script::refusing(401).console(),
        Script::refusing(403).console(),
    );
    for path in PAGES {
        let reply = get(&anonymous, path).await;
        let next = path
            .replace('/', "%2F")
            .replace('?', "%3F")
            .replace('=', "%3D");
        assert_eq!(reply.status, 303, "{path}");
        assert_eq!(reply.header("location"), format!("/account?next={next}"));
        let refused = get(&shopper, path).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(
            refused.body.contains("Ask Ada."),
            "{path}: {}",
            refused.body
        );
    }
    let action = "/console/subscriptions/orders/pay/pause";
    let reply = send(&anonymous, "POST", action, &[]).await;
    assert_eq!(reply.header("location"), "/account?next=%2Fconsole");
    assert_eq!(send(&shopper, "POST", action, &[]).await.status, 403);
}

#[tokio::test]
async fn forms_reach_the_operators_api_and_lead_back() {
    let script = full("orders");
    let console = script.console();
    let letter = format!("/console/dead-letters/{ID}");
    for (action, back) in [
        (
            "/console/subscriptions/orders/pay%2Fa%20b/pause?q=or%26&show=paused&page=2".into(),
            "/console/subscriptions?page=2&q=or%26&show=paused&did=paused",
        ),
        (
            "/console/subscriptions/orders/pay/resume".into(),
            "/console/subscriptions?page=1&did=resumed",
        ),
        (
            "/console/schedules/orders/clean/pause".into(),
            "/console/schedules?did=paused",
        ),
        (
            format!("{letter}/retry"),
            "/console/dead-letters?did=retried",
        ),
        (
            format!("{letter}/discard"),
            "/console/dead-letters?did=discarded",
        ),
        (
            format!("/console/redrives/orders/{ID}/stop"),
            "/console/incidents?did=stopped",
        ),
    ] {
        let own = [("sec-fetch-site", "same-origin")];
        let reply = send(&console, "POST", &action, &own).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (303, back),
            "{action}"
        );
        assert_eq!(
            get(&console, back).await.body.matches("data-done").count(),
            1
        );
    }
    let unknown = "/console/subscriptions/orders/pay/destroy";
    assert_eq!(send(&console, "POST", unknown, &[]).await.status, 404);
    assert_eq!(
        script.writes(),
        [
            "POST /subscriptions/orders/pay%2Fa%20b/pause".to_owned(),
            "POST /subscriptions/orders/pay/resume".to_owned(),
            "POST /schedules/orders/clean/pause".to_owned(),
            format!("POST /dead-letters/{ID}/retry"),
            format!("POST /dead-letters/{ID}/discard"),
            format!("POST /redrives/orders/{ID}/stop"),
        ]
    );
}

#[tokio::test]
async fn forms_with_fields_pass_them_on() {
    let script = full("orders");
    let discard = format!("/console/dead-letters/{ID}/discard");
    for (action, fields, status) in [
        (
            "/console/incidents/orders/0a/retry",
            "rate=50&why=it+is+m%26nded",
            303,
        ),
        ("/console/incidents/orders/0a/retry", "rate=fast&why=x", 422),
        (&discard, "why=too+old", 303),
    ] {
        let request = Request::post(action).header("sec-fetch-site", "same-origin");
        let request = request.body(Body::from(fields)).expect("a request");
        let reply = script.console().oneshot(request).await;
        let reply = reply.expect("routes never fail");
        assert_eq!(reply.status(), status, "{action}");
    }
    assert_eq!(
        script.writes(),
        [
            "POST /redrives/orders?group=0a&rate=50&why=it%20is%20m%26nded".to_owned(),
            format!("POST /dead-letters/{ID}/discard?why=too%20old"),
        ]
    );
}

#[tokio::test]
async fn an_action_that_another_site_sends_is_refused() {
    let script = full("orders");
    let console = script.console();
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        for action in [
            "subscriptions/a/b/pause",
            "dead-letters/a/retry",
            "dead-letters/a/discard",
        ] {
            let reply = send(&console, "POST", &format!("/console/{action}"), &[foreign]).await;
            assert_eq!(reply.status, 403, "{foreign:?}");
        }
    }
    assert_eq!(script.writes(), Vec::<String>::new());
    let by_link = format!("/console/dead-letters/{ID}/retry");
    assert_eq!(
        get(&console, &by_link).await.status,
        405,
        "a link changes nothing"
    );
}

#[tokio::test]
async fn replies_carry_the_headers_for_browsers_and_no_inline_code() {
    let console = full("orders").console();
    for path in PAGES
        .into_iter()
        .chain(["/console/none", "/console/assets/console.js"])
    {
        let page = get(&console, path).await;
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'self';"),
            "{path}: {policy}"
        );
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        if !path.contains("assets") {
            assert_eq!(page.header("cache-control"), "no-store", "{path}");
            for inline in [
                " style=",
                "<style",
                "onclick=",
                "javascript:",
                "http://",
                "https://",
            ] {
                assert!(!page.body.contains(inline), "{path} contains {inline}");
            }
        }
    }
    for name in [
        "tokens.css",
        "base.css",
        "console.css",
        "live.js",
        "map.js",
        "mark.svg",
    ] {
        let path = format!("/console/assets/{name}");
        let asset = get(&console, &path).await;
        assert_eq!(asset.status, 200, "{name}");
        let known = [("if-none-match", asset.header("etag"))];
        assert_eq!(send(&console, "GET", &path, &known).await.status, 304);
    }
    assert_eq!(get(&console, "/console/assets/none").await.status, 404);
}

/// A page of an app's own.
struct Meter;

impl OwnPage for Meter {
    fn path(&self) -> &'static str {
        "/console/meter"
    }

    fn label(&self) -> &'static str {
        "Meter"
    }

    fn show<'a>(
        &'a self,
        source: &'a dyn Source,
        visitor: &'a Parts,
    ) -> BoxFuture<'a, Result<String, Refused>> {
        Box::pin(async move {
            let figure = source.ask(Method::GET, "/meter", visitor).await?;
            Ok(format!("<h1>{}</h1>", String::from_utf8_lossy(&figure)))
        })
    }

    fn act<'a>(
        &'a self,
        action: &'a str,
        source: &'a dyn Source,
        visitor: &'a Parts,
    ) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move {
            let path = format!("/meter/{action}");
            source.ask(Method::POST, &path, visitor).await.map(drop)
        })
    }
}

#[tokio::test]
async fn an_app_adds_a_page_of_its_own_with_the_same_guards() {
    let script = Script::empty().with("/meter", json!(42));
    let with_page = |script: &Script| {
        let runtime = TokioRuntime::new();
        let console = Console::new(script.clone(), &System::default(), runtime);
        console.with_sign_in("/account").with_page(Meter).routes()
    };
    let console = with_page(&script);
    let page = get(&console, "/console/meter").await;
    assert_eq!(page.status, 200);
    for part in [
        "<h1>42</h1>",
        "Meter · Wingbeat console",
        "aria-current=\"page\">Meter",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let own = [("sec-fetch-site", "same-origin")];
    let reply = send(&console, "POST", "/console/meter/reset", &own).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, "/console/meter")
    );
    let foreign = [("sec-fetch-site", "cross-site")];
    let refused = send(&console, "POST", "/console/meter/reset", &foreign).await;
    assert_eq!(refused.status, 403);
    assert_eq!(script.writes(), ["POST /meter/reset"]);
    let anonymous = with_page(&Script::refusing(401));
    let reply = get(&anonymous, "/console/meter").await;
    assert_eq!(reply.header("location"), "/account?next=%2Fconsole%2Fmeter");
}

#[tokio::test]
async fn a_story_shows_its_records_as_they_were_after_a_step() {
    let console = full("orders").console();
    let page = get(&console, PAGES[12]).await.body;
    for part in [
        "id=\"then\"",
        "aria-current=\"step\"",
        "It has no history, but nothing has written it since",
        "/console/sagas/orders/orders/orders",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let plain = get(&console, STORY).await.body;
    assert!(!plain.contains("id=\"then\""), "{plain}");
    let link = format!("/console/stories/{ID}?step={ID}#then");
    assert!(plain.contains(&link), "{plain}");
}

#[tokio::test]
async fn a_saga_says_why_it_waits() {
    let breaker = json!({
        "service": "orders", "name": "provider", "state": "open", "since": "2026-01-01T00:00:00Z",
    });
    let step = |id: u8, cause: Option<u8>, kind: &str, name: &str| {
        let uuid = |id: u8| format!("00000000-0000-0000-0000-00000000000{id}");
        json!({
            "at": "2026-01-01T00:00:00Z", "service": "orders", "kind": kind, "name": name,
            "id": uuid(id), "causation_id": cause.map(uuid),
        })
    };
    let steps = json!({"items": [
        step(6, None, "event", "orders.placed.v1"),
        step(7, Some(6), "command", "payments.authorize.v1"),
        step(8, Some(7), "call", "authorize_card"),
    ]});
    let script = full("orders").with(&format!("/stories/{ID}"), steps);
    let script = script.with("/breakers", json!({"items": [breaker]}));
    let record = json!({"items": [{
        "service": "orders", "at": "2026-01-01T00:00:00Z",
        "causation_id": "00000000-0000-0000-0000-000000000006", "effects": [ID], "kind": "saga",
        "table": "saga.checkout", "id": "orders", "version": 1, "moved_to": "paying",
        "known": "unchanged", "state": {},
    }]});
    let console = script
        .with(&format!("/stories/{ID}/records"), record)
        .console();
    let page = get(&console, "/console/sagas/orders/checkout/7").await.body;
    for part in [
        "Why it waits",
        "The outside call <b>authorize card</b> of orders is not answered",
        "The breaker of provider</a> is open",
        "<b>placed</b> arrived.",
        "sent the command <b>authorize</b>",
        "paying",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
