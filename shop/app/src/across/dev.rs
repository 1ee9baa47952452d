//! The routes of the stand-ins: the mailbox, the provider's ledger and faults, shoppers without
//! passwords, and crashing a service. They require a loopback peer and a loopback host, or the
//! administrator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shop_identity::Shopper;
use wingbeat::describe::Operation;
use wingbeat::http::session::{SessionState, Sessions};
use wingbeat::http::{
    Json, Path, Problem, Query, Routes, get, is_of_foreign_page, names_this_machine, ok, plain,
    read_body,
};
use wingbeat::network::is_loopback;
use wingbeat::{JsonSchema, Result, outgoing, schemars};

use wingbeat::run::Host;

/// The largest number of shoppers that one request creates.
const SHOPPERS_MAX: usize = 10_000;
/// The entries of the ledger in one response.
const LEDGER_PAGE: u32 = 1_000;
/// The longest wait for the provider.
const PROVIDER_WITHIN: Duration = Duration::from_secs(5);

/// The state of the routes.
#[derive(Clone)]
pub struct Dev {
    /// The services.
    pub host: Arc<Host>,
    /// The sessions in which shoppers are signed in.
    pub sessions: Sessions,
    /// The provider's base URL.
    pub provider: String,
}

/// The routes that use the provider.
pub fn provider(dev: Dev) -> Router {
    provider_routes().with_state(dev).into_router()
}

/// The routes that use the services.
pub fn services(dev: Dev) -> Router {
    service_routes().with_state(dev).into_router()
}

/// The descriptions of all routes.
pub(super) fn operations() -> Vec<Operation> {
    provider_routes().merge(service_routes()).into_parts().1
}

fn provider_routes() -> Routes<Dev> {
    let faults_path = "/dev/provider/faults";
    let away = "The provider does not answer.";
    let routes = Routes::new()
        .route(
            "/dev/provider/ledger",
            get(ledger)
                .summary("The ledger of the payment provider")
                .answers::<Value>(200)
                .problem(503, "no_answer", away),
        )
        .route(
            faults_path,
            get(show_faults)
                .summary("The provider's faults that are switched on")
                .answers::<Value>(200)
                .problem(503, "no_answer", away),
        )
        .route(
            faults_path,
            plain::put(faults)
                .summary("Switches faults of the provider on and off")
                .description(
                    "`outage`, `latency_ms`, `error_rate`, `decline_rate`, `lost_reply_rate`. Faults \
                     that are left out are switched off.",
                )
                .reads::<axum::Json<Value>>()
                .answers::<Value>(200)
                .problem(422, "invalid", "A fault is unknown or out of bounds.")
                .problem(503, "no_answer", away),
        );
    guarded(routes)
}

fn service_routes() -> Routes<Dev> {
    let routes = Routes::new()
        .route(
            "/dev/mailbox",
            get(mailbox)
                .summary("The mails that were sent")
                .answers::<shop_notifications::mailbox::Mailbox>(200),
        )
        .route(
            "/dev/shoppers",
            plain::post(shoppers)
                .summary("Creates signed-in shoppers without passwords")
                .answers::<Made>(200),
        )
        .route(
            "/dev/services/{name}/crash",
            plain::post(crash)
                .summary("Kills a service and restarts it")
                .answers::<Crashed>(200)
                .problem(404, "not_found", "There is no such service."),
        );
    guarded(routes)
}

fn guarded(routes: Routes<Dev>) -> Routes<Dev> {
    routes
        .route_layer(middleware::from_fn(guard))
        .tag("dev")
        .problem(
            403,
            "forbidden",
            "The caller is on another machine and not the admin.",
        )
}

/// Refuses callers who may not use the stand-ins. Behind the gateway the peer is the gateway, and
/// its header `x-forwarded-for` contains the caller.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let state = request.extensions().get::<SessionState>();
    let admin = matches!(state, Some(SessionState::SignedIn(session)) if session.admin);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let near = peer.is_some_and(|ConnectInfo(peer)| is_loopback(peer.ip()))
        && !from_elsewhere(request.headers());
    let named = names_this_machine(request.headers(), request.uri());
    if admin || (near && named && !is_of_foreign_page(request.headers(), request.uri())) {
        return next.run(request).await;
    }
    Problem::new(403, "forbidden", "only from this machine, or for the admin").into_response()
}

