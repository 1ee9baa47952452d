//! The partitions of subscriptions when they start.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use wingbeat_core::{Name, Transport};

use crate::dispatch::Subscription;
use crate::partition::{Router, partition, stored};
use crate::policy::Policy;
use crate::runtime::Control;
use crate::unit::ServiceContext;

/// The routers of a service, each with the number of partitions that this process can handle.
pub(super) type Routers = Vec<(Arc<Router>, u32)>;

/// Returns the queues of subscriptions by their partitions, including those of other releases.
pub(super) fn owners(subscriptions: &[Subscription]) -> BTreeMap<Name, Name> {
    let with_partitions = subscriptions
        .iter()
        .filter(|it| it.policy.partitions.is_some());
    let all = with_partitions.flat_map(|it| {
        let numbers = 0..Policy::PARTITIONS_MAX;
        numbers.map(|number| (partition(it.queue, number), it.queue))
    });
    all.collect()
}

/// Adds the partitions to the subscriptions that have some, and starts their routers. A release
/// with fewer partitions than the one before also handles what is left in the others.
pub(super) async fn expand(
    context: &Arc<ServiceContext>,
    transport: &Arc<dyn Transport>,
    control: &watch::Receiver<Control>,
    subscriptions: Vec<Subscription>,
) -> (Vec<Subscription>, Routers) {
    let (mut all, mut routers) = (Vec::new(), Vec::new());
    for subscription in subscriptions {
        if let Some(declared) = subscription.policy.partitions {
            let queue = subscription.queue;
            let stored = stored(context, queue).await.unwrap_or_else(|why| {
                tracing::warn!(%queue, code = why.code(), "cannot read the number of partitions: {why}");
                None
            });
            let count = declared
                .max(stored.unwrap_or(0))
                .min(Policy::PARTITIONS_MAX);
            all.extend(subscription.partitions(count));
            let (service, transport) = (Arc::clone(context), Arc::clone(transport));
            let router = Arc::new(Router::new(service, transport, queue, declared));
            let announcing = Arc::clone(&router).announce(control.clone());
            context.runtime.spawn(Box::pin(announcing));
            routers.push((router, count));
        }
        all.push(subscription);
    }
    (all, routers)
}
