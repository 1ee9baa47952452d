//! Moves messages of a subscription with partitions to their partitions, instead of handling them.

use std::time::Duration;

use wingbeat_core::unit::{Outcome, Settled};
use wingbeat_core::{Result, RuntimeExt as _, Unit};

use super::attempt::{Attempt, End};
use super::work::{Origin, Work};
use crate::partition::{Place, Router, Undone};
use crate::runtime::Control;
use crate::unit::{Scope, counter};

/// The time after which a message is released that could not be moved. RabbitMQ ends a consumer
/// that holds a delivery for 30 minutes.
const HOLD_MAX: Duration = Duration::from_secs(600);

/// The code of a message that arrived from the broker, and that it does not take again.
const IMPOSSIBLE: &str = "impossible";

impl Attempt {
    /// Moves messages of a subscription with partitions. Returns the work that is handled here.
    pub(super) async fn left_after_moving(&self, works: Vec<Work>) -> Vec<Work> {
        let Some(router) = &self.router else {
            return works;
        };
        let mut left = Vec::with_capacity(works.len());
        for work in works {
            let is_queued = matches!(work.origin, Origin::Queue(_)) && work.hopeless.is_none();
            if is_queued {
                left.extend(self.forward(router, work).await);
            } else {
                left.push(work);
            }
        }
        left
    }

    /// Makes the unit that settles the mark of a router.
    pub(super) fn settle_mark(&self, scope: &Scope, settles: Option<Settled>) -> Result<Unit> {
        // Settling counts the delivery as handled, but no handler takes it.
        scope.count(counter("handled", self.subscription.inbox().as_str()), -1)?;
        scope.seal(settles)
    }

    /// Moves a message. Returns it if it is handled here or becomes a dead letter instead.
    async fn forward(&self, router: &Router, mut work: Work) -> Option<Work> {
        let mut control = self.control.clone();
        let stopped = control.wait_for(|it| *it != Control::Running);
        let forwarding = self
            .service
            .runtime
            .timeout(HOLD_MAX, router.forward(&work.envelope));
        let forwarded = tokio::select! {
            biased;
            forwarded = forwarding => forwarded.unwrap_or(Err(Undone::Released)),
            _ = stopped => Err(Undone::Released),
        };
        match forwarded {
            Ok(Place::Here) => return Some(work),
            Ok(Place::Partition) => self.finish(work, End::Settled(Outcome::Committed)),
            Err(Undone::Released) => self.finish(work, End::Released),
            Err(Undone::Impossible(why)) => {
                work.hopeless = Some((IMPOSSIBLE, why));
                return Some(work);
            }
        }
        None
    }
}
