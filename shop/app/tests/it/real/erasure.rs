//! After `DELETE /me`, nothing readable of the person remains: not in a file of the data directory,
//! a table of PostgreSQL, a key of Redis, nor a log line.

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use shop_contracts::UserId;
use shop_e2e::http_suite::order;
use shop_e2e::wait::{check, until};
use shop_orders::views::OrderRow;
use wingbeat::{Claims, Name, run_unit};
use wingbeat_servers::smtp::{Reply, Security, Smtp, Step};

use super::place::{Shape, scan_servers};
use super::{Shop, in_both_shapes};

in_both_shapes![
    nothing_readable_of_an_erased_person_remains,
    a_service_that_is_away_erases_when_it_is_back,
    a_mail_that_waits_for_its_server_is_unreadable_and_is_not_sent_after_the_erasure,
];

/// A part of every string of the persons. Log lines are searched for it.
const MARK: &str = "feather";
/// A part of the log line that controls the search.
const CONTROL: &str = "quillfeather-control";

/// A person whose strings occur nowhere else.
struct Person {
    name: String,
    email: String,
    password: String,
    line1: String,
    city: String,
}

impl Person {
    fn new() -> Self {
        let number = fastrand::u32(..);
        Self {
            name: format!("Zoë Quillfeather {number}"),
            email: format!("Zoe.Quillfeather+{number}@person.example"),
            // A password must not contain a part of the name or the address.
            password: format!("horse featherbed {}", fastrand::u32(..)),
            line1: format!("{number} Quillfeather Straße"),
            city: format!("Quillfeather-upon-{number}"),
        }
    }

    fn sign_up(&self) -> Value {
        json!({
            "email": self.email, "password": self.password, "name": self.name,
            "marketing_opt_in": true,
        })
    }

    fn order(&self) -> Value {
        let mut order = order("tok_ok");
        order["address"] = json!({
            "line1": self.line1, "city": self.city, "postal_code": "0", "country": "XX",
        });
        order
    }

    /// Returns what must not be found, each string in several encodings.
    fn needles(&self) -> Vec<String> {
        let strings = [
            &self.name,
            &self.email,
            &self.password,
            &self.line1,
            &self.city,
        ];
        strings.into_iter().flat_map(|it| encodings(it)).collect()
    }
}

/// Returns the encodings of a text in which it is still readable, in lower case except for base64.
fn encodings(text: &str) -> Vec<String> {
    let escaped: String = text.chars().flat_map(escape).collect();
    let mut all = vec![
        text.to_lowercase(),
        escaped.to_lowercase(),
        hex(text.as_bytes()),
        hex(text.to_lowercase().as_bytes()),
    ];
    for case in [text.to_owned(), text.to_lowercase()] {
        all.extend((0..3).map(|offset| base64_part(case.as_bytes(), offset)));
    }
    all
}

fn escape(c: char) -> Vec<char> {
    if c.is_ascii() {
        return vec![c];
    }
    format!("\\u{:04x}", u32::from(c)).chars().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the characters of the base64 text that depend on `bytes` alone, if `offset` bytes
/// precede them in their group of three.
fn base64_part(bytes: &[u8], offset: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = &bytes[(3 - offset) % 3..];
    let groups = whole.chunks_exact(3).map(|group| {
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift) as usize & 63]))
    });
    groups.flatten().collect()
}

/// Returns which of the needles `haystack` contains.
fn found(haystack: &[u8], needles: &[String]) -> Vec<String> {
    // Bytes that are no text are replaced; those of the needles are text.
    let text = String::from_utf8_lossy(haystack);
    let folded = text.to_lowercase();
    let hits = needles
        .iter()
        .filter(|needle| text.contains(*needle) || folded.contains(*needle));
    hits.cloned().collect()
}

/// Returns all that can be found of the needles in the files below `folder`.
fn in_files(folder: &Path, needles: &[String]) -> Vec<String> {
    let mut hits = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hits.extend(in_files(&path, needles));
            continue;
        }
        for hit in found(&std::fs::read(&path).unwrap(), needles) {
            hits.push(format!("{}: {hit}", path.display()));
        }
    }
    hits
}

/// The log lines of this process with a person's string.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watch;

