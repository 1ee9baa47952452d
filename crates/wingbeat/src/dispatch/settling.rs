//! Makes the unit of an attempt settle its work.

use wingbeat_core::unit::Settled;
use wingbeat_core::{Result, Tag, sabotage};

use super::attempt::Attempt;
use super::work::{Origin, Work};
use crate::failed::{PARKED, WAITING};
use crate::unit::{Scope, counter, remove};

impl Attempt {
    /// Makes the unit of `scope` settle the work; `None` if another unit has settled it.
    pub(super) async fn settle(
        &self,
        scope: &Scope,
        work: &Work,
    ) -> Result<Option<Option<Settled>>> {
        match &work.origin {
            Origin::Queue(tag) => {
                // No service of the system published it: audits leave it out.
                if !self.family.contains(work.source()) {
                    scope.count(counter("foreign", self.subscription.owner().as_str()), 1)?;
                }
                Ok(Some(Some(self.delivery(work, *tag))))
            }
            Origin::Due { key, body } => {
                // Since the claim another unit may have handled, replaced or cancelled the record.
                let unchanged = scope.load(key).await?.body.as_ref() == Some(body);
                if !unchanged && !sabotage::lacks(sabotage::TIMER_ONCE) {
                    return Ok(None);
                }
                scope.write(remove(key.clone()))?;
                if key.table == PARKED || key.table == WAITING {
                    scope.count(counter("handled", self.subscription.inbox().as_str()), 1)?;
                    scope.count(counter("parked", self.subscription.owner().as_str()), -1)?;
                }
                Ok(Some(None))
            }
        }
    }

    /// Returns the delivery of work from the queue.
    pub(super) fn delivery(&self, work: &Work, tag: Tag) -> Settled {
        Settled {
            queue: self.subscription.inbox(),
            source: work.source().to_owned(),
            message: self.subscription.settled_id(&work.envelope),
            tag: Some(tag),
        }
    }

    /// Makes the unit of `scope` settle a command that was dead-lettered as forged and turned out
    /// not to be, like a delivery: the broker may have another copy of it.
    pub(super) fn settle_suspect(&self, scope: &Scope, work: &Work) -> Result<Option<Settled>> {
        let (queue, source) = (self.subscription.inbox(), &work.envelope.source);
        if self.family.contains(&**source) {
            scope.count(counter("foreign", queue.as_str()), -1)?;
        }
        // Settling a delivery counts it as handled; that was done for the parked record.
        scope.count(counter("handled", queue.as_str()), -1)?;
        Ok(Some(Settled {
            queue,
            source: source.to_string(),
            message: self.subscription.settled_id(&work.envelope),
            tag: None,
        }))
    }
}
