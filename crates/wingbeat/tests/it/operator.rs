//! The operator's API over HTTP, on the operator's port of a program.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process with real sockets and clock"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wingbeat::http::{Json, Problem, Reply, Routes, accepted, post};
use wingbeat::run::{Process, Program, Roles, RunError, Secret, open};
use wingbeat::{
    App, Error, Event, JsonSchema, Message as _, Parts, Ports, Result, Scope, Service, Settings,
    State, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = book)]
struct BookLent {
    book: String,
}

async fn lend(Json(loan): Json<BookLent>, scope: Scope) -> Result<Reply, Problem> {
    scope.publish(&loan)?;
    Ok(accepted(&loan))
}

#[derive(Clone, Default, Parts)]
struct Counting {
    /// Set once the handler can count lost books.
    mended: Arc<AtomicBool>,
}

async fn count(loan: BookLent, State(mended): State<Arc<AtomicBool>>) -> Result<()> {
    if loan.book == "Lost" && !mended.load(Ordering::Relaxed) {
        return Err(Error::reject("lost", "a lost book cannot be counted"));
    }
    Ok(())
}

struct Library;

impl Program for Library {
    type Own = ();
    type State = Counting;

    fn name(&self) -> &'static str {
        "library"
    }

    fn about(&self) -> &'static str {
        "Lends books and counts them"
    }

    fn services(&self, _: &Settings) -> Vec<&'static str> {
        vec!["library", "statistics"]
    }

    async fn begin(&self, _: &Settings, _: &Roles, _: &Ports) -> Result<Counting, RunError> {
        Ok(Counting::default())
    }

    fn system(&self, _: &Settings, _: &Roles, counting: &Counting) -> App {
        let lending = Routes::new().route("/loans", post(lend));
        let statistics = Service::new("statistics").with_state(counting.clone());
        App::new()
            .service(Service::new("library").routes(lending))
            .service(statistics.on(count))
    }
}

const TOKEN: &str = "a-long-token";
/// The longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(data: &std::path::Path) -> Process<Library> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings::default();
    settings.listen = any;
    settings.ops_listen = any;
    settings.ops_token = Some(Secret(TOKEN.into()));
    settings.data = data.into();
    let roles = Roles {
        services: ["library", "statistics"].into(),
        others: [].into(),
        whole: true,
    };
    open(Library, settings, roles).await.expect("it starts")
}

/// A client of one address.
pub(crate) struct Client {
    address: SocketAddr,
    host: &'static str,
    token: Option<&'static str>,
}

impl Client {
    /// Creates a client on the same machine.
    pub(crate) fn near(address: SocketAddr) -> Self {
        Self {
            address,
            host: "localhost",
            token: None,
        }
    }

