use shop_contracts::catalog::ProductRetired;
use shop_gateway::{Limits, Upstream};
use wingbeat::Runtime as _;
use wingbeat::http::session::Sessions;
use wingbeat::test::Model;
use wingbeat::{App, Ports, Service, TokioRuntime, run_unit};

use super::*;

/// Starts a process that runs the catalog.
async fn process(runtime: &Arc<TokioRuntime>, model: &Model) -> Arc<Host> {
    let ports = Ports {
        runtime: runtime.clone(),
        store: model.store.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: wingbeat::call::HyperClient::new(),
    };
    let system = Arc::new(|| App::new().service(Service::new("catalog")));
    let host = Host::start(runtime.clone(), ports, system, |_| true).await;
    host.expect("it starts")
}

/// Starts a replica that answers all requests alike, and returns its URL.
async fn replica(status: StatusCode, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let routes = Router::new().fallback(move || async move { (status, body) });
    let serving = wingbeat::http::serve(listener, routes, std::future::pending());
    TokioRuntime::new().spawn(Box::pin(serving));
    format!("http://{address}")
}

#[tokio::test]
async fn a_list_names_each_service_of_which_a_replica_did_not_answer() {
    let runtime = TokioRuntime::new();
    let model = Model::new(runtime.clone());
    let host = process(&runtime, &model).await;
    let sessions = Sessions::new(model.cache.clone(), runtime.clone());
    let (_, admin) = sessions.start(Uuid::nil(), true).await.expect("it starts");
    let alive = replica(StatusCode::OK, r#"{"items":[]}"#).await;
    let failing = replica(StatusCode::SERVICE_UNAVAILABLE, "{}").await;
    let nowhere = "http://127.0.0.1:1".to_owned();
    for (replicas, away) in [
        (vec![&alive], Value::Null),
        (vec![&alive, &alive], Value::Null),
        (vec![&alive, &nowhere], serde_json::json!(["orders"])),
        (vec![&failing, &alive], serde_json::json!(["orders"])),
        (vec![&nowhere, &nowhere], serde_json::json!(["orders"])),
    ] {
        let urls: Vec<&str> = replicas.iter().map(|url| url.as_str()).collect();
        let urls = urls.join(",");
        let upstream = Upstream::new("orders", &urls, &Limits::default(), runtime.now());
        let proxy = Arc::new(Proxy::new(vec![upstream], runtime.clone()));
        for list in [
            "breakers",
            "unroutable",
            "subscriptions",
            "schedules",
            "replays",
            "rebuilds",
        ] {
            let path = format!("/api/v1/admin/{list}");
            let (_, body) = ask(&proxy, &host, &admin, (Method::GET, &path)).await;
            assert!(body["items"].is_array(), "{body}");
            assert_eq!(body["away"], away, "{list} of {urls}");
        }
    }
}

/// Sends a request of the administrator to the routes of a gateway.
async fn ask(
    proxy: &Arc<Proxy>,
    host: &Arc<Host>,
    admin: &Session,
    (method, path): (Method, &str),
) -> (StatusCode, Value) {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    let caller = SessionState::SignedIn(admin.clone());
    request.extensions_mut().insert(caller);
    let routes = routes(Arc::clone(proxy), Arc::clone(host));
    let Ok(response) = routes.oneshot(request).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await;
    let body = serde_json::from_slice(&body.expect("a body"));
    (status, body.unwrap_or_default())
}

#[tokio::test]
async fn the_schedules_of_all_services_and_replicas_are_one_list() {
    let runtime = TokioRuntime::new();
    let model = Model::new(runtime.clone());
    let host = process(&runtime, &model).await;
    let sessions = Sessions::new(model.cache.clone(), runtime.clone());
    let (_, admin) = sessions.start(Uuid::nil(), true).await.expect("it starts");
    let schedule = |service: &str, name: &str, last: &str| {
        let last = match last {
            "" => Value::Null,
            at => serde_json::json!({"planned": at, "at": at, "error": null}),
        };
        serde_json::json!({
            "service": service, "name": name, "times": "every 60s", "state": "running",
            "next": null, "last": last,
        })
    };
    let list = |items: &[&Value]| -> &'static str {
        let body = serde_json::json!({ "items": items }).to_string();
        Box::leak(body.into_boxed_str())
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
    let clean = |last| schedule("orders", "clean", last);
    let (report, sweep) = (
        schedule("orders", "report", ""),
        schedule("payments", "sweep", ""),
    );
    // A process with several services reports the schedules of all of them.
    let one = replica(StatusCode::OK, list(&[&clean(early), &sweep])).await;
    let other = replica(StatusCode::OK, list(&[&clean(late), &report])).await;
    let payments = replica(StatusCode::OK, list(&[&sweep])).await;
    let limits = Limits::default();
    let upstreams = [
        ("orders", format!("{one},{other}")),
        ("payments", payments.clone()),
    ];
    let upstreams = upstreams.map(|(of, urls)| Upstream::new(of, &urls, &limits, runtime.now()));
    let proxy = Arc::new(Proxy::new(upstreams.into(), runtime.clone()));
    let path = "/api/v1/admin/schedules";
    let (status, body) = ask(&proxy, &host, &admin, (Method::GET, path)).await;
    assert_eq!((status, &body["away"]), (StatusCode::OK, &Value::Null));
    let mut items = body["items"].as_array().expect("items").clone();
    items.sort_by_key(|it| it["name"].to_string());
    assert_eq!(items, [clean("2026-01-01T00:01:00.000000Z"), report, sweep]);
}

#[tokio::test]
async fn a_schedule_is_paused_if_one_replica_has_paused_it() {
    let runtime = TokioRuntime::new();
    let model = Model::new(runtime.clone());
    let host = process(&runtime, &model).await;
    let sessions = Sessions::new(model.cache.clone(), runtime.clone());
    let (_, admin) = sessions.start(Uuid::nil(), true).await.expect("it starts");
    let done = replica(StatusCode::ACCEPTED, "{}").await;
    let unknown = replica(StatusCode::NOT_FOUND, "{}").await;
    let failing = replica(StatusCode::INTERNAL_SERVER_ERROR, "{}").await;
    let nowhere = "http://127.0.0.1:1".to_owned();
    // The answers for a schedule, and for a subscription, which every replica must pause.
    for (replicas, of_schedule, of_subscription) in [
        ([&done, &done], 202, 202),
        ([&done, &unknown], 202, 404),
        ([&nowhere, &done], 202, 503),
        ([&failing, &done], 202, 500),
        ([&failing, &unknown], 500, 0), // Either answer says that it failed.
        ([&nowhere, &unknown], 503, 404),
        ([&nowhere, &nowhere], 503, 503),
        ([&unknown, &unknown], 404, 404),
    ] {
        let urls = replicas.map(String::as_str).join(",");
        let upstream = Upstream::new("orders", &urls, &Limits::default(), runtime.now());
        let proxy = Arc::new(Proxy::new(vec![upstream], runtime.clone()));
        for (kind, expected) in [
            ("schedules", of_schedule),
            ("subscriptions", of_subscription),
        ] {
            for control in ["pause", "resume"] {
                let path = format!("/api/v1/admin/{kind}/orders/clean/{control}");
                let asked = ask(&proxy, &host, &admin, (Method::POST, &path));
                let (status, body) = asked.await;
                let is_expected = match expected {
                    0 => status == 404 || status == 500,
                    expected => status == expected,
                };
                assert!(is_expected, "{kind} of {urls}: {status} {body}");
            }
        }
        let path = "/api/v1/admin/schedules/nowhere/clean/pause";
        let (status, _) = ask(&proxy, &host, &admin, (Method::POST, path)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "there is no such service");
    }
}

#[tokio::test]
async fn a_timeline_includes_the_services_that_run_beside_the_gateway() {
    let runtime = TokioRuntime::new();
    let model = Model::new(runtime.clone());
    let host = process(&runtime, &model).await;
    let catalog = host.service("catalog").expect("it runs");
    let id = Uuid::from_u128(7);
    let retired = run_unit(&catalog, |scope| async move {
        scope.correlate(id)?;
        let sku = "TEA-1".parse().expect("a SKU");
        scope.publish(&ProductRetired { sku, version: 1 })
    });
    retired.await.expect("it is committed");

    let nowhere = "http://127.0.0.1:1";
    let upstream = |service| Upstream::new(service, nowhere, &Limits::default(), runtime.now());
    let upstreams = ["catalog", "orders"].map(upstream).into();
    let proxy = Arc::new(Proxy::new(upstreams, runtime.clone()));
    let here = Here::new(host);
    let timeline = gather(&System { proxy, here }, id).await;
    let names: Vec<_> = timeline.items.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["catalog.product_retired.v1"]);
    assert_eq!(timeline.away, ["orders"]);
}
