//! The partitions of subscriptions when they start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::{Name, Transport};

use crate::dispatch::Subscription;
use crate::partition::{Router, partition, stored};
use crate::policy::Policy;
use crate::runtime::Control;
use crate::unit::ServiceContext;

/// The pause between two attempts to read the number of partitions.
const AGAIN: Duration = Duration::from_secs(1);

/// The routers of a service, each with the number of partitions that this process can handle.
pub(super) type Routers = Vec<(Arc<Router>, u32)>;

/// Returns the queues of subscriptions by their partitions, including those of other releases.
pub(super) fn owners(subscriptions: &[Subscription]) -> BTreeMap<Name, Name> {
    let with_partitions = subscriptions.iter().filter(|it| it.policy.keeps_order());
    let all = with_partitions.flat_map(|it| {
        let numbers = 0..Policy::PARTITIONS_MAX;
        numbers.map(|number| (partition(it.queue, number), it.queue))
    });
    all.collect()
}

/// Adds the partitions to the subscriptions that have some, and starts the routers of all that keep
/// the order. A release with fewer partitions than the one before, or none, also handles what is
/// left in the others.
pub(super) async fn expand(
    context: &Arc<ServiceContext>,
    transport: &Arc<dyn Transport>,
    control: &watch::Receiver<Control>,
    subscriptions: Vec<Subscription>,
) -> (Vec<Subscription>, Routers) {
    let (mut all, mut routers) = (Vec::new(), Vec::new());
    for subscription in subscriptions {
        if let Some((declared, count)) = partitions(context, &subscription, control.clone()).await {
            let queue = subscription.queue;
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

/// Returns the number of partitions of this release, and of those that may have messages; `None`
/// for a subscription that never has partitions.
async fn partitions(
    context: &ServiceContext,
    subscription: &Subscription,
    mut control: watch::Receiver<Control>,
) -> Option<(u32, u32)> {
    let policy = &subscription.policy;
    if !policy.keeps_order() || subscription.replays.is_some() {
        return None;
    }
    let stored = loop {
        let why = match stored(context, subscription.queue).await {
            Ok(stored) => break stored.unwrap_or(0),
            Err(why) => why,
        };
        let (queue, code) = (subscription.queue, why.code());
        tracing::warn!(%queue, code, "cannot read the number of partitions, trying again: {why}");
        // Older messages may be in partitions, so nothing is handled until it is known.
        tokio::select! {
            biased;
            _ = control.changed() => break 0,
            () = context.runtime.sleep(AGAIN) => {}
        }
    };
    let declared = policy.partitions.unwrap_or(0);
    let count = declared.max(stored).min(Policy::PARTITIONS_MAX);
    Some((declared, count))
}
