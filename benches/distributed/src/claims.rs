//! Claims on a flash sale of 100 units by a crowd: raw calls of the script, the cache's port, and
//! the HTTP route with its session; on Redis and in memory.
//!
//! All of them keep the same number of requests in flight and decide by the same rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use shop_inventory::Config;
use tower::ServiceExt as _;
use wingbeat::cache::{Claim, Count, Terms};
use wingbeat::call::HyperClient;
use wingbeat::http::session::{Sessions, identify};
use wingbeat::ports::Cache;
use wingbeat::{App, Ports, Runtime as _, RuntimeExt as _, TokioRuntime, Uuid};
use wingbeat_embedded::{Embedded, EmbeddedCache};
use wingbeat_redis::Redis;

use crate::options::Options;
use crate::table::Table;

const WHAT: &str = "claims decided";
const UNITS: u64 = 100;
/// The users, each of whom may have one unit.
const USERS: usize = 2_000;
/// Requests in flight.
const IN_FLIGHT: usize = 128;
/// The goal: the part of the raw calls that the route reaches on Redis.
const GOAL: f64 = 0.5;

/// Measures claims.
pub(crate) async fn run(options: Options, table: &mut Table) {
    println!("{WHAT}");
    let server = wingbeat_servers::Redis::start();
    let runtime = TokioRuntime::new();
    for round in 0..options.runs {
        let load = options.load();
        let mut config = wingbeat_redis::Config::new(server.url());
        config.namespace = format!("bench{round}:");
        let redis = Redis::connect(&config, runtime.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let memory = EmbeddedCache::open(folder.path(), runtime.clone()).unwrap();
        let raw = raw(&server.url(), &redis, &config.namespace, load).await;
        table.add(WHAT, "raw EVALSHA", "/s", raw);
        table.add(WHAT, "port on Redis", "/s", port(redis.clone(), load).await);
        table.add(
            WHAT,
            "port in memory",
            "/s",
            port(memory.clone(), load).await,
        );
        table.add(WHAT, "route on Redis", "/s", route(redis, load).await);
        table.add(WHAT, "route in memory", "/s", route(memory, load).await);
    }
    let of = |who| table.median(WHAT, who, "/s").unwrap_or_default();
    let raw = of("raw EVALSHA");
    let goals = ["port on Redis", "route on Redis", "route in memory"].map(|who| (who, of(who)));
    for (who, reached) in goals {
        let ratio = reached / raw;
        let goal = format!("{who}: at least {GOAL} of raw EVALSHA");
        table.goal(goal, format!("{ratio:.2}"), ratio >= GOAL);
    }
}

/// Repeats a request with [`IN_FLIGHT`] tasks until the time is over, and returns the rate.
async fn repeat<F>(load: Duration, request: impl Fn(usize) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let (done, next) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let start = Instant::now();
    let tasks = (0..IN_FLIGHT).map(|_| {
        let (request, done, next) = (request.clone(), Arc::clone(&done), Arc::clone(&next));
        tokio::spawn(async move {
            while start.elapsed() < load {
                request(next.fetch_add(1, Ordering::Relaxed)).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

/// Opens an allotment of [`UNITS`] units, one for each holder.
async fn allot(cache: &dyn Cache, key: &str) {
    let now = TokioRuntime::new().now();
    let hour = Duration::from_secs(3600);
    let terms = Terms {
        opens_at: now,
        closes_at: now + hour,
        per_holder: 1,
        log_max: 10_000,
    };
    let count = Count {
        revision: 1,
        free: UNITS,
        holders: Vec::new(),
    };
    let allotments = cache.allotments().unwrap();
    allotments.allot(key, terms, count, hour).await.unwrap();
}

fn holder(number: usize) -> String {
    Uuid::from_u128((number % USERS) as u128).to_string()
}

/// Sends the script itself, as fast as a client can.
async fn raw(url: &str, redis: &Redis, namespace: &str, load: Duration) -> f64 {
    allot(redis, "raw").await;
    let client = redis::Client::open(url).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let script = redis::Script::new(wingbeat_redis::CLAIM);
    let mut loading: MultiplexedConnection = connection.clone();
    script
        .prepare_invoke()
        .load_async(&mut loading)
        .await
        .unwrap();
    let hash = script.get_hash().to_owned();
    let keys = [format!("{namespace}raw"), format!("{namespace}raw:log")];
    let runtime = TokioRuntime::new();
    repeat(load, move |number| {
        let mut connection = connection.clone();
        let mut claim = redis::cmd("EVALSHA");
        claim.arg(&hash).arg(2).arg(&keys);
        claim
            .arg(runtime.now().as_millis())
            .arg(holder(number))
            .arg(runtime.id().to_string());
        async move {
            let reply: Vec<String> = claim.query_async(&mut connection).await.unwrap();
            assert!(!reply.is_empty());
        }
    })
    .await
}

/// Claims through the cache's port.
async fn port<C: Cache>(cache: Arc<C>, load: Duration) -> f64 {
    allot(&*cache, "port").await;
    let runtime = TokioRuntime::new();
    repeat(load, move |number| {
        let (cache, id) = (Arc::clone(&cache), runtime.id().to_string());
        async move {
            let claim = Claim {
                holder: holder(number),
                id,
                operation: None,
            };
            cache
                .allotments()
                .unwrap()
                .claim("port", claim)
                .await
                .unwrap();
        }
    })
    .await
}

/// Claims through the HTTP route of inventory, without a socket. Meanwhile the service confirms the
/// claims in its store.
async fn route<C: Cache>(cache: Arc<C>, load: Duration) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&wingbeat_embedded::Config::new(folder.path())).unwrap();
    let sessions = Sessions::new(cache.clone(), runtime.clone());
    let config = Config {
        rate_limits: false,
        ..Config::default()
    };
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded,
        cache,
        http: HyperClient::new(),
    };
    let app = App::new().service(shop_inventory::service(&config));
    let running = app.allow_unknown_owners().start(ports).await.unwrap();
    let routes = running.routes();
    let routes = routes.layer(from_fn_with_state(sessions.clone(), identify));
    let (admin, _) = sessions.start(runtime.id(), true).await.unwrap();
    let stock = json!({"delta": UNITS, "reason": "benchmark"});
    ask(&routes, "/api/v1/admin/stock/BENCH", &admin, &stock).await;
    let now = runtime.now();
    let sale = json!({
        "sku": "BENCH", "price": {"amount_minor": 1, "currency": "EUR"}, "allocation": UNITS,
        "opens_at": now, "closes_at": now + Duration::from_secs(3600),
    });
    let sale = ask(&routes, "/api/v1/admin/flash-sales", &admin, &sale).await;
    let path = format!(
        "/api/v1/flash-sales/{}/claims",
        sale["id"].as_str().unwrap()
    );
    let mut tokens = Vec::with_capacity(USERS);
    for _ in 0..USERS {
        tokens.push(sessions.start(runtime.id(), false).await.unwrap().0);
    }
    let (tokens, path) = (Arc::new(tokens), Arc::new(path));
    let rate = repeat(load, move |number| {
        let (routes, path, tokens) = (routes.clone(), Arc::clone(&path), Arc::clone(&tokens));
        async move {
            let request = request(&path, &tokens[number % USERS], Body::empty());
            let response = routes.oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            assert!(matches!(status, 202 | 409), "{status}");
        }
    })
    .await;
    running.drain().await;
    rate
}

fn request(path: &str, token: &str, body: Body) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

async fn ask(routes: &Router, path: &str, token: &str, body: &Value) -> Value {
    let request = request(path, token, Body::from(body.to_string()));
    let response = routes.clone().oneshot(request).await.unwrap();
    assert!(
        response.status().is_success(),
        "{path}: {}",
        response.status()
    );
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await;
    serde_json::from_slice(&body.unwrap()).unwrap()
}
