//! The parts of a service that deal with its failures.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use wingbeat_core::{Name, Transport};

use super::partitions;
use super::running::Running;
use crate::SharedRuntime;
use crate::dispatch::{Subscription, Switch};
use crate::due::DueRunner;
use crate::failed::{BrokerDeadLetters, Redrives, Sorting, Waiting};
use crate::runtime::Control;
use crate::service::Wiring;
use crate::unit::ServiceContext;

/// Starts to record and to sort the dead letters of a service, and to search for deliveries that
/// wait for this release. Registers its redrives, and the types of messages that it takes.
pub(super) fn start(
    context: &Arc<ServiceContext>,
    wiring: &Wiring,
    (control, transport): (&watch::Receiver<Control>, &Arc<dyn Transport>),
    (due, running): (&mut DueRunner, &mut Running),
) {
    let sorting = Sorting {
        service: Arc::clone(context),
        kept: wiring.dead_letters_kept,
        control: control.clone(),
    };
    context.runtime.spawn(Box::pin(sorting.run()));
    // Without queues nothing waits, and the broker has nothing to dead-letter.
    if !wiring.subscriptions.is_empty() {
        from_the_broker(context, wiring, control, transport);
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
    let redrives = Arc::new(Redrives::new(Arc::clone(context), queues));
    due.redrives.insert(context.name, Arc::clone(&redrives));
    running.redrives.insert(context.name, redrives);
    running.schemas.insert(context.name, taken.collect());
}

/// Starts to record what the broker has dead-lettered.
fn from_the_broker(
    context: &Arc<ServiceContext>,
    wiring: &Wiring,
    control: &watch::Receiver<Control>,
    transport: &Arc<dyn Transport>,
) {
    let subscriptions = &wiring.subscriptions;
    let letters = BrokerDeadLetters::new(
        Arc::clone(context),
        Arc::clone(transport),
        subscriptions.iter().map(|it| it.queue).collect(),
        control.clone(),
    );
    let letters = letters.with_partitions(partitions::owners(subscriptions));
    #[cfg(feature = "personal")]
    let letters = letters.with_personal({
        let personal = subscriptions.iter().filter(|it| it.policy.personal);
        personal.map(|it| it.queue).collect()
    });
    context.runtime.spawn(Box::pin(letters.run()));
}

/// Returns the kill switches of subscriptions, which notify `tripped`, by queue.
pub(super) fn switches(
    subscriptions: &[(Arc<Subscription>, watch::Sender<Control>)],
    runtime: &SharedRuntime,
    tripped: &Arc<Notify>,
) -> BTreeMap<Name, Arc<Switch>> {
    let mut switches = BTreeMap::new();
    for (it, _) in subscriptions {
        if let Some(policy) = it.policy.kill_switch {
            let new = || Switch::new(policy, Arc::clone(runtime), Arc::clone(tripped));
            switches
                .entry(it.owner())
                .or_insert_with(|| Arc::new(new()));
        }
    }
    switches
}
