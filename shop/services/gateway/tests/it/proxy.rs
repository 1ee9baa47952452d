//! The gateway with slow, failing, draining and streaming services.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use axum::{Router, extract::Request};
use futures_util::future::{Either, join, select};
use http_body_util::BodyExt as _;
use shop_gateway::{Limits, Proxy, SERVICE, Upstream, answered, front};
use tower::ServiceExt as _;
use wingbeat::Runtime as _;
use wingbeat::describe::System;

use crate::world::{OF_THE_CONNECTION, Service, Silent, Watch, request};

const MINUTE: Duration = Duration::from_secs(60);

/// Limits that no test reaches.
fn patient() -> Limits {
    Limits {
        answer_within: MINUTE,
        ..Limits::default()
    }
}

fn proxy(watch: &Arc<Watch>, services: &[(&str, &Service)], limits: &Limits) -> Proxy {
    let upstream = |(name, service): &(&str, &Service)| {
        let url = format!("http://{}", service.address);
        Upstream::new(name, &url, limits, watch.now())
    };
    let upstreams = services.iter().map(upstream).collect();
    Proxy::new(upstreams, watch.clone())
}

/// Returns the status of a reply, and the code of its problem.
async fn outcome(reply: Response<Body>) -> (u16, String) {
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await;
    let body = body.expect("a whole body").to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk() {
    let watch = Watch::new();
    let service = Service::start(&watch).await;
    let proxy = Arc::new(proxy(&watch, &[("orders", &service)], &patient()));
    let forwarding = Router::new().fallback(move |request: Request| {
        let proxy = Arc::clone(&proxy);
        async move { proxy.forward("orders", request).await }
    });
    let gateway = front(
        answered(forwarding, SERVICE, watch.clone()),
        &System::default(),
        true,
        watch.clone(),
    );
    service.say("data: 1\n\n");
    let answer = gateway.oneshot(request("GET", "/api/v1/stream"));
    let answer = watch.soon(answer).await.expect("a router never fails");
    let mut body = answer.into_body();
    for chunk in ["data: 1\n\n", "data: 2\n\n"] {
        let frame = watch.soon(body.frame()).await;
        let frame = frame.expect("no end").expect("a chunk");
        assert_eq!(frame.into_data().expect("data"), chunk);
        service.say("data: 2\n\n"); // Sent only now, so the first chunk did not wait for it.
    }
}

#[tokio::test]
async fn hop_by_hop_headers_of_a_reply_are_not_forwarded() {
    let watch = Watch::new();
    let service = Service::start(&watch).await;
    let proxy = proxy(&watch, &[("orders", &service)], &patient());
    let asked = proxy.forward("orders", request("GET", "/hop"));
    let answer = watch.soon(asked).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-kept"], "1");
    for name in OF_THE_CONNECTION.into_iter().chain(["connection"]) {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_slow_service_does_not_slow_down_others() {
    let watch = Watch::new();
    let (slow, quick) = (Service::start(&watch).await, Service::start(&watch).await);
    let limits = Limits {
        waiting_max: 2,
        ..patient()
    };
    let proxy = proxy(&watch, &[("orders", &slow), ("carts", &quick)], &limits);
    let ask =
        async |service: &str| outcome(proxy.forward(service, request("GET", "/held")).await).await;
    let plain =
        async |service: &str| outcome(proxy.forward(service, request("GET", "/")).await).await;
    let others = async {
        slow.holds(2).await;
        let refused = proxy.forward("orders", request("GET", "/")).await;
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(outcome(refused).await, (503, "overloaded".into()));
        assert_eq!(plain("carts").await.0, 200);
        assert_eq!(slow.asked(), 2);
        slow.release(2);
    };
    let held = join(ask("orders"), ask("orders"));
    let (held, ()) = watch.soon(join(held, others)).await;
    assert_eq!((held.0.0, held.1.0), (200, 200));
    assert_eq!(
        watch.soon(plain("orders")).await.0,
        200,
        "permits are released"
    );
}

/// Returns a proxy whose breaker for the service is open.
async fn opened(watch: &Arc<Watch>, service: &Service) -> Proxy {
    let limits = Limits {
        failures_max: 3,
        open_for: MINUTE,
        ..patient()
    };
    let proxy = proxy(watch, &[("orders", service)], &limits);
    for (nth, path) in ["/cut/1", "/cut/2", "/cut/3"].into_iter().enumerate() {
        let failed = watch.soon(proxy.forward("orders", request("POST", path)));
        assert_eq!(
            outcome(failed.await).await,
            (503, "service_unavailable".into())
        );
        assert_eq!(service.asked(), nth + 1);
    }
    proxy
}

#[tokio::test]
async fn a_failing_service_gets_no_requests_until_a_probe_succeeds() {
    let watch = Watch::new();
    let service = Service::start(&watch).await;
    let proxy = opened(&watch, &service).await;
    let ask = async |method: &str, path: &str| {
        outcome(
            watch
                .soon(proxy.forward("orders", request(method, path)))
                .await,
        )
        .await
    };
    let unavailable = (503, "service_unavailable".to_owned());
    for _ in 0..5 {
        assert_eq!(ask("GET", "/").await, unavailable);
    }
    assert_eq!(service.asked(), 3, "no further requests");
    watch.advance(MINUTE);
    assert_eq!(ask("POST", "/cut/4").await, unavailable);
    assert_eq!(service.asked(), 4, "one probe");
    assert_eq!(ask("GET", "/").await, unavailable, "which failed");
    assert_eq!(service.asked(), 4);
    watch.advance(MINUTE);
    assert_eq!(ask("GET", "/").await.0, 200, "the probe succeeds");
    service.release(2);
    let (one, other) = join(ask("GET", "/held"), ask("GET", "/held")).await;
    assert_eq!((one.0, other.0), (200, 200), "the breaker is closed");
    assert_eq!(service.asked(), 7);
}

/// The breaker used to wait forever for the outcome of such a probe.
#[tokio::test]
async fn a_probe_whose_caller_disconnects_makes_way_for_the_next() {
    let watch = Watch::new();
    let service = Service::start(&watch).await;
    let proxy = opened(&watch, &service).await;
    watch.advance(MINUTE);
    let probe = proxy.forward("orders", request("GET", "/held"));
    let left = watch
        .soon(select(Box::pin(probe), Box::pin(service.holds(1))))
        .await;
    assert!(matches!(left, Either::Right(_)), "there is no reply");
    drop(left);
    let next = watch.soon(proxy.forward("orders", request("GET", "/")));
    assert_eq!(next.await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_without_a_reply_times_out() {
    let watch = Watch::new();
    // On a busy machine a short timeout can pass before the request reaches the service.
    for answer_within in [50, 500, 5_000].map(Duration::from_millis) {
        let service = Service::start(&watch).await;
        let limits = Limits {
            answer_within,
            ..Limits::default()
        };
        let proxy = proxy(&watch, &[("orders", &service)], &limits);
        let asked = watch.soon(proxy.forward("orders", request("GET", "/held")));
        assert_eq!(
            outcome(asked.await).await,
            (503, "service_unavailable".into())
        );
        match service.asked() {
            0 => {}
            asked => return assert_eq!(asked, 1, "no retry"),
        }
    }
    panic!("no request reached the service");
}

#[tokio::test]
async fn a_draining_replica_is_tried_last_for_a_while() {
    let watch = Watch::new();
    let replicas = [Service::start(&watch).await, Service::start(&watch).await];
    let urls = replicas
        .each_ref()
        .map(|it| format!("http://{}", it.address));
    let orders = Upstream::new("orders", &urls.join(","), &patient(), watch.now());
    let proxy = Proxy::new(vec![orders], watch.clone());
    let ask = async |path: &str, times: usize| {
        for _ in 0..times {
            let answer = watch
                .soon(proxy.forward("orders", request("GET", path)))
                .await;
            let refused = path == "/refused";
            assert_eq!(answer.status() == StatusCode::BAD_REQUEST, refused);
        }
        replicas.each_ref().map(Service::asked)
    };
    // A caller can provoke a refusal that closes the connection.
    assert_eq!(ask("/refused", 2).await, [0, 0]);
    assert_eq!(ask("/", 2).await, [1, 1], "no replica drains");
    watch.advance(Duration::from_secs(4));
    assert_eq!(ask("/bye", 1).await, [1, 1], "the first replica drains");
    assert_eq!(ask("/", 4).await, [1, 5]);
    watch.advance(Duration::from_secs(4));
    assert_eq!(ask("/", 4).await, [3, 7]);
}

/// Returns a proxy to two replicas, of which the first accepts connections and never answers.
fn half_silent(watch: &Arc<Watch>, silent: &Silent, live: &Service) -> Proxy {
    let urls = [silent.address, live.address].map(|it| format!("http://{it}"));
    let limits = Limits {
        try_within: Duration::from_millis(200),
        repeat_within: MINUTE,
        ..patient()
    };
    let orders = Upstream::new("orders", &urls.join(","), &limits, watch.now());
    Proxy::new(vec![orders], watch.clone())
}

#[tokio::test]
async fn a_request_that_can_be_repeated_is_tried_on_another_replica_if_one_is_silent() {
    let watch = Watch::new();
    let repeatable = [("GET", None), ("PUT", None), ("POST", Some("key-1"))];
    for (method, key) in repeatable {
        let (silent, live) = (Silent::start(&watch).await, Service::start(&watch).await);
        let proxy = half_silent(&watch, &silent, &live);
        let mut request = request(method, "/");
        if let Some(key) = key {
            let key = key.parse().expect("a value");
            request.headers_mut().insert("idempotency-key", key);
        }
        let answer = watch.soon(proxy.forward("orders", request)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{method}");
        assert_eq!((silent.connections(), live.asked()), (1, 1), "{method}");
    }
}

#[tokio::test]
async fn a_silent_replica_is_avoided_until_one_request_finds_it_answering() {
    let watch = Watch::new();
    let (silent, live) = (Silent::start(&watch).await, Service::start(&watch).await);
    let proxy = half_silent(&watch, &silent, &live);
    let ask = async |times: usize| {
        for _ in 0..times {
            let answer = watch.soon(proxy.forward("orders", request("GET", "/")));
            assert_eq!(answer.await.status(), StatusCode::OK);
        }
        (silent.connections(), live.asked())
    };
    assert_eq!(ask(1).await, (1, 1), "the first request finds it silent");
    assert_eq!(ask(6).await, (1, 7), "it is avoided");
    watch.advance(Duration::from_secs(10));
    assert_eq!(ask(6).await, (2, 13), "one request tries it again");
    watch.advance(Duration::from_secs(10));
    silent.answer();
    assert_eq!(ask(2).await.1, 14, "it answers, and is used again");
    assert_eq!(ask(4).await.1, 16, "in turn");
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_is_not_tried_on_another_replica() {
    let watch = Watch::new();
    let (silent, live) = (Silent::start(&watch).await, Service::start(&watch).await);
    let urls = [silent.address, live.address].map(|it| format!("http://{it}"));
    let limits = Limits {
        try_within: Duration::from_millis(50),
        answer_within: Duration::from_millis(200),
        ..patient()
    };
    let orders = Upstream::new("orders", &urls.join(","), &limits, watch.now());
    let proxy = Proxy::new(vec![orders], watch.clone());
    let asked = watch.soon(proxy.forward("orders", request("POST", "/")));
    assert_eq!(
        outcome(asked.await).await,
        (503, "service_unavailable".into())
    );
    assert_eq!((silent.connections(), live.asked()), (1, 0));
}

#[tokio::test]
async fn silent_replicas_cost_a_request_no_more_than_the_time_for_all_attempts() {
    let watch = Watch::new();
    let silent = [Silent::start(&watch).await, Silent::start(&watch).await];
    let urls = silent.each_ref().map(|it| format!("http://{}", it.address));
    let limits = Limits {
        try_within: Duration::from_millis(100),
        repeat_within: Duration::from_millis(250),
        ..patient()
    };
    let orders = Upstream::new("orders", &urls.join(","), &limits, watch.now());
    let proxy = Proxy::new(vec![orders], watch.clone());
    let asked = watch.soon(proxy.forward("orders", request("GET", "/")));
    assert_eq!(
        outcome(asked.await).await,
        (503, "service_unavailable".into())
    );
    assert_eq!(silent.each_ref().map(Silent::connections), [1, 1]);
    let Limits {
        try_within,
        repeat_within,
        ..
    } = Limits::default();
    let patience = Duration::from_secs(10); // Of the shop's own client.
    assert!(2 * try_within < repeat_within && repeat_within < patience);
}

#[tokio::test]
async fn a_shed_request_is_answered_with_its_pause_and_is_no_failure_of_the_service() {
    let watch = Watch::new();
    let service = Service::start(&watch).await;
    let limits = Limits {
        failures_max: 3,
        open_for: MINUTE,
        ..patient()
    };
    let proxy = proxy(&watch, &[("inventory", &service)], &limits);
    for _ in 0..10 {
        let shed = proxy.forward("inventory", request("POST", "/shed"));
        let shed = watch.soon(shed).await;
        assert_eq!(shed.headers()[header::RETRY_AFTER], "7");
        assert_eq!(outcome(shed).await, (503, "overloaded".into()));
    }
    let asked = watch.soon(proxy.forward("inventory", request("GET", "/")));
    assert_eq!(
        asked.await.status(),
        StatusCode::OK,
        "the breaker is closed"
    );
    assert_eq!(service.asked(), 11, "no shed request was repeated");
}
