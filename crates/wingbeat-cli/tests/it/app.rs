//! An app that runs here, with its operator's API on a port, and the program that asks it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use wingbeat::call::Http;
use wingbeat::contracts::Contracts;
use wingbeat::describe::Info;
use wingbeat::http::serve;
use wingbeat::outgoing::Request;
use wingbeat::overload::{Overload, Watermarks};
use wingbeat::prelude::*;
use wingbeat::run::ops::{Operator, operator};
use wingbeat::run::{Backends, Host, Readiness, health};
use wingbeat::tls::TlsFiles;
use wingbeat::{Rate, Recording, Stored, TargetPolicy, TokioRuntime, run_unit};

use crate::faulty::Faults;

/// The longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = book)]
pub(crate) struct BookLent {
    pub(crate) book: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_due", version = 1, key = book)]
struct BookDue {
    book: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.insured", version = 1, key = book)]
struct Insured {
    book: String,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Loan;

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Lent(BookLent),
    #[saga(timer)]
    Due(BookDue),
}

impl Saga for Loan {
    const NAME: &'static str = "loan";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Lent(BookLent { book }) => {
                effects.after(Duration::from_secs(3600), &BookDue { book })
            }
            Input::Due(_) => effects.end(),
        };
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

/// A call to an insurer that does not answer.
#[derive(Call, Serialize, Deserialize, JsonSchema)]
#[call(name = "library.insure", target = "insurer", key = book, outcome = Insured)]
struct Insure {
    book: String,
}

impl GaveUp<Insure> for Insured {
    fn gave_up(call: &Insure, _: &Error) -> Self {
        let book = call.book.clone();
        Insured { book }
    }
}

async fn insure(call: Insure, http: Http) -> Result<Insured> {
    let request = Request {
        method: "POST",
        url: "http://127.0.0.1:1/".into(),
        headers: Vec::new(),
        body: wingbeat::bytes::Bytes::new(),
        timeout: http.policy.timeout,
    };
    http.client.send(request).await?;
    let book = call.book;
    Ok(Insured { book })
}

async fn lent(event: BookLent) -> Result<Option<Insure>> {
    let book = event.book;
    Ok(book.starts_with("Precious").then_some(Insure { book }))
}

/// Gates of handlers.
#[derive(Clone, Default, wingbeat::Parts)]
struct Shelf {
    /// While it is set, no book is counted.
    stuck: Arc<AtomicBool>,
}

async fn count(loan: BookLent, State(stuck): State<Arc<AtomicBool>>) -> Result<()> {
    while stuck.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if loan.book == "Lost" {
        return Err(Error::reject("lost", "a lost book cannot be counted"));
    }
    Ok(())
}

async fn remind(_: BookLent) -> Result<()> {
    Ok(())
}

async fn report(_: Meta) -> Result<()> {
    Ok(())
}

fn system(stuck: Arc<AtomicBool>, faults: &Arc<Faults>) -> App {
    let policy = TargetPolicy {
        breaker_failures: 2,
        breaker_open: Duration::from_secs(600),
        ..TargetPolicy::default()
    };
    let library = Service::new("library")
        .on(lent.named("insurance"))
        .calls(insure)
        .target("insurer", policy)
        .saga::<Loan>()
        .stores(Stored::saga::<Loan>())
        .stores(Stored::call::<Insure>())
        .every("report", Duration::from_secs(3600), report);
    let statistics = Service::new("statistics").with_state(Shelf { stuck });
    let statistics = statistics.on(count.named("count").concurrency(1));
    let rate = Rate {
        starts: 1,
        per: Duration::from_secs(60),
    };
    let mail = Service::new("mail").on(remind.named("remind").at_most(rate));
    let overload = Overload::new(Watermarks::default(), Arc::clone(faults) as _);
    let app = App::new()
        .service(library)
        .service(statistics)
        .service(mail);
    app.shedding(overload).recording(Recording::all())
}

/// A process of the app.
pub(crate) struct Running {
    host: Arc<Host>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) readiness: Readiness,
    pub(crate) url: String,
    stuck: Arc<AtomicBool>,
    _directory: TempDir,
}