impl Write for Watch {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if text.to_lowercase().contains(MARK) {
            LOGGED.lock().unwrap().push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Searches all log lines from now on. Only the tests of this module log.
fn watch_logs() {
    static WATCHING: OnceLock<()> = OnceLock::new();
    WATCHING.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(|| Watch)
            .init();
    });
}

impl Shop {
    /// Returns all that can be found of the needles where the shop stores data.
    async fn scan(&self, needles: &[String]) -> Vec<String> {
        let ports = self.open.host.ports();
        // The sweep of each minute, which also empties SQLite's log.
        while ports.store.retain(ports.runtime.now()).await.unwrap() > 0 {}
        let mut hits = in_files(&self.place.data, needles);
        for (place, bytes) in tokio::task::block_in_place(|| scan_servers(&self.place)) {
            hits.extend(
                found(&bytes, needles)
                    .into_iter()
                    .map(|hit| format!("{place}: {hit}")),
            );
        }
        hits
    }

    /// Waits until nothing can be found of the needles.
    async fn nothing_remains(&self, needles: &[String]) {
        until("nothing remains", async || {
            let hits = self.scan(needles).await;
            check(hits.is_empty(), format_args!("{hits:#?}"))
        })
        .await;
    }

    /// Signs a person up and in. Returns the user and a session's token.
    async fn join(&self, person: &Person) -> (UserId, String) {
        let signed_up = self.post("/api/v1/users", "", &person.sign_up()).await;
        assert_eq!(signed_up.status, 201, "{signed_up:?}");
        let user = signed_up.json()["user_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        (user, self.enter(person).await)
    }

    async fn enter(&self, person: &Person) -> String {
        let form = json!({"email": person.email, "password": person.password});
        let session = self.post("/api/v1/sessions", "", &form).await;
        assert_eq!(session.status, 201, "{session:?}");
        session.json()["token"].as_str().unwrap().to_owned()
    }

    async fn mails(&self, person: &Person) -> usize {
        let path = format!("/dev/mailbox?to={}", person.email.replace('+', "%2B"));
        let mails = self.get(&path, "").await.json();
        mails["items"].as_array().unwrap().len()
    }

    async fn erase(&self, token: &str, person: &Person) {
        let body = json!({"password": person.password});
        let erased = self.call("DELETE", "/api/v1/me", token, &body).await;
        assert_eq!(erased.status, 202, "{erased:?}");
    }

    /// Waits until each service has handled the erasure.
    async fn erased_everywhere(&self, user: UserId) {
        until("the user is erased in all services", async || {
            for service in ["identity", "notifications", "orders"] {
                let reads = self.open.host.reads(service).unwrap();
                check(reads.is_erased(&user).await.unwrap(), service)?;
            }
            let reads = self.open.host.reads("notifications").unwrap();
            let knows = shop_notifications::audit::knows(&reads, user).await;
            check(!knows.unwrap(), "notifications has an address or a mail")
        })
        .await;
    }
}

async fn nothing_readable_of_an_erased_person_remains(shop: Shop) {
    watch_logs();
    let person = Person::new();
    let (user, token) = shop.join(&person).await;
    let elsewhere = shop.enter(&person).await;
    let order = shop.placed(&token, "k", &person.order()).await;
    shop.wait(&token, &order, &["completed"]).await;
    let put = json!({"quantity": 2});
    let cart = shop.call("PUT", "/api/v1/cart/items/WB-BELL-01", &token, &put);
    assert_eq!(cart.await.status, 200);
    until("the mails are sent", async || {
        let sent = shop.mails(&person).await;
        check(sent >= 4, sent) // Welcome, promo, paid, shipped.
    })
    .await;
    let me = shop.get("/api/v1/me", &token).await.json();
    assert_eq!(
        (&me["name"], &me["email"]),
        (&json!(person.name), &json!(person.email))
    );

    shop.erase(&token, &person).await;
    for session in [&token, &elsewhere] {
        assert_eq!(shop.get("/api/v1/me", session).await.status, 401);
    }
    let form = json!({"email": person.email, "password": person.password});
    assert_eq!(shop.post("/api/v1/sessions", "", &form).await.status, 401);
    shop.erased_everywhere(user).await;
    assert_eq!(shop.mails(&person).await, 0);
    let needles = person.needles();
    shop.nothing_remains(&needles).await;

    // The order stays, and all invariants hold.
    let reads = shop.open.host.reads("orders").unwrap();
    let row = reads.row::<OrderRow>(&order).await.unwrap().unwrap();
    assert_eq!(row.user_id, user);
    shop.holds().await;

    // The control: a field that is stored without encryption is found.
    let notifications = shop.open.host.service("notifications").unwrap();
    let leaked = &person.name;
    run_unit(&notifications, |scope| async move {
        Claims::of(&scope).claim("leak", "1", leaked).await
    })
    .await
    .unwrap();
    let hits = shop.scan(&needles).await;
    assert!(!hits.is_empty(), "the control must be found");

    // No log line contains anything of the person.
    tracing::info!("{CONTROL}");
    let lines = LOGGED.lock().unwrap().clone();
    let (control, leaks): (Vec<_>, Vec<_>) = lines.into_iter().partition(|it| it.contains(CONTROL));
    assert!(!control.is_empty(), "log lines are searched");
    assert_eq!(leaks, Vec::<String>::new());

    // The address is free for a new person.
    let (again, _) = shop.join(&person).await;
    assert_ne!(again, user);
}

/// Notifications is paused while a person registers and is erased.
async fn a_service_that_is_away_erases_when_it_is_back(shop: Shop) {
    let admin = shop.admin().await;
    let subscriptions = ["remember_address", "user_registered", "user_erased"];
    let switch = async |to: &str| {
        for name in subscriptions {
            let path = format!("/api/v1/admin/subscriptions/notifications/{name}/{to}");
            assert_eq!(shop.post(&path, &admin, &Value::Null).await.status, 202);
        }
    };
    switch("pause").await;
    let person = Person::new();
    let (user, token) = shop.join(&person).await;
    shop.erase(&token, &person).await;
    switch("resume").await;
    shop.erased_everywhere(user).await;
    until("no message is left", async || {
        let all = shop.get("/api/v1/admin/subscriptions", &admin).await.json();
        let busy = |it: &&Value| it["waiting"] != json!(0) || it["in_flight"] != json!(0);
        let busy = all["items"].as_array().unwrap().iter().find(busy).cloned();
        check(busy.is_none(), format_args!("{busy:?}"))
    })
    .await;
    shop.nothing_remains(&person.needles()).await;
    shop.holds().await;
}

/// The mail server takes mails later, so the calls to it are stored. They must not contain the name
/// nor the address.
async fn a_mail_that_waits_for_its_server_is_unreadable_and_is_not_sent_after_the_erasure(
    shop: Shop,
) {
    watch_logs();
    let mails = Smtp::start(Security::Plain, None);
    let later = Reply::Line("450 4.2.0 take it later".into());
    mails.script(Step::Content, later, usize::MAX);
    let url = format!("smtp://127.0.0.1:{}?tls=off", mails.address().port());
    let url = url.parse().unwrap();
    let shop = shop.again(|settings| settings.own.smtp = Some(url)).await;
    let waiting = async || {
        let ports = shop.open.host.ports();
        let notifications = Name::new("notifications");
        let backlog = ports.store.backlog(notifications, ports.runtime.now());
        let due = backlog.await.unwrap().due;
        let mut calls = due.iter().filter(|it| it.table.as_str() == "wb.call");
        calls.next().map_or(0, |it| it.pending)
    };
    let person = Person::new();
    let needles = person.needles();
    let (user, token) = shop.join(&person).await;
    until("the mails were refused", async || {
        let refused = mails.in_clear().matches("Message-ID:").count();
        let waiting = waiting().await;
        check(
            refused >= 2 && waiting == 2,
            format_args!("{refused}, {waiting}"),
        ) // Welcome, promo.
    })
    .await;
    shop.nothing_remains(&needles).await;

    shop.erase(&token, &person).await;
    shop.erased_everywhere(user).await;
    until("no mail waits", async || {
        let waiting = waiting().await;
        check(waiting == 0, waiting)
    })
    .await;
    assert!(mails.received().is_empty());
    shop.nothing_remains(&needles).await;
    shop.holds().await;
}

/// The data directory belongs to its owner alone, also if an older release has created it.
#[tokio::test(flavor = "multi_thread")]
async fn other_users_cannot_read_the_data() {
    use std::os::unix::fs::PermissionsExt as _;
    let shop = Shop::open(Shape::Embedded).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&shop.place.data), 0o700);
    let files = std::fs::read_dir(&shop.place.data).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let expected = if file.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&file), expected, "{}", file.display());
    }
}
