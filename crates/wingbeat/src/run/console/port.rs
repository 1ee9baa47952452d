//! The console on the operator's port.

use std::sync::Arc;

use axum::Router;

use super::{Console, Routed};
use crate::SharedRuntime;
use crate::run::host::Host;
use crate::run::ops::{guarded, operator};
use crate::run::readiness::{Readiness, health};
use crate::run::settings::Secret;

/// The console over the services of this process, behind the guard of `/ops`.
pub(in crate::run) fn on_port(
    title: &str,
    host: Arc<Host>,
    readiness: Readiness,
    token: Option<Secret>,
    runtime: SharedRuntime,
) -> Router {
    let system = host.description();
    // The guard is around the pages: it has admitted the operator before a page asks.
    let api = Router::new()
        .nest("/ops", operator(host))
        .merge(health(readiness));
    let source = Routed::new(api, "/ops", runtime.clone());
    let console = Console::new(source, &system, runtime).with_title(title);
    guarded(console.routes(), token)
}
