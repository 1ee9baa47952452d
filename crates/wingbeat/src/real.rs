//! The real clock, randomness, tasks and HTTP: the only place that touches them.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the adapter behind the runtime's port"
)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::{Error, HttpClient, Result, Runtime, Timestamp};

/// The largest answer that is read.
const ANSWER_MAX: usize = 1 << 20;

/// Time, chance and tasks of the machine, on tokio.
pub struct TokioRuntime {
    started: Instant,
}

impl TokioRuntime {
    /// The runtime; tasks need a tokio runtime around them.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
        })
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn random(&self) -> u64 {
        fastrand::u64(..)
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}

/// Tasks that can be killed together, wherever they are: a service that can be restarted by itself.
pub struct TaskGroup {
    runtime: Arc<TokioRuntime>,
    tasks: Mutex<JoinSet<()>>,
}

impl TaskGroup {
    /// A group without tasks.
    #[must_use]
    pub fn new(runtime: Arc<TokioRuntime>) -> Arc<Self> {
        let tasks = Mutex::default();
        Arc::new(Self { runtime, tasks })
    }

    /// Drops all tasks where they stand, and waits until the last is gone.
    pub async fn kill(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for TaskGroup {
    fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    fn elapsed(&self) -> Duration {
        self.runtime.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {} // What has ended needs no place.
        tasks.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }

    fn random(&self) -> u64 {
        self.runtime.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.runtime.fill_secret(bytes);
    }
}

/// HTTP/1.1 over real sockets, with connections kept open.
pub struct HyperClient {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl HyperClient {
    /// A client with its own pool.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        Arc::new(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }
}

impl HttpClient for HyperClient {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            let mut builder = http::Request::builder()
                .method(request.method)
                .uri(&request.url);
            for (name, value) in &request.headers {
                builder = builder.header(name, value);
            }
            let outgoing = builder.body(Full::new(request.body)).map_err(|why| {
                Error::reject("bad_request", "the request cannot be built").because(why)
            })?;
            let exchange = async {
                let response = self
                    .client
                    .request(outgoing)
                    .await
                    .map_err(|why| unknown().because(why))?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), ANSWER_MAX)
                    .collect()
                    .await;
                let body = body
                    .map_err(|why| {
                        Error::retry("no_answer", format!("the answer broke off: {why}"))
                    })?
                    .to_bytes();
                Ok(Response { status, body })
            };
            tokio::time::timeout(request.timeout, exchange)
                .await
                .unwrap_or_else(|_| Err(unknown()))
        })
    }
}

fn unknown() -> Error {
    Error::retry(
        "no_answer",
        "no complete answer came: the outcome is unknown",
    )
}
