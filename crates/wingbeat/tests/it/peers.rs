//! Only a gateway that proves its identity reports the addresses of clients.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower::ServiceExt as _;
use wingbeat::http::{Peers, peer_addresses};
use wingbeat::test::Simulation;
use wingbeat::trust::{CALLER_HEADER, Ed25519, RequestText};
use wingbeat::{Name, Runtime as _};

const CLIENT: &str = "192.0.2.7";

/// Answers with the address that was reported.
async fn reported(headers: HeaderMap) -> String {
    let address = headers
        .get("x-forwarded-for")
        .and_then(|it| it.to_str().ok());
    address.unwrap_or("none").to_owned()
}

#[test]
fn the_address_of_a_client_is_believed_from_a_gateway_only() {
    let simulation = Simulation::new(1);
    let keys = Arc::new(Ed25519::generated(["gateway", "carts", "identity"]));
    let peers = Peers {
        signatures: keys.clone(),
        runtime: simulation.runtime(),
        here: vec!["identity"],
        callers: vec!["gateway"],
    };
    let routes = Router::new()
        .route("/login", get(reported))
        .layer(from_fn_with_state(peers, peer_addresses));
    let proof = |caller, receiver| {
        let text = RequestText {
            receiver,
            method: "GET",
            path: "/login",
        };
        text.prove(&*keys, Name::new(caller), simulation.now())
    };
    let ask = |proof: Option<String>| {
        let request = Request::get("/login").header("x-forwarded-for", CLIENT);
        let request = match &proof {
            Some(proof) => request.header(CALLER_HEADER, proof),
            None => request,
        };
        let request = request.body(Body::empty()).expect("a request");
        simulation.run(async {
            let Ok(response) = routes.clone().oneshot(request).await;
            let body = to_bytes(response.into_body(), 1_000).await;
            String::from_utf8(body.expect("a body").into()).expect("a text")
        })
    };
    assert_eq!(ask(proof("gateway", "identity")), CLIENT);
    assert_eq!(ask(proof("carts", "identity")), "none");
    assert_eq!(ask(proof("gateway", "carts")), "none");
    assert_eq!(ask(None), "none");
}
