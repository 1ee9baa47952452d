//! The operator's API of a system whose services run in several processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;
use wingbeat::http::Problem;
use wingbeat::run::Host;
use wingbeat::run::ops::{
    Answer, Asked, FanOut, Operator, Processes, operator_routes, story_routes,
};
use wingbeat::test::Model;
use wingbeat::{
    App, BoxFuture, CorrelationId, Event, JsonSchema, Ports, Service, TokioRuntime, run_unit,
    schemars,
};

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.product_retired", version = 1, key = sku)]
struct ProductRetired {
    sku: String,
}

/// Other processes: the answers of the replicas of each service. `None` is a replica that does not
/// answer.
#[derive(Default)]
struct Others(BTreeMap<&'static str, Vec<Option<Answer>>>);

impl Others {
    fn with(mut self, service: &'static str, replicas: &[&Option<Answer>]) -> Self {
        self.0
            .insert(service, replicas.iter().copied().cloned().collect());
        self
    }
}

impl Processes for Others {
    fn services(&self) -> Vec<&str> {
        self.0.keys().copied().collect()
    }

    fn ask<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Answer, Problem>> {
        Box::pin(async move {
            let answers = self.ask_replicas(service, request).await?;
            let away = || Problem::new(503, "service_unavailable", service);
            answers.into_iter().flatten().next().ok_or_else(away)
        })
    }

    fn ask_replicas<'a>(
        &'a self,
        service: &'a str,
        _: &'a Asked,
    ) -> BoxFuture<'a, Result<Vec<Option<Answer>>, Problem>> {
        let answers = self.0.get(service).cloned();
        Box::pin(async { answers.ok_or_else(Problem::not_found) })
    }
}

fn answer(status: u16, body: &Value) -> Option<Answer> {
    let status = StatusCode::from_u16(status).expect("a status");
    Some((status, body.to_string().into()))
}

/// Starts a process that runs the catalog, or no service.
async fn process(runs: bool) -> Arc<Host> {
    let runtime = TokioRuntime::new();
    let model = Model::new(runtime.clone());
    let ports = Ports {
        runtime: runtime.clone(),
        store: model.store.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: wingbeat::call::HyperClient::new(),
    };
    let system = Arc::new(|| App::new().service(Service::new("catalog")));
    let host = Host::start(runtime, ports, system, move |_| runs).await;
    host.expect("it starts")
}

/// Sends a request of the operator to the routes for all processes, nested below `/admin`.
async fn ask(
    others: Others,
    host: &Arc<Host>,
    (method, path): (Method, &str),
) -> (StatusCode, Value) {
    let all = FanOut::new(Arc::new(others), Arc::clone(host));
    send(Router::new().nest("/admin", all.routes()), method, path).await
}

async fn send(routes: Router, method: Method, path: &str) -> (StatusCode, Value) {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    request.extensions_mut().insert(Operator("a test".into()));
    let Ok(response) = routes.oneshot(request).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await;
    let body = serde_json::from_slice(&body.expect("a body"));
    (status, body.unwrap_or_default())
}

#[tokio::test]
async fn every_route_of_the_operator_has_one_for_all_processes() {
    let host = process(true).await;
    let (_, operations) = operator_routes().into_parts();
    let mut asked = 0;
    for operation in operations {
        let path = operation.path.replace("{id}", &Uuid::nil().to_string());
        let path = format!("/admin{}", path.replace(['{', '}'], ""));
        let method = operation.method;
        let all = FanOut::new(Arc::new(Others::default()), Arc::clone(&host));
        let routes = Router::new()
            .nest("/admin", all.routes())
            .fallback(async || StatusCode::IM_A_TEAPOT);
        let (status, _) = send(routes, method.clone(), &path).await;
        let missing = [StatusCode::IM_A_TEAPOT, StatusCode::METHOD_NOT_ALLOWED];
        assert!(!missing.contains(&status), "{method} {path}: {status}");
        asked += 1;
    }
    assert!(asked > 12, "{asked}");
}