/// Returns whether a proxy forwarded the request for a caller on another machine.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("x-forwarded-for").iter();
    let mut addresses = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    addresses.any(|address| {
        let address = std::str::from_utf8(address).ok().map(str::trim);
        let address = address.and_then(|address| address.parse().ok());
        !address.is_some_and(is_loopback)
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Addressee {
    /// An e-mail address.
    to: Option<String>,
}

async fn mailbox(
    State(dev): State<Dev>,
    Query(Addressee { to }): Query<Addressee>,
) -> Result<Response, Problem> {
    let reads = dev.host.reads("notifications")?;
    let mails = shop_notifications::mailbox(&reads, to.as_deref()).await?;
    Ok(ok(&mails).into_response())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfOrder {
    order_id: Option<String>,
    /// The number of the last entry that the caller has seen.
    after: Option<i64>,
}

async fn ledger(
    State(dev): State<Dev>,
    Query(OfOrder { order_id, after }): Query<OfOrder>,
) -> Result<Response, Problem> {
    let order = match order_id {
        Some(id) => {
            let id: uuid::Uuid = id.parse().map_err(|_| Problem::not_found())?;
            format!("&order_id={id}")
        }
        None => String::new(),
    };
    let path = format!(
        "/v1/ledger?after={}&limit={LEDGER_PAGE}{order}",
        after.unwrap_or(0)
    );
    dev.ask("GET", &path, Bytes::new()).await
}

async fn show_faults(State(dev): State<Dev>) -> Result<Response, Problem> {
    dev.ask("GET", "/v1/faults", Bytes::new()).await
}

async fn faults(State(dev): State<Dev>, body: Body) -> Result<Response, Problem> {
    dev.ask("PUT", "/v1/faults", read_body(body).await?).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewShoppers")]
struct Wanted {
    #[schemars(range(min = 1, max = SHOPPERS_MAX))]
    count: usize,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Shoppers")]
struct Made {
    items: Vec<Shopper>,
}

async fn shoppers(
    State(dev): State<Dev>,
    Json(Wanted { count }): Json<Wanted>,
) -> Result<Response, Problem> {
    if !(1..=SHOPPERS_MAX).contains(&count) {
        return Err(Problem::invalid("/count", "1 to 10000"));
    }
    let identity = dev.host.service("identity")?;
    let items = shop_identity::dev_shoppers(&identity, &dev.sessions, count).await?;
    Ok(ok(&Made { items }).into_response())
}

#[derive(Serialize, JsonSchema)]
struct Crashed {
    service: String,
}

async fn crash(State(dev): State<Dev>, Path(service): Path<String>) -> Result<Response, Problem> {
    if !dev.host.crash(&service).await? {
        return Err(Problem::not_found());
    }
    Ok(ok(&Crashed { service }).into_response())
}

impl Dev {
    async fn ask(
        &self,
        method: &'static str,
        path: &str,
        body: Bytes,
    ) -> Result<Response, Problem> {
        let request = outgoing::Request {
            method,
            url: format!("{}{path}", self.provider),
            headers: vec![("content-type".into(), "application/json".into())],
            body,
            timeout: PROVIDER_WITHIN,
        };
        let answer = self.host.ports().http.send(request).await?;
        if answer.status == 422 || answer.status == 400 {
            let why = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(Problem::invalid("", why));
        }
        let status = axum::http::StatusCode::from_u16(answer.status).unwrap_or_default();
        let json = [(header::CONTENT_TYPE, "application/json")];
        Ok((status, json, answer.body).into_response())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        let host = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, name.parse().expect("a header"));
            names_this_machine(&headers, &Uri::from_static("/dev/mailbox"))
        };
        for name in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
        ] {
            assert!(host(name), "{name}");
        }
        for name in [
            "shop.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
            "localhost.evil",
        ] {
            assert!(!host(name), "{name}");
        }
        assert!(!names_this_machine(
            &HeaderMap::new(),
            &Uri::from_static("/dev/mailbox")
        ));
    }

    #[test]
    fn a_forwarded_caller_is_local_only_if_all_addresses_are() {
        let elsewhere = |forwarded: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
            from_elsewhere(&headers)
        };
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.1, ::1"] {
            assert!(!elsewhere(here), "{here}");
        }
        for there in [
            "192.0.2.7",
            "192.0.2.7, ::1",
            "::1,192.0.2.7",
            "unknown",
            "",
        ] {
            assert!(elsewhere(there), "{there}");
        }
        assert!(!from_elsewhere(&HeaderMap::new()));
    }
}
