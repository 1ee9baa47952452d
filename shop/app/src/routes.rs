//! What a process answers: the whole shop, some services, or the gateway before all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use shop_gateway::{Limits, Proxy, Upstream};
use wingbeat::http::Problem;
use wingbeat::http::measure::routed;
use wingbeat::real::TokioRuntime;
use wingbeat::{Result, Runtime as _};

use crate::backends::Backends;
use crate::cast::SERVICES;
use crate::onlooker::onlooker;
use crate::onward::onward;
use crate::{Open, Settings, Sight, admin, audit, dev, docs, ops, shop, timeline, together};

/// Where a service listens, unless the settings say otherwise.
const PORT: u16 = 8080;

/// The routes of a process.
pub(crate) async fn of(
    open: &Open,
    settings: &Settings,
    runtime: &Arc<TokioRuntime>,
) -> Result<Router> {
    open.routes(settings, runtime).await
}

/// Where a service is that runs elsewhere.
pub(crate) fn elsewhere(settings: &Settings, name: &str) -> String {
    let given = match name {
        "provider" => settings.provider.as_ref(),
        _ => None,
    };
    let given = given.or_else(|| settings.upstreams.get(name));
    given
        .cloned()
        .unwrap_or_else(|| format!("http://{name}:{PORT}"))
}

impl Open {
    async fn routes(&self, settings: &Settings, runtime: &Arc<TokioRuntime>) -> Result<Router> {
        let own = self.services();
        if self.cast.whole {
            let look = Arc::clone(&self.host);
            let api = own
                .merge(docs::routes(self.host.system(), true))
                .merge(timeline::routes(Arc::clone(&self.host)))
                .merge(admin::routes(Arc::clone(&self.host)))
                .merge(audit::routes(
                    Arc::new(move || look.sight()),
                    self.provider_url.clone(),
                ))
                .merge(dev::provider(self.dev()))
                .merge(dev::services(self.dev()));
            return Ok(shop_gateway::edge(
                api.layer(middleware::from_fn(routed)),
                self.sessions.clone(),
                runtime.clone(),
            ));
        }
        if !self.cast.gateway {
            let mut api = own
                .merge(timeline::internal(Arc::clone(&self.host)))
                .merge(admin::routes(Arc::clone(&self.host)));
            if settings.dev {
                api = api.merge(dev::services(self.dev()));
            }
            return Ok(shop_gateway::rules(
                api.layer(middleware::from_fn(routed)),
                self.service(),
                self.sessions.clone(),
                runtime.clone(),
            ));
        }
        self.gateway(settings, own, runtime).await
    }

    /// The gateway: its own routes, and everything else handed on.
    async fn gateway(
        &self,
        settings: &Settings,
        own: Router,
        runtime: &Arc<TokioRuntime>,
    ) -> Result<Router> {
        let sight = self.onlooker(settings, runtime).await?;
        let proxy = Arc::new(self.proxy(settings, runtime));
        let mut api = own
            .merge(docs::routes(self.host.system(), settings.dev))
            .merge(together::routes(Arc::clone(&proxy)))
            .merge(audit::routes(
                Arc::new(move || sight.clone()),
                self.provider_url.clone(),
            ));
        if settings.dev {
            api = api.merge(dev::provider(self.dev()));
        }
        let api = shop_gateway::rules(
            api.layer(middleware::from_fn(routed)),
            shop_gateway::SERVICE,
            self.sessions.clone(),
            runtime.clone(),
        );
        let here = self.cast.services.clone();
        let api = onward(api, proxy, here, self.sessions.clone());
        let api = shop_gateway::answered(api, shop_gateway::SERVICE, runtime.clone());
        Ok(shop_gateway::front(api, runtime.clone()))
    }

    /// Whose requests these are, as spans call it.
    fn service(&self) -> &'static str {
        match self.cast.services.iter().collect::<Vec<_>>()[..] {
            [service] => service,
            _ => "shop",
        }
    }

    /// The services that run elsewhere, and itself for those that run here.
    fn proxy(&self, settings: &Settings, runtime: &Arc<TokioRuntime>) -> Proxy {
        let here = format!("http://127.0.0.1:{}", self.address.port());
        let url = |service: &str| match self.cast.services.contains(service) {
            true => here.clone(),
            false => elsewhere(settings, service),
        };
        let limits = Limits::default();
        let upstream =
            |service: &str| Upstream::new(service, &url(service), &limits, runtime.now());
        Proxy::new(SERVICES.map(upstream).into(), runtime.clone())
    }

    /// All services as the audit sees them.
    async fn onlooker(&self, settings: &Settings, runtime: &Arc<TokioRuntime>) -> Result<Sight> {
        let all = shop::services(settings, &self.cast, &self.sessions, &self.provider_url);
        onlooker(runtime, &self.backends.ports, all).await
    }

    fn dev(&self) -> dev::Dev {
        dev::Dev {
            host: Arc::clone(&self.host),
            sessions: self.sessions.clone(),
            provider: self.provider_url.clone(),
        }
    }

    /// Health, and the routes of the services that run here.
    fn services(&self) -> Router {
        ops::health(self.readiness.clone())
            .fallback_service(self.host.routes())
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.backends),
                intake,
            ))
    }
}

/// Nothing new is taken in while it could not be stored.
async fn intake(State(backends): State<Arc<Backends>>, request: Request, next: Next) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && request.uri().path().starts_with("/api/") && !backends.writable() {
        let detail = "the disk is full or fails: nothing new is taken in, nothing is lost";
        return Problem::new(503, "storage_full", detail).into_response();
    }
    next.run(request).await
}
