//! Routes between the processes of the shop.

use std::path::Path;

use shop::{Settings, Shop as Program};
use shop_e2e::http_suite::raw;
use wingbeat::run::{Process, Roles, open};
use wingbeat::trust::{CALLER_HEADER, Ed25519, RequestText};
use wingbeat::{Name, Runtime as _, TokioRuntime};

use super::place::{Place, Shape};

const STORY: &str = "/internal/stories/00000000-0000-0000-0000-000000000007";
const MAILBOX: &str = "/dev/mailbox";

/// Starts orders and notifications behind a gateway in another process.
async fn services(place: &Place) -> Process<Program> {
    let mut settings = Settings::default();
    settings.listen = "127.0.0.1:0".parse().unwrap();
    settings.ops_listen = settings.listen;
    settings.data.clone_from(&place.data);
    settings.servers.clone_from(&place.servers);
    settings.trust.clone_from(&place.trust);
    settings.own.dev = true;
    let roles = Roles {
        services: ["notifications", "orders"].into(),
        others: [].into(),
        whole: false,
    };
    open(Program::default(), settings, roles).await.unwrap()
}

/// Returns the keys of all services.
fn keys(data: &Path) -> Ed25519 {
    let signing = data.join("keys/signing");
    Ed25519::read(signing.to_str(), &data.join("keys/trusted")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn services_admit_only_the_gateway_to_internal_routes() {
    let place = tokio::task::block_in_place(|| Place::new(Shape::OnServers)).signed();
    let process = services(&place).await;
    let (keys, now) = (keys(&place.data), TokioRuntime::new().now());
    let proof = |caller: &'static str, receiver: &str, path: &str| {
        let text = RequestText {
            receiver,
            method: "GET",
            path,
        };
        text.prove(&keys, Name::new(caller), now).unwrap()
    };
    let ask = async |path: &str, proofs: &[String]| {
        let mut headers = vec![("host", "localhost")];
        headers.extend(proofs.iter().map(|proof| (CALLER_HEADER, proof.as_str())));
        let reply = raw::ask(process.address, "GET", path, &headers, "").await;
        (reply.status, reply.status.ge(&400).then(|| reply.code()))
    };
    let unauthenticated = (401, Some("unauthenticated".to_owned()));
    let forbidden = (403, Some("forbidden".to_owned()));
    for (path, receiver) in [(STORY, "orders"), (MAILBOX, "notifications")] {
        let valid = proof("gateway", receiver, path);
        assert_eq!(
            ask(path, std::slice::from_ref(&valid)).await,
            (200, None),
            "{path}"
        );
        assert_eq!(ask(path, &[]).await, unauthenticated, "{path}");
        let twice = [valid.clone(), valid];
        assert_eq!(ask(path, &twice).await, unauthenticated, "{path}");
        let other_path = proof("gateway", receiver, "/internal/other");
        assert_eq!(ask(path, &[other_path]).await, unauthenticated, "{path}");
        let other_service = proof("gateway", "payments", path);
        assert_eq!(ask(path, &[other_service]).await, unauthenticated, "{path}");
        let of_carts = proof("carts", receiver, path);
        assert_eq!(ask(path, &[of_carts]).await, forbidden, "{path}");
    }
    assert_eq!(ask("/healthz", &[]).await.0, 200);
    process.close().await;
}

/// The negative control: without keys, everybody in the network may ask.
#[tokio::test(flavor = "multi_thread")]
async fn without_keys_internal_routes_are_open() {
    let place = tokio::task::block_in_place(|| Place::new(Shape::OnServers));
    let process = services(&place).await;
    let reply = raw::ask(process.address, "GET", STORY, &[("host", "localhost")], "").await;
    assert_eq!(reply.status, 200);
    process.close().await;
}
