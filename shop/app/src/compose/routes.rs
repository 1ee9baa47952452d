//! The public routes of a process: the whole shop, some services, or the gateway in front of them.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use shop_gateway::{Limits, Proxy, Upstream};
use wingbeat::http::measure::routed;
use wingbeat::http::{Peers, peers_only};
use wingbeat::run::{RunningSystem, System};
use wingbeat::{Result, Runtime as _};

use super::roles::{GATEWAY, PROVIDER, SERVICES};
use super::settings::Settings;
use super::shop::Open;
use crate::across::cross_schema::audit_view;
use crate::across::forward::forward;
use crate::across::{admin, audit, dev, docs, fan_out, peers, timeline};

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
        .merge(audit::routes(
            Arc::new(move || host.snapshot()),
            open.state.provider_url.clone(),
        ))
        .merge(dev::provider(dev(open)))
        .merge(dev::services(dev(open)));
    shop_gateway::edge(
        api.layer(middleware::from_fn(routed)),
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
            timeline::internal(Arc::clone(&open.host)),
            peers.as_ref(),
        ))
        .merge(admin::routes(Arc::clone(&open.host)));
    if open.settings.own.dev {
        api = api.merge(from_gateway(dev::services(dev(open)), peers.as_ref()));
    }
    if let Some(peers) = peers {
        api = api.layer(middleware::from_fn_with_state(peers, peers::addresses));
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
    let mut api = open
        .service_routes()
        .merge(docs::routes(
            &open.host.description(),
            open.settings.own.dev,
        ))
        .merge(fan_out::routes(Arc::clone(&proxy), Arc::clone(&open.host)))
        .merge(audit::routes(
            Arc::new(move || view.clone()),
            open.state.provider_url.clone(),
        ));
    if open.settings.own.dev {
        api = api.merge(dev::provider(dev(open)));
        // What belongs to a service that runs elsewhere is forwarded before it gets here.
        if !open.roles.services.is_empty() {
            api = api.merge(dev::services(dev(open)));
        }
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
    let has_dev = open.settings.own.dev;
    Ok(shop_gateway::front(api, has_dev, open.runtime.clone()))
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
    let (program, settings) = (Arc::clone(&open.program), Arc::clone(&open.settings));
    let (roles, state) = (Arc::clone(&open.roles), Arc::clone(&open.state));
    let system: System = Arc::new(move || program.system(&settings, &roles, &state));
    audit_view(&open.runtime, &open.backends.ports, &system).await
}

fn dev(open: &Open) -> dev::Dev {
    dev::Dev {
        host: Arc::clone(&open.host),
        sessions: open.state.sessions.clone(),
        provider: open.state.provider_url.clone(),
    }
}