impl Running {
    /// Starts all services.
    pub(crate) async fn start() -> Self {
        Self::start_only(|_| true).await
    }

    /// Starts some of the services.
    pub(crate) async fn start_only(wanted: fn(&str) -> bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
        let opened = Backends::open(None, directory.path(), "library", &tls, &runtime).await;
        let faults = Arc::new(Faults::default());
        let ports = faults.around(&opened.expect("the directory opens").ports);
        let stuck = Arc::new(AtomicBool::new(false));
        let of_system = (Arc::clone(&stuck), Arc::clone(&faults));
        let system = Arc::new(move || system(Arc::clone(&of_system.0), &of_system.1));
        let host = Host::start(runtime, ports, system, wanted).await;
        let host = host.expect("it starts");
        let readiness = Readiness::default();
        readiness.open();
        let operator = operator(Arc::clone(&host)).layer(Extension(Operator("test".into())));
        let routes = Router::new().nest("/ops", operator);
        let routes = routes.merge(health(readiness.clone()));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = tokio::net::TcpListener::bind(any).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(serve(listener, routes, std::future::pending()));
        Self {
            host,
            faults,
            readiness,
            url,
            stuck,
            _directory: directory,
        }
    }

    /// Publishes that books were lent.
    pub(crate) async fn lend(&self, books: impl IntoIterator<Item = String>) {
        let service = self.host.service("library").expect("it runs");
        let books: Vec<BookLent> = books.into_iter().map(|book| BookLent { book }).collect();
        let published = run_unit(&service, move |scope| {
            let books = books.clone();
            async move { books.iter().try_for_each(|book| scope.publish(book)) }
        });
        published.await.expect("it commits");
    }

    /// Keeps books from being counted, or lets them be counted.
    pub(crate) fn stick(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::SeqCst);
    }

    /// Returns the contracts of the app.
    pub(crate) fn contracts(&self) -> Contracts {
        Contracts::of(self.host.description(), &Info::new("library", "1"))
    }

    /// Runs the program against this process. Returns its exit code and its output.
    pub(crate) async fn wingbeat(&self, arguments: &[&str]) -> (i32, String) {
        wingbeat(&self.url, arguments).await
    }

    /// Returns the JSON that the program prints, and its exit code.
    pub(crate) async fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.wingbeat(&[arguments, &["--json"]].concat()).await;
        let json = serde_json::from_str(&text);
        (code, json.unwrap_or_else(|why| panic!("{why}: {text}")))
    }

    /// Returns the codes of the findings of `doctor`, and its exit code.
    pub(crate) async fn doctor(&self) -> (i32, Vec<String>) {
        let (code, report) = self.json(&["doctor", "--interval", "0.05"]).await;
        let findings = report["findings"].as_array().expect("a list").iter();
        let codes = findings.map(|it| it["code"].as_str().expect("a code").to_owned());
        (code, codes.collect())
    }

    /// Asks `doctor` until it names these faults and no other.
    pub(crate) async fn until(&self, expected: &[&str]) {
        let begun = Instant::now();
        loop {
            let (code, found) = self.doctor().await;
            if found == expected {
                assert_eq!(code, i32::from(!expected.is_empty()));
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{found:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Runs the program against a process. Returns its exit code and its output, with stderr.
pub(crate) async fn wingbeat(url: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wingbeat"));
    command.args(arguments).env("WINGBEAT_OPS_URL", url);
    command.env_remove("WINGBEAT_OPS_TOKEN");
    let done = tokio::task::spawn_blocking(move || command.output());
    let output = done.await.expect("no panic").expect("it runs");
    let code = output.status.code().expect("no signal");
    let text = [output.stdout, output.stderr].concat();
    (code, String::from_utf8(text).expect("UTF-8"))
}