    /// Returns the status and the text of an answer.
    pub(crate) async fn text(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let token = self
            .token
            .map(|it| format!("authorization: Bearer {it}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            token.unwrap_or_default(),
            body.len(),
        );
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, text) = self.text("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn post(&self, path: &str) -> u16 {
        self.text("POST", path, "").await.0
    }

    /// Returns the figures of the subscription of `statistics`.
    async fn counting(&self) -> Value {
        let all = self.get("/ops/subscriptions").await;
        let mut items = all["items"].as_array().expect("a list").iter();
        let counting = items.find(|it| it["service"] == "statistics");
        counting.expect("a subscription").clone()
    }

    /// Waits until the subscription of `statistics` has these figures.
    async fn until(&self, wanted: Value) {
        let begun = Instant::now();
        loop {
            let counting = self.counting().await;
            let wanted = wanted.as_object().expect("figures");
            if wanted.iter().all(|(name, value)| counting[name] == *value) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{wanted:?}: {counting}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the only dead letter.
    async fn letter(&self) -> Value {
        let letters = self.get("/ops/dead-letters").await;
        let [letter] = letters["items"].as_array().expect("a list").as_slice() else {
            panic!("not one dead letter: {letters}");
        };
        letter.clone()
    }
}

async fn lend_over_http(address: SocketAddr, book: &str) {
    let body = json!({ "book": book }).to_string();
    let (status, text) = Client::near(address).text("POST", "/loans", &body).await;
    assert_eq!(status, 202, "{text}");
}

async fn only_operators_are_answered(shop: SocketAddr, address: SocketAddr) {
    let stranger = Client {
        host: "ops.example",
        ..Client::near(address)
    };
    assert_eq!(stranger.text("GET", "/ops/breakers", "").await.0, 403);
    let guest = Client {
        token: Some(TOKEN),
        ..stranger
    };
    assert_eq!(guest.get("/ops/breakers").await, json!({ "items": [] }));
    assert_eq!(guest.get("/ops/rebuilds").await, json!({ "items": [] }));
    let elsewhere = Client::near(shop).text("GET", "/ops/breakers", "").await;
    assert_eq!(elsewhere.0, 404, "the public address has no operator's API");
}

/// Returns the path of the only form on a page.
#[cfg(feature = "console")]
fn action(page: &str) -> String {
    let forms: Vec<&str> = page.split("method=\"post\" action=\"").skip(1).collect();
    let [form] = forms.as_slice() else {
        panic!("not one form: {page}");
    };
    let path = form.split('"').next().unwrap_or_default();
    path.replace("&#38;", "&")
}

/// The console pauses and resumes over its forms, for those whom the operator's API admits.
#[cfg(feature = "console")]
async fn the_console_controls_the_subscription(ops: &Client) {
    let page = async |path: &str| ops.text("GET", path, "").await;
    for (path, shown) in [
        ("/console", "statistics"),
        ("/console/subscriptions", "statistics"),
        ("/console/dead-letters", "There are no dead letters."),
        ("/console/outside", "No service calls an outside system."),
        ("/console/schedules", "No service has a schedule."),
        ("/console/stories", "correlation id"),
    ] {
        let (status, text) = page(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        assert!(text.contains(shown), "{path}: {text}");
    }
    for (state, other) in [("paused", "Resume"), ("running", "Pause")] {
        let (_, list) = page("/console/subscriptions").await;
        let (status, text) = ops.text("POST", &action(&list), "").await;
        assert_eq!(status, 303, "{text}");
        ops.until(json!({ "state": state })).await;
        let (_, list) = page("/console/subscriptions").await;
        assert!(list.contains(other), "{list}");
    }
    let stranger = Client {
        host: "ops.example",
        ..Client::near(ops.address)
    };
    for path in ["/console", "/console/subscriptions"] {
        assert_eq!(stranger.text("GET", path, "").await.0, 403, "{path}");
    }
    let pause = "/console/subscriptions/statistics/count/pause";
    assert_eq!(stranger.text("POST", pause, "").await.0, 403);
    ops.until(json!({ "state": "running" })).await;
}

/// The console shows the only dead letter and retries it over its form. Leaves another one.
#[cfg(feature = "console")]
async fn the_console_retries_a_letter(ops: &Client, shop: SocketAddr, mended: &AtomicBool) {
    let letter = ops.letter().await;
    let path = format!(
        "/console/dead-letters/{}",
        letter["id"].as_str().expect("an id")
    );
    let (_, list) = ops.text("GET", "/console/dead-letters", "").await;
    assert!(list.contains("a lost book cannot be counted"), "{list}");
    let (status, whole) = ops.text("GET", &path, "").await;
    assert_eq!(status, 200, "{whole}");
    assert!(whole.contains("Lost"), "the body: {whole}");
    mended.store(true, Ordering::Relaxed);
    assert_eq!(ops.text("POST", &action(&whole), "").await.0, 303);
    ops.until(json!({ "handled": 3, "dead": 0 })).await;
    assert_eq!(ops.text("GET", &path, "").await.0, 404);
    mended.store(false, Ordering::Relaxed);
    lend_over_http(shop, "Lost").await;
    ops.until(json!({ "dead": 1 })).await;
}

async fn a_discarded_letter_is_gone(ops: &Client) {
    let id = ops.letter().await["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        ops.post(&format!("/ops/dead-letters/{id}/discard")).await,
        202
    );
    assert_eq!(ops.get("/ops/dead-letters").await["items"], json!([]));
    assert_eq!(
        ops.post(&format!("/ops/dead-letters/{id}/retry")).await,
        404
    );
}

async fn dead_letters_come_in_pages(ops: &Client) {
    let first = ops.get("/ops/dead-letters?limit=2").await;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(2), "{first}");
    let cursor = first["next_cursor"].as_str().expect("there is a next page");
    let last = ops
        .get(&format!("/ops/dead-letters?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(last["items"].as_array().map(Vec::len), Some(1), "{last}");
    assert_eq!(last["next_cursor"], Value::Null);
    let all = ops.get("/ops/dead-letters").await;
    let pages = [&first["items"], &last["items"]];
    let paged = pages
        .into_iter()
        .flat_map(|page| page.as_array().expect("a list"));
    assert_eq!(all["items"], json!(paged.collect::<Vec<_>>()));
    for (query, status) in [("limit=0", 422), ("limit=101", 422), ("cursor=AAAA", 400)] {
        let path = format!("/ops/dead-letters?{query}");
        assert_eq!(ops.text("GET", &path, "").await.0, status, "{query}");
    }
}

/// Dead letters are listed by cause and handled again over HTTP.
async fn incidents_are_listed_and_redriven(ops: &Client, mended: &AtomicBool) {
    let begun = Instant::now();
    let incident = loop {
        let list = ops.get("/ops/incidents").await;
        let items = list["items"].as_array().expect("a list");
        if let [incident] = items.as_slice()
            && incident["count"] == 3
        {
            break incident.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{list}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(incident["keys"], json!(["Lost"]));
    let group = incident["group"].as_str().expect("a group");
    let path = format!("/ops/incidents/statistics/{group}");
    let first = ops.get(&format!("{path}?limit=2")).await;
    let cursor = first["next_cursor"].as_str().expect("a next page");
    let last = ops.get(&format!("{path}?limit=2&cursor={cursor}")).await;
    assert_eq!(last["items"].as_array().map(Vec::len), Some(1), "{last}");
    for (path, status) in [
        ("/ops/redrives/nobody", 404),
        ("/ops/redrives/statistics?rate=0", 422),
        ("/ops/redrives/statistics?rate=fast", 422),
    ] {
        assert_eq!(ops.post(path).await, status, "{path}");
    }
    let id = first["items"][0]["id"].as_str().expect("an id");
    let edit = format!("/ops/dead-letters/{id}/edit");
    let wrong = json!({"body": {"book": 7}}).to_string();
    assert_eq!(ops.text("POST", &edit, &wrong).await.0, 422);
    let right = json!({"body": {"book": "Found"}, "why": "a slip"}).to_string();
    assert_eq!(ops.text("POST", &edit, &right).await.0, 202);

    mended.store(true, Ordering::Relaxed);
    let redrive = format!("/ops/redrives/statistics?group={group}&rate=1000&why=mended");
    assert_eq!(ops.post(&redrive).await, 202);
    ops.until(json!({ "dead": 1, "waiting": 0 })).await;
    let begun = Instant::now();
    while ops.get("/ops/redrives").await["items"][0]["state"] != "done" {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let actions = ops.get("/ops/actions").await;
    let actions = actions["items"].as_array().expect("a list").iter();
    let done = actions.map(|it| [it["what"].as_str(), it["why"].as_str()]);
    let done: Vec<_> = done.take(3).collect();
    let expected = [
        ("redrive_done", ""),
        ("redrive", "mended"),
        ("edit", "a slip"),
    ];
    assert_eq!(done, expected.map(|(what, why)| [Some(what), Some(why)]));
}

/// A process records metrics once, so one test covers the whole API.
#[tokio::test]
async fn an_operator_pauses_resumes_retries_and_discards() {
    let directory = tempfile::tempdir().expect("a directory");
    let process = start(directory.path()).await;
    let (shop, address) = (process.address, process.ops_address.expect("it records"));
    let ops = Client::near(address);

    only_operators_are_answered(shop, address).await;

    lend_over_http(shop, "Emma").await;
    ops.until(json!({ "handled": 1, "waiting": 0, "dead": 0 }))
        .await;
    #[cfg(feature = "console")]
    the_console_controls_the_subscription(&ops).await;
    let name = ops.counting().await["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let subscription = format!("/ops/subscriptions/statistics/{name}");
    assert_eq!(ops.post(&format!("{subscription}/pause")).await, 202);
    lend_over_http(shop, "Lost").await;
    ops.until(json!({ "state": "paused", "handled": 1, "waiting": 1 }))
        .await;
    assert_eq!(ops.post(&format!("{subscription}/resume")).await, 202);
    ops.until(json!({ "state": "running", "dead": 1, "waiting": 0 }))
        .await;

    let letter = ops.letter().await;
    assert_eq!(letter["reason"], "lost");
    assert_eq!(letter["type"], BookLent::NAME);
    let path = format!(
        "/ops/dead-letters/{}",
        letter["id"].as_str().expect("an id")
    );
    let whole = ops.get(&path).await;
    assert_eq!(whole["body"], json!({ "book": "Lost" }));
    let story = whole["headers"]["correlationid"].as_str().expect("an id");
    let story = ops.get(&format!("/ops/stories/{story}")).await;
    assert_eq!(story["items"][0]["service"], "library");

    process.state.mended.store(true, Ordering::Relaxed);
    assert_eq!(ops.post(&format!("{path}/retry")).await, 202);
    ops.until(json!({ "handled": 2, "dead": 0 })).await;
    assert_eq!(ops.get("/ops/dead-letters").await["items"], json!([]));

    process.state.mended.store(false, Ordering::Relaxed);
    lend_over_http(shop, "Lost").await;
    ops.until(json!({ "dead": 1 })).await;
    #[cfg(feature = "console")]
    the_console_retries_a_letter(&ops, shop, &process.state.mended).await;
    a_discarded_letter_is_gone(&ops).await;
    assert_eq!(
        ops.post("/ops/subscriptions/statistics/none/pause").await,
        404
    );
    assert_eq!(ops.get("/ops/unroutable").await, json!({ "items": [] }));

    for _ in 0..3 {
        lend_over_http(shop, "Lost").await;
    }
    // The discarded one is still counted.
    ops.until(json!({ "dead": 4 })).await;
    dead_letters_come_in_pages(&ops).await;
    incidents_are_listed_and_redriven(&ops, &process.state.mended).await;

    let (status, page) = ops.text("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(page.contains("wingbeat_ready 1"), "{page}");
    assert_eq!(ops.text("GET", "/readyz", "").await.0, 200);
    process.close().await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the port is closed"
    );
}
