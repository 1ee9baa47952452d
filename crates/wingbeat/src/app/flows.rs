//! The limits of a service's subscriptions and outside systems when they start.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use wingbeat_core::Name;

use crate::dispatch::{Limiting, Subscription};
use crate::limit::{Flow, Places};
use crate::policy::Limits;
use crate::runtime::Control;
use crate::service::Wiring;
use crate::unit::ServiceContext;

/// The flows of one service by their names.
pub(super) struct Flows(BTreeMap<String, Arc<Flow>>);

/// Returns the name of the flow of an outside system. No queue has such a name.
pub(super) fn of_target(service: Name, target: &str) -> String {
    format!("call:{service}.{target}")
}

impl Flows {
    /// Makes the flows, with the limits that an operator has changed, and follows those.
    pub(super) async fn start(
        context: &Arc<ServiceContext>,
        control: &watch::Receiver<Control>,
        wiring: &Wiring,
    ) -> (Self, Arc<Limiting>) {
        let shared = wiring.concurrency.map(Places::new);
        let subscriptions = wiring.subscriptions.iter().map(|it| {
            let limits = Limits::of(&it.policy);
            (it.queue.to_string(), limits, shared.clone())
        });
        let targets = wiring.targets.iter().map(|(name, policy)| {
            let limits = Limits::of_target(policy);
            (of_target(context.name, name), limits, None)
        });
        let flows = subscriptions.chain(targets).map(|(name, limits, shared)| {
            let flow = Flow::new(&*name, limits, shared, &context.cache, &context.runtime);
            (name, flow)
        });
        let flows: BTreeMap<_, _> = flows.collect();
        let all = flows.values().cloned().collect();
        let limiting = Arc::new(Limiting::new(Arc::clone(context), all));
        if !flows.is_empty() {
            if let Err(why) = limiting.read().await {
                tracing::warn!(service = %context.name, code = why.code(), "cannot read which limits were changed, those of the code hold until the store answers: {why}");
            }
            let following = Arc::clone(&limiting).follow(control.clone());
            context.runtime.spawn(Box::pin(following));
        }
        (Self(flows), limiting)
    }

    /// Returns the flow of a subscription, or of an outside system.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Flow>> {
        self.0.get(name).cloned()
    }
}

/// Returns the flow of a router. The limits are those of its partitions, and moving a message is no
/// run.
pub(super) fn of_router(context: &ServiceContext, router: &Subscription) -> Arc<Flow> {
    let limits = Limits {
        rate: None,
        per_tenant: None,
        ..Limits::of(&router.policy)
    };
    Flow::new(
        router.queue.as_str(),
        limits,
        None,
        &context.cache,
        &context.runtime,
    )
}
