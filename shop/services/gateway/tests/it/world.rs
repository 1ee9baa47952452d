//! Scripted services behind the gateway, and a clock that tests advance.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use wingbeat::TokioRuntime;
use wingbeat::http::{Problem, serve};
use wingbeat::{Runtime, RuntimeExt as _, Timestamp};

/// The time after which a future counts as hanging.
const HANGS: Duration = Duration::from_secs(10);

/// The real runtime with a wall clock that the test advances.
pub(crate) struct Watch {
    machine: Arc<TokioRuntime>,
    millis: AtomicI64,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            machine: TokioRuntime::new(),
            millis: AtomicI64::new(1_800_000_000_000),
        })
    }

    pub(crate) fn advance(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("a short time");
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Awaits a future and panics if it hangs.
    pub(crate) async fn soon<F: Future + Send>(&self, future: F) -> F::Output {
        let output = self.machine.timeout(HANGS, future).await;
        output.expect("it does not hang")
    }
}

impl Runtime for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        self.machine.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.machine.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.machine.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.machine.spawn_blocking(work);
    }

    fn random(&self) -> u64 {
        self.machine.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.machine.fill_secret(bytes);
    }
}

/// A service on a port of its own:
///
/// - `/held` replies when the test releases it; `/cut…` closes the connection without a reply.
/// - `/api/v1/stream` streams the test's chunks; `/hop` replies with hop-by-hop headers.
/// - `/shed` refuses because of overload.
/// - `/bye` replies and closes the connection, and `/refused` too, with 400; all other paths reply
///   at once.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    state: Arc<Script>,
}

struct Script {
    asked: AtomicUsize,
    arrived: Semaphore,
    released: Semaphore,
    chunks: Mutex<Option<mpsc::UnboundedReceiver<&'static str>>>,
    say: mpsc::UnboundedSender<&'static str>,
}

impl Service {
    pub(crate) async fn start(watch: &Watch) -> Self {
        let (say, chunks) = mpsc::unbounded_channel();
        let state = Arc::new(Script {
            asked: AtomicUsize::new(0),
            arrived: Semaphore::new(0),
            released: Semaphore::new(0),
            chunks: Mutex::new(Some(chunks)),
            say,
        });
        let routes = Router::new()
            .route("/held", any(held))
            .route("/api/v1/stream", any(stream))
            .route("/hop", any(hop))
            .route("/bye", any(|| async { [("connection", "close")] }))
            .route(
                "/refused",
                any(|| async { (StatusCode::BAD_REQUEST, [("connection", "close")]) }),
            )
            .route("/cut/{name}", any(cut))
            .route("/shed", any(shed))
            .fallback(plain)
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        watch.spawn(Box::pin(serve(listener, routes, std::future::pending())));
        Self { address, state }
    }

    /// Returns the number of requests that have reached the service.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Waits until `count` more requests wait at `/held`.
    pub(crate) async fn holds(&self, count: u32) {
        let arrived = self.state.arrived.acquire_many(count).await;
        arrived.expect("it is open").forget();
    }

    /// Releases `count` requests at `/held`, now or later.
    pub(crate) fn release(&self, count: usize) {
        self.state.released.add_permits(count);
    }

    /// Sends a chunk on the stream.
    pub(crate) fn say(&self, chunk: &'static str) {
        self.state.say.send(chunk).expect("the stream is open");
    }
}

/// A replica that accepts connections and answers nothing until the test lets it.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    state: Arc<Mute>,
}

#[derive(Default)]
struct Mute {
    connections: AtomicUsize,
    answers: AtomicBool,
}

impl Silent {
    pub(crate) async fn start(watch: &Watch) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mute>::default();
        let mute = Arc::clone(&state);
        watch.spawn(Box::pin(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                mute.connections.fetch_add(1, Ordering::SeqCst);
                if mute.answers.load(Ordering::SeqCst) {
                    let mut head = [0; 1_024]; // Larger than any request of the tests.
                    while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                    }
                } else {
                    silent.push(stream);
                }
            }
        }));
        Self { address, state }
    }

    /// Returns the number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Answers the requests of the next connection.
    pub(crate) fn answer(&self) {
        self.state.answers.store(true, Ordering::SeqCst);
    }
}

async fn plain(State(script): State<Arc<Script>>) -> StatusCode {
    script.asked.fetch_add(1, Ordering::SeqCst);
    StatusCode::OK
}

async fn shed(State(script): State<Arc<Script>>) -> Problem {
    script.asked.fetch_add(1, Ordering::SeqCst);
    Problem::new(503, "overloaded", "too much work waits").retry_after(7)
}

async fn held(State(script): State<Arc<Script>>) -> StatusCode {
    script.asked.fetch_add(1, Ordering::SeqCst);
    script.arrived.add_permits(1);
    script
        .released
        .acquire()
        .await
        .expect("it is open")
        .forget();
    StatusCode::OK
}

async fn cut(State(script): State<Arc<Script>>) -> StatusCode {
    script.asked.fetch_add(1, Ordering::SeqCst);
    // Unlike `panic!`, this prints nothing.
    std::panic::resume_unwind(Box::new("the connection ends here"))
}

async fn stream(State(script): State<Arc<Script>>) -> Response {
    let chunks = script.chunks.lock().await.take().expect("one listener");
    let chunks = UnboundedReceiverStream::new(chunks);
    let chunks = chunks.map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes())));
    let kind = [("content-type", "text/event-stream")];
    (kind, Body::from_stream(chunks)).into_response()
}

/// Hop-by-hop headers: the standard ones, and one that the header `Connection` names.
pub(crate) const OF_THE_CONNECTION: [&str; 7] = [
    "keep-alive",
    "te",
    "upgrade",
    "trailer",
    "proxy-authenticate",
    "proxy-connection",
    "x-hop",
];

async fn hop() -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    for name in OF_THE_CONNECTION {
        headers.insert(HeaderName::from_static(name), "1".parse().expect("a value"));
    }
    headers.insert("connection", "x-hop".parse().expect("a value"));
    headers.insert("x-kept", "1".parse().expect("a value"));
    response
}

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.body(Body::empty()).expect("a request")
}
