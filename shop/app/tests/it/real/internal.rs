//! Routes between the processes of the shop.

use std::collections::BTreeSet;
use std::path::Path;

use shop::Shop as Program;
use shop_e2e::http_suite::raw;
use shop_system::Settings;
use wingbeat::run::{Process, Roles, open};
use wingbeat::trust::{CALLER_HEADER, Ed25519, RequestText};
use wingbeat::{Name, Runtime as _, TokioRuntime};

use super::place::{Place, Shape};

const STORY: &str = "/internal/stories/00000000-0000-0000-0000-000000000007";
const MAILBOX: &str = "/dev/mailbox";
const SESSIONS: &str = "/api/v1/sessions";
/// The wrong passwords for one account from one address that are checked.
const GUESSES_MAX: u32 = 10;

/// Starts orders and notifications behind a gateway in another process.
async fn services(place: &Place) -> Process<Program> {
    process(place, ["notifications", "orders"].into()).await
}

/// Starts services behind a gateway in another process.
async fn process(place: &Place, services: BTreeSet<&'static str>) -> Process<Program> {
    let mut settings = Settings::default();
    settings.listen = "127.0.0.1:0".parse().unwrap();
    settings.ops_listen = settings.listen;
    settings.data.clone_from(&place.data);
    settings.servers.clone_from(&place.servers);
    settings.trust.clone_from(&place.trust);
    settings.own.dev = true;
    let roles = Roles {
        services,
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

/// Guesses at a password with another invented address each time, as the gateway if it gets its
/// keys. Returns the last status.
async fn guesses(process: &Process<Program>, keys: Option<&Ed25519>) -> u16 {
    let form = r#"{"email":"ada@shop.example","password":"wrong horse"}"#;
    let text = RequestText {
        receiver: "identity",
        method: "POST",
        path: SESSIONS,
    };
    let mut status = 0;
    for number in 0..=GUESSES_MAX {
        let invented = format!("198.51.100.{number}");
        let mut headers = vec![
            ("host", "localhost"),
            ("content-type", "application/json"),
            ("x-forwarded-for", invented.as_str()),
        ];
        let now = TokioRuntime::new().now(); // A proof is valid for 30 s only.
        let proof = keys.map(|keys| text.prove(keys, Name::new("gateway"), now).unwrap());
        headers.extend(proof.iter().map(|proof| (CALLER_HEADER, proof.as_str())));
        let reply = raw::ask(process.address, "POST", SESSIONS, &headers, form).await;
        status = reply.status;
    }
    status
}

/// The gateway reports other addresses, so its guesses are those of several clients.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_reports_the_addresses_of_clients() {
    let place = tokio::task::block_in_place(|| Place::new(Shape::OnServers)).signed();
    let process = process(&place, ["identity"].into()).await;
    assert_eq!(guesses(&process, Some(&keys(&place.data))).await, 401);
    assert_eq!(guesses(&process, None).await, 429);
    process.close().await;
}

/// The negative control: without keys, everybody in the network may report addresses.
#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_neighbour_invents_the_addresses_of_clients() {
    let place = tokio::task::block_in_place(|| Place::new(Shape::OnServers));
    let process = process(&place, ["identity"].into()).await;
    assert_eq!(guesses(&process, None).await, 401);
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