#[tokio::test]
async fn a_request_without_an_operator_is_refused() {
    let all = FanOut::new(Arc::new(Others::default()), process(true).await);
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = "/breakers".parse().expect("a path");
    let Ok(response) = all.routes().oneshot(request).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_list_names_each_service_of_which_a_replica_did_not_answer() {
    let host = process(true).await;
    let alive = answer(200, &json!({"items": []}));
    let failing = answer(503, &json!({}));
    for (replicas, away) in [
        (vec![&alive], Value::Null),
        (vec![&alive, &alive], Value::Null),
        (vec![&alive, &None], json!(["orders"])),
        (vec![&failing, &alive], json!(["orders"])),
        (vec![&None, &None], json!(["orders"])),
    ] {
        for list in [
            "breakers",
            "overload",
            "rebuilds",
            "replays",
            "schedules",
            "subscriptions",
            "unroutable",
        ] {
            let others = Others::default().with("orders", &replicas);
            let path = format!("/admin/{list}");
            let (_, body) = ask(others, &host, (Method::GET, &path)).await;
            assert!(body["items"].is_array(), "{body}");
            assert_eq!(body["away"], away, "{list} of {replicas:?}");
        }
    }
}

#[tokio::test]
async fn the_schedules_of_all_services_and_replicas_are_one_list() {
    let host = process(true).await;
    let schedule = |service: &str, name: &str, last: &str| {
        let last = match last {
            "" => Value::Null,
            at => json!({"planned": at, "at": at, "error": null}),
        };
        json!({
            "service": service, "name": name, "times": "every 60s", "state": "running",
            "next": null, "last": last,
        })
    };
    let list = |items: &[&Value]| answer(200, &json!({ "items": items }));
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
    let clean = |last| schedule("orders", "clean", last);
    let (report, sweep) = (
        schedule("orders", "report", ""),
        schedule("payments", "sweep", ""),
    );
    // A process with several services reports the schedules of all of them.
    let one = list(&[&clean(early), &sweep]);
    let other = list(&[&clean(late), &report]);
    let others = Others::default()
        .with("orders", &[&one, &other])
        .with("payments", &[&list(&[&sweep])]);
    let (status, body) = ask(others, &host, (Method::GET, "/admin/schedules")).await;
    assert_eq!((status, &body["away"]), (StatusCode::OK, &Value::Null));
    let mut items = body["items"].as_array().expect("items").clone();
    items.sort_by_key(|it| it["name"].to_string());
    assert_eq!(items, [clean("2026-01-01T00:01:00.000000Z"), report, sweep]);
}

#[tokio::test]
async fn a_schedule_is_paused_if_one_replica_has_paused_it() {
    let host = process(true).await;
    let done = answer(202, &json!({}));
    let unknown = answer(404, &json!({}));
    let failing = answer(500, &json!({}));
    // The answers for a schedule, and for a subscription, which every replica must pause.
    for (replicas, of_schedule, of_subscription) in [
        ([&done, &done], 202, 202),
        ([&done, &unknown], 202, 404),
        ([&None, &done], 202, 503),
        ([&failing, &done], 202, 500),
        ([&failing, &unknown], 500, 500),
        ([&None, &unknown], 503, 404),
        ([&None, &None], 503, 503),
        ([&unknown, &unknown], 404, 404),
    ] {
        for (kind, expected) in [
            ("schedules", of_schedule),
            ("subscriptions", of_subscription),
        ] {
            for control in ["pause", "resume"] {
                let others = Others::default().with("orders", &replicas);
                let path = format!("/admin/{kind}/orders/clean/{control}");
                let (status, body) = ask(others, &host, (Method::POST, &path)).await;
                assert_eq!(status, expected, "{kind} of {replicas:?}: {body}");
            }
        }
    }
    let path = "/admin/schedules/nowhere/clean/pause";
    let (status, _) = ask(Others::default(), &host, (Method::POST, path)).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "there is no such service");
}

