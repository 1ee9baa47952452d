//! The public routes of a process: the whole shop, some services, or the gateway in front of them.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use shop_gateway::{Limits, Proxy, Upstream};
use shop_system::Settings;
use shop_system::roles::{GATEWAY, PROVIDER, SERVICES};
use wingbeat::http::measure::routed;
use wingbeat::http::{Peers, peer_addresses, peers_only};
use wingbeat::run::ops::{FanOut, story_routes};
use wingbeat::run::{Host, RunningSystem};
use wingbeat::{Result, Runtime as _};

use super::shop::Open;
use crate::across::forward::forward;
use crate::across::{admin, dev, docs, timeline};

/// The port of a service, unless the settings give its address.
const PORT: u16 = 8080;

/// Returns the routes of a process.
pub(super) async fn of(open: &Open) -> Result<Router> {
    if open.roles.whole {
        return Ok(whole(open));
    }
    if open.roles.has(GATEWAY) {
        return gateway(open).await;
    }
    Ok(services(open))
}

/// Returns the address of a service that runs elsewhere.
pub(super) fn elsewhere(settings: &Settings, name: &str) -> String {
    let provider = settings.own.provider.as_ref().filter(|_| name == PROVIDER);
    let given = provider.map(ToString::to_string);
    given
        .or_else(|| settings.upstreams.get(name).cloned())
        .unwrap_or_else(|| format!("http://{name}:{PORT}"))
}

/// Everything in one process.
fn whole(open: &Open) -> Router {
    let host = Arc::clone(&open.host);
    let api = open
        .service_routes()
        .merge(docs::routes(&open.host.description(), true))
        .merge(timeline::routes(Arc::clone(&open.host)))
        .merge(admin::routes(Arc::clone(&open.host)))
        .merge(shop_audit::routes(
            Arc::new(move || host.snapshot()),
            open.state.provider_url.clone(),
        ))
        .merge(dev::provider(dev(open)))
        .merge(dev::services(dev(open)));
    shop_gateway::edge(
        api.layer(middleware::from_fn(routed)),
        &open.host.description(),
        open.state.sessions.clone(),
        open.runtime.clone(),
    )
}

/// Some services, behind a gateway in another process.
fn services(open: &Open) -> Router {
    let peers = peers(open);
    let mut api = open
        .service_routes()
        .merge(from_gateway(
            story_routes(Arc::clone(&open.host)),
            peers.as_ref(),
        ))
        .merge(admin::routes(Arc::clone(&open.host)));
    if open.settings.own.dev {
        api = api.merge(from_gateway(dev::services(dev(open)), peers.as_ref()));
    }
    if let Some(peers) = peers {
        api = api.layer(middleware::from_fn_with_state(peers, peer_addresses));
    }
    shop_gateway::rules(
        api.layer(middleware::from_fn(routed)),
        span_name(open),
        open.state.sessions.clone(),
        open.runtime.clone(),
    )
}

/// The gateway: its own routes; it forwards everything else.
async fn gateway(open: &Open) -> Result<Router> {
    let view = all_services(open).await?;
    let proxy = Arc::new(proxy(open));
    let has_dev = open.settings.own.dev;
    let across = Across {
        proxy: Arc::clone(&proxy),
        host: Arc::clone(&open.host),
        audited: Arc::new(move || view.clone()),
        provider: open.state.provider_url.clone(),
        dev: has_dev.then(|| dev(open)),
    };
    let mut api = open.service_routes().merge(across.routes());
    // What belongs to a service that runs elsewhere is forwarded before it gets here.
    if has_dev && !open.roles.services.is_empty() {
        api = api.merge(dev::services(dev(open)));
    }
    let api = shop_gateway::rules(
        api.layer(middleware::from_fn(routed)),
        shop_gateway::SERVICE,
        open.state.sessions.clone(),
        open.runtime.clone(),
    );
    let here = open.roles.services.clone();
    let api = forward(api, proxy, here, open.state.sessions.clone());
    let api = shop_gateway::answered(api, shop_gateway::SERVICE, open.runtime.clone());
    let system = open.host.description();
    Ok(shop_gateway::front(
        api,
        &system,
        has_dev,
        open.runtime.clone(),
    ))
}

/// The parts of the gateway's own routes.
struct Across {
    proxy: Arc<Proxy>,
    host: Arc<Host>,
    audited: shop_audit::Look,
    provider: String,
    /// The stand-ins, if they run.
    dev: Option<dev::Dev>,
}

impl Across {
    /// The routes that combine services.
    fn routes(self) -> Router {
        let has_dev = self.dev.is_some();
        let all = FanOut::new(self.proxy.clone(), Arc::clone(&self.host));
        let routes = docs::routes(&self.host.description(), has_dev)
            .merge(admin::of_system(&all))
            .merge(timeline::of_system(self.proxy, all))
            .merge(shop_audit::routes(self.audited, self.provider));
        match self.dev {
            Some(dev) => routes.merge(dev::provider(dev)),
            None => routes,
        }
    }
}

/// Returns the keys and the names for requests of the gateway, if there are keys.
fn peers(open: &Open) -> Option<Peers> {
    let trust = open.trust.as_ref()?;
    Some(Peers {
        signatures: Arc::clone(trust.signatures()),
        runtime: open.runtime.clone(),
        here: open.roles.services.iter().copied().collect(),
        callers: vec![GATEWAY],
    })
}

/// Lets only the gateway use these routes, if there are keys.
fn from_gateway(routes: Router, peers: Option<&Peers>) -> Router {
    match peers {
        Some(peers) => {
            let only = middleware::from_fn_with_state(peers.clone(), peers_only);
            routes.route_layer(only)
        }
        None => routes,
    }
}

