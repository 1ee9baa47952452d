//! Guards the operator's API.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::http::{Problem, is_of_foreign_page, names_this_machine};
use crate::network::is_loopback;
use crate::run::settings::Secret;

/// The operator who makes a request, for the audit log. The guard of the API inserts it as an
/// extension of the request.
#[derive(Clone, Debug)]
pub struct Operator(pub String);

/// Lets a request pass if it comes from this machine to a loopback name, or with the operator's
/// token.
///
/// The check of the `Host` header refuses web pages that rebind their own name to 127.0.0.1. The
/// check of `Sec-Fetch-Site` and `Origin` refuses pages of other sites in the operator's browser.
pub(in crate::run) fn guarded(routes: Router, token: Option<Secret>) -> Router {
    routes.layer(middleware::from_fn(move |request, next| {
        let token = token.clone();
        async move { check(token.as_ref(), request, next).await }
    }))
}

async fn check(token: Option<&Secret>, mut request: Request, next: Next) -> Response {
    let bearer = crate::http::session::bearer(request.headers());
    let with_token = match (bearer, token) {
        (Some(given), Some(Secret(token))) => same(given, token),
        _ => false,
    };
    if with_token || is_local(&request) {
        let by = if with_token { "token" } else { "loopback" };
        request.extensions_mut().insert(Operator(by.into()));
        return next.run(request).await;
    }
    let detail = "only from this machine, or with the operator's token (WINGBEAT_OPS_TOKEN)";
    Problem::new(403, "forbidden", detail).into_response()
}

/// Compares hashes, so that the time does not depend on the position of the first difference.
fn same(given: &str, token: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(given) == Sha256::digest(token)
}

fn is_local(request: &Request) -> bool {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let near = peer.is_some_and(|ConnectInfo(peer)| is_loopback(peer.ip()));
    let headers = request.headers();
    let forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    let named = names_this_machine(headers, request.uri());
    near && !forwarded && named && !is_of_foreign_page(headers, request.uri())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use futures_util::FutureExt as _;
    use tower::ServiceExt as _;

    use super::*;

    const NEAR: [u8; 4] = [127, 0, 0, 1];
    const FAR: [u8; 4] = [192, 0, 2, 7];

    fn status(peer: [u8; 4], headers: &[(&str, &str)], token: Option<&str>) -> u16 {
        let routes = Router::new().route("/", get(|| async {}));
        let routes = guarded(routes, token.map(|token| Secret(token.into())));
        let peer = ConnectInfo(SocketAddr::from((peer, 4711)));
        let mut request = Request::get("/").extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answered = routes
            .oneshot(request)
            .now_or_never()
            .expect("nothing waits");
        answered.expect("routes never fail").status().as_u16()
    }

    #[test]
    fn this_machine_may_use_the_api_by_a_loopback_name_only() {
        assert_eq!(status(NEAR, &[("host", "localhost:9464")], None), 200);
        assert_eq!(status(NEAR, &[("host", "[::1]:9464")], None), 200);
        assert_eq!(status(NEAR, &[("host", "evil.example")], None), 403);
        assert_eq!(status(NEAR, &[], None), 403);
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(status(NEAR, &two, None), 403);
        let page = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(NEAR, &page, None), 403);
        let page = [("host", "localhost"), ("origin", "https://evil.example")];
        assert_eq!(status(NEAR, &page, None), 403);
        let page = [
            ("host", "localhost:9464"),
            ("origin", "http://localhost:9464"),
        ];
        assert_eq!(status(NEAR, &page, None), 200);
        let proxied = [("host", "localhost"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(status(NEAR, &proxied, None), 403);
    }

    #[test]
    fn other_machines_need_the_token() {
        let host = ("host", "ops.example");
        let right = [host, ("authorization", "Bearer s3cret")];
        assert_eq!(status(FAR, &right, Some("s3cret")), 200);
        assert_eq!(status(FAR, &right, Some("other")), 403);
        assert_eq!(status(FAR, &right, None), 403);
        assert_eq!(status(FAR, &[host], Some("s3cret")), 403);
    }
}