#[tokio::test]
async fn a_dead_letter_is_found_in_the_process_that_has_it() {
    let host = process(true).await;
    let letter = answer(200, &json!({"id": Uuid::nil()}));
    let unknown = answer(404, &json!({}));
    let path = format!("/admin/dead-letters/{}", Uuid::nil());
    for (orders, payments, expected) in [
        (&unknown, &letter, 200),
        (&None, &letter, 200),
        (&unknown, &unknown, 404),
        (&None, &unknown, 503), // Orders may have it.
    ] {
        let others = Others::default()
            .with("orders", &[orders])
            .with("payments", &[payments]);
        let (status, body) = ask(others, &host, (Method::GET, &path)).await;
        assert_eq!(status, expected, "{orders:?}, {payments:?}: {body}");
    }
}

/// Another process, which runs the catalog.
struct Catalog(Router);

impl Processes for Catalog {
    fn services(&self) -> Vec<&str> {
        vec!["catalog", "orders"]
    }

    fn ask<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Answer, Problem>> {
        Box::pin(async move {
            if service != "catalog" {
                return Err(Problem::new(503, "service_unavailable", service));
            }
            let (method, path) = (request.method.clone(), request.path.as_str());
            let (status, body) = send(self.0.clone(), method, path).await;
            Ok((status, body.to_string().into()))
        })
    }

    fn ask_replicas<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Vec<Option<Answer>>, Problem>> {
        Box::pin(async move { Ok(vec![self.ask(service, request).await.ok()]) })
    }
}

#[tokio::test]
async fn a_timeline_has_the_steps_of_this_process_and_of_the_others() {
    let host = process(true).await;
    let catalog = host.service("catalog").expect("it runs");
    let id = Uuid::from_u128(7);
    let retired = run_unit(&catalog, |scope| async move {
        scope.correlate(id)?;
        let sku = "TEA-1".to_owned();
        scope.publish(&ProductRetired { sku })
    });
    retired.await.expect("it is committed");

    let nobody: &[&Option<Answer>] = &[&None];
    let others = Others::default()
        .with("catalog", nobody)
        .with("orders", nobody);
    let here = FanOut::new(Arc::new(others), Arc::clone(&host));
    let elsewhere = FanOut::new(Arc::new(Catalog(story_routes(host))), process(false).await);
    for all in [here, elsewhere] {
        let timeline = all.story(CorrelationId(id)).await;
        let names: Vec<_> = timeline.items.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["catalog.product_retired.v1"]);
        assert_eq!(timeline.away, ["orders"]);
    }
}

#[tokio::test]
async fn other_processes_are_asked_at_the_same_path_with_the_callers_headers() {
    /// Answers with the request itself.
    struct Echo;

    impl Processes for Echo {
        fn services(&self) -> Vec<&str> {
            vec!["orders"]
        }

        fn ask<'a>(
            &'a self,
            _: &'a str,
            request: &'a Asked,
        ) -> BoxFuture<'a, Result<Answer, Problem>> {
            let caller: Vec<&str> = names(&request.headers);
            let body = json!({"path": request.path, "caller": caller});
            Box::pin(async move { Ok((StatusCode::OK, body.to_string().into())) })
        }

        fn ask_replicas<'a>(
            &'a self,
            service: &'a str,
            request: &'a Asked,
        ) -> BoxFuture<'a, Result<Vec<Option<Answer>>, Problem>> {
            Box::pin(async move { Ok(vec![self.ask(service, request).await.ok()]) })
        }
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(|name| name.as_str()).collect()
    }

    let all = FanOut::new(Arc::new(Echo), process(false).await);
    let routes = Router::new().nest("/api/admin", all.routes());
    let path = format!("/api/admin/dead-letters/{}", Uuid::nil());
    let mut request = Request::get(&path).header("cookie", "session=1");
    let extensions = request.extensions_mut().expect("the parts are valid");
    extensions.insert(Operator("a test".into()));
    let request = request.body(Body::empty()).expect("a request");
    let Ok(response) = routes.oneshot(request).await;
    let body = to_bytes(response.into_body(), 1 << 20).await;
    let body: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
    assert_eq!(body, json!({"path": path, "caller": ["cookie"]}));
}
