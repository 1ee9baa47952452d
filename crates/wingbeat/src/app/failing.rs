//! The parts of a service that limit it, and that deal with its failures.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use wingbeat_core::{MessageType, Name};

use crate::SharedRuntime;
use crate::dispatch::{Subscription, Switch};
use crate::failed::{Redrives, Sorting, Waiting};
use crate::runtime::Control;
use crate::service::Wiring;
use crate::unit::ServiceContext;

/// Starts to sort the dead letters of a service, and to search for deliveries that wait for this
/// release. Returns its redrives, and the types of messages that it takes.
pub(super) fn start(
    context: &Arc<ServiceContext>,
    wiring: &Wiring,
    control: &watch::Receiver<Control>,
) -> (Arc<Redrives>, Vec<MessageType>) {
    let sorting = Sorting {
        service: Arc::clone(context),
        kept: wiring.dead_letters_kept,
        control: control.clone(),
    };
    context.runtime.spawn(Box::pin(sorting.run()));
    if !wiring.subscriptions.is_empty() {
        let takes = wiring.subscriptions.iter();
        let waiting = Waiting {
            service: Arc::clone(context),
            takes: takes.map(|it| (it.queue, it.takes.clone())).collect(),
            control: control.clone(),
        };
        context.runtime.spawn(Box::pin(waiting.run()));
    }
    let queues = wiring.subscriptions.iter().map(|it| it.queue).collect();
    let taken = wiring.description.subscriptions.iter();
    let taken = taken.flat_map(|it| it.takes.iter().copied());
    (
        Arc::new(Redrives::new(Arc::clone(context), queues)),
        taken.collect(),
    )
}

/// Returns the kill switches of subscriptions, which notify `tripped`, by queue.
pub(super) fn switches<'a>(
    subscriptions: impl Iterator<Item = &'a Subscription>,
    runtime: &SharedRuntime,
    tripped: &Arc<Notify>,
) -> BTreeMap<Name, Arc<Switch>> {
    let mut switches = BTreeMap::new();
    for it in subscriptions {
        if let Some(policy) = it.policy.kill_switch {
            let new = || Switch::new(policy, Arc::clone(runtime), Arc::clone(tripped));
            switches
                .entry(it.owner())
                .or_insert_with(|| Arc::new(new()));
        }
    }
    switches
}