/// Returns the service name for the spans of the process.
fn span_name(open: &Open) -> &'static str {
    match open.roles.services.iter().collect::<Vec<_>>()[..] {
        [service] => service,
        _ => "shop",
    }
}

/// Returns the proxy: services that run elsewhere by address, and this process for the others.
fn proxy(open: &Open) -> Proxy {
    let here = format!("http://127.0.0.1:{}", open.address.port());
    let url = |service: &str| {
        if open.roles.services.contains(service) {
            here.clone()
        } else {
            elsewhere(&open.settings, service)
        }
    };
    let limits = Limits::default();
    let now = open.runtime.now();
    let upstream = |service: &str| Upstream::new(service, &url(service), &limits, now);
    let proxy = Proxy::new(SERVICES.map(upstream).into(), open.runtime.clone());
    let trust = open.trust.as_ref();
    proxy
        .with_tls(open.settings.tls.clone())
        .with_signatures(trust.map(|trust| Arc::clone(trust.signatures())))
}

/// Returns all services, for the audit.
async fn all_services(open: &Open) -> Result<RunningSystem> {
    use wingbeat::Program as _;
    let system = open
        .program
        .system(&open.settings, &open.roles, &open.state);
    RunningSystem::reading(system, &open.backends.ports).await
}

fn dev(open: &Open) -> dev::Dev {
    dev::Dev {
        host: Arc::clone(&open.host),
        sessions: open.state.sessions.clone(),
        provider: open.state.provider_url.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::response::Response;
    use serde_json::Value;
    use shop_gateway::routing::owner;
    use shop_system::services::described;
    use tower::ServiceExt as _;
    use wingbeat::describe::{Info, openapi};
    use wingbeat::http::session::{SessionState, Sessions};
    use wingbeat::test::Model;
    use wingbeat::{App, Ports, Service, TokioRuntime};

    use super::*;

    /// Crashes a service of the process that runs all of them. A gateway has no such route.
    const ONLY_WHOLE: &str = "/dev/services/{name}/crash";

    /// Returns the methods and paths of a document.
    fn listed(document: &Value) -> BTreeSet<(String, String)> {
        let paths = document["paths"].as_object().expect("there are paths");
        let routes = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("they have methods").keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        });
        routes.collect()
    }

    /// Replaces the parameters of a path.
    fn sample(path: &str) -> String {
        let segments = path.split('/').map(|segment| match segment {
            "{id}" => "00000000-0000-0000-0000-000000000007",
            segment if segment.starts_with('{') => "pause",
            segment => segment,
        });
        segments.collect::<Vec<_>>().join("/")
    }

    /// The host of a process in which no service runs, and an administrator.
    async fn gateway() -> (Arc<Host>, Sessions, SessionState) {
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
        let host = Host::start(runtime.clone(), ports, system, |_| false).await;
        let sessions = Sessions::new(model.cache.clone(), runtime);
        let admin = sessions.start(uuid::Uuid::nil(), true).await;
        let (_, admin) = admin.expect("it starts");
        let admin = SessionState::SignedIn(admin);
        (host.expect("it starts"), sessions, admin)
    }

    async fn answer(routes: Router, method: &str, path: &str, caller: &SessionState) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.extension(caller.clone()).body(Body::empty());
        let Ok(response) = routes.oneshot(request.expect("a request")).await;
        response
    }

    #[tokio::test]
    async fn the_gateway_answers_or_forwards_every_route_of_the_whole_shop() {
        let (host, sessions, admin) = gateway().await;
        let nowhere = "http://127.0.0.1:1".to_owned();
        let across = || {
            let snapshot = Arc::clone(&host);
            let across = Across {
                proxy: Arc::new(Proxy::new(Vec::new(), TokioRuntime::new())),
                host: Arc::clone(&host),
                audited: Arc::new(move || snapshot.snapshot()),
                provider: nowhere.clone(),
                dev: Some(dev::Dev {
                    host: Arc::clone(&host),
                    sessions: sessions.clone(),
                    provider: nowhere.clone(),
                }),
            };
            across
                .routes()
                .fallback(|| async { StatusCode::IM_A_TEAPOT })
        };
        let documents = docs::routes(&described(), true);
        let document = answer(documents, "GET", "/openapi.json", &admin).await;
        let document = to_bytes(document.into_body(), usize::MAX).await;
        let document = serde_json::from_slice(&document.expect("a body")).expect("JSON");
        let of_services = listed(&openapi(described(), &Info::new("The services", "1")));
        let mut answered = 0;
        for (method, path) in listed(&document) {
            // The rest is served around the routes, alike in every process.
            let is_route = path.starts_with("/api/") || path.starts_with("/dev/");
            if !is_route || path == ONLY_WHOLE {
                continue;
            }
            let asked = sample(&path);
            let is_forwarded = owner(&asked).is_some();
            if of_services.contains(&(method.clone(), path.clone())) {
                assert!(is_forwarded, "no service owns {method} {path}");
            } else if !(is_forwarded && path.starts_with("/dev/")) {
                assert!(!is_forwarded, "no service has {method} {path}");
                let status = answer(across(), &method, &asked, &admin).await.status();
                let missing = [StatusCode::IM_A_TEAPOT, StatusCode::METHOD_NOT_ALLOWED];
                assert!(!missing.contains(&status), "{method} {path}: {status}");
                answered += 1;
            }
        }
        let status = answer(across(), "GET", "/api/v1/admin/none", &admin).await;
        assert_eq!(status.status(), StatusCode::IM_A_TEAPOT, "the control");
        assert!(answered > 15, "{answered}");
    }
}
