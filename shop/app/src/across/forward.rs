//! The gateway forwards each request to the service that owns its path, or answers it with its own
//! routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use shop_gateway::Proxy;
use shop_gateway::routing::owner;
use tower::ServiceExt as _;
use wingbeat::http::Problem;
use wingbeat::http::measure::route_is;
use wingbeat::http::session::{Sessions, identify};

use super::dev;

/// Forwards requests to the services that are not `here`. The router `own` answers all others.
///
/// The guard of the stand-ins runs here, because only the gateway sees the caller's address. For
/// the services, every caller is the gateway.
pub(crate) fn forward(
    own: Router,
    proxy: Arc<Proxy>,
    here: BTreeSet<&'static str>,
    sessions: Sessions,
) -> Router {
    let asked = Arc::clone(&proxy);
    let stand_ins = Router::new()
        .fallback(move |request: Request| {
            let proxy = Arc::clone(&asked);
            async move { ask(&proxy, request).await }
        })
        .layer(middleware::from_fn(dev::guard))
        .layer(middleware::from_fn_with_state(sessions, identify));
    Router::new().fallback(move |request: Request| {
        let path = request.uri().path();
        let elsewhere = owner(path).is_some_and(|it| !here.contains(it) && proxy.has(it));
        let routes = match elsewhere {
            true if path.starts_with("/dev/") => Some(stand_ins.clone()),
            true => None,
            false => Some(own.clone()),
        };
        let proxy = Arc::clone(&proxy);
        async move {
            match routes {
                Some(routes) => routes
                    .oneshot(request)
                    .await
                    .unwrap_or_else(|never| match never {}),
                None => ask(&proxy, request).await,
            }
        }
    })
}

async fn ask(proxy: &Proxy, request: Request) -> Response {
    let Some(service) = owner(request.uri().path()) else {
        return Problem::not_found().into_response();
    };
    route_is(request.extensions(), service);
    proxy.forward(service, request).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::http::StatusCode;
    use shop_gateway::{Limits, Upstream};
    use tokio::net::TcpListener;
    use wingbeat::Runtime as _;
    use wingbeat::TokioRuntime;
    use wingbeat::http::serve;

    use super::*;

    const NEAR: [u8; 4] = [127, 0, 0, 1];
    const FAR: [u8; 4] = [192, 0, 2, 7];

    /// Creates a gateway in front of an identity service that answers every request.
    async fn gateway() -> (Router, Sessions) {
        let runtime = TokioRuntime::new();
        let cache = wingbeat::test::Model::new(runtime.clone()).cache;
        let sessions = Sessions::new(cache, runtime.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let identity = Router::new().fallback(async || "answered");
        runtime.spawn(Box::pin(serve(listener, identity, std::future::pending())));
        let upstream = Upstream::new("identity", &url, &Limits::default(), runtime.now());
        let proxy = Arc::new(Proxy::new(vec![upstream], runtime));
        let own = Router::new();
        (
            forward(own, proxy, BTreeSet::new(), sessions.clone()),
            sessions,
        )
    }

    async fn ask(
        gateway: &Router,
        peer: [u8; 4],
        path: &str,
        headers: &[(&str, &str)],
    ) -> StatusCode {
        let peer = ConnectInfo(SocketAddr::from((peer, 4711)));
        let mut request = Request::post(path).extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = gateway.clone().oneshot(request).await;
        answer.expect("a router never fails").status()
    }

    #[tokio::test]
    async fn the_stand_ins_behind_the_gateway_admit_only_its_machine() {
        let (gateway, sessions) = gateway().await;
        let shoppers = async |peer, headers: &[(&str, &str)]| {
            ask(&gateway, peer, "/dev/shoppers", headers).await
        };
        let here = ("host", "localhost:8080");
        assert_eq!(shoppers(NEAR, &[here]).await, StatusCode::OK);
        assert_eq!(shoppers(FAR, &[here]).await, StatusCode::FORBIDDEN);
        let spoofed = [here, ("x-forwarded-for", "127.0.0.1")];
        assert_eq!(shoppers(FAR, &spoofed).await, StatusCode::FORBIDDEN);
        let elsewhere = [here, ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(shoppers(NEAR, &elsewhere).await, StatusCode::FORBIDDEN);
        let rebound = [("host", "evil.example")];
        assert_eq!(shoppers(NEAR, &rebound).await, StatusCode::FORBIDDEN);
        for (admin, status) in [(true, StatusCode::OK), (false, StatusCode::FORBIDDEN)] {
            let started = sessions.start(uuid::Uuid::nil(), admin).await;
            let (token, _) = started.expect("the cache writes");
            let bearer = format!("Bearer {token}");
            let signed_in = [here, ("authorization", bearer.as_str())];
            assert_eq!(shoppers(FAR, &signed_in).await, status);
        }
    }

    #[tokio::test]
    async fn the_routes_of_services_admit_everybody() {
        let (gateway, _) = gateway().await;
        let far = async |path| ask(&gateway, FAR, path, &[("host", "shop.example")]).await;
        assert_eq!(far("/api/v1/sessions").await, StatusCode::OK);
        assert_eq!(far("/api/v1/orders").await, StatusCode::NOT_FOUND); // The proxy has no such service.
    }
}
