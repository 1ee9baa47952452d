//! The stored number of partitions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result};

use crate::unit::{Scope, ServiceContext, run_unit};
use crate::{decode, encode};

/// The table of subscriptions with partitions; ids are the names of their queues.
pub(super) const SPREADS: Name = Name::new("wb.partitions");

/// The way in which the messages of a subscription are spread over partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spread {
    /// The number of partitions that messages are moved to; 0 if they are handled in the queue of
    /// the subscription.
    pub(super) count: u32,
    /// The number that is to follow, once all messages in the present partitions are settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u32>,
    /// The router that may change the number: the one that became active last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) router: Option<Uuid>,
}

impl Spread {
    pub(super) fn new(count: u32) -> Self {
        Self {
            count,
            next: None,
            router: None,
        }
    }

    /// Returns the state after a process with this number of partitions has started.
    fn wanted(self, count: u32) -> Self {
        Self {
            next: (count != self.count).then_some(count),
            ..self
        }
    }

    pub(super) async fn load(scope: &Scope, queue: Name) -> Result<Option<Self>> {
        let body = scope.load(&key(queue)).await?.body;
        body.map(|it| decode(&it)).transpose()
    }

    pub(super) fn put(&self, scope: &Scope, queue: Name) -> Result<()> {
        scope.write(Write {
            key: key(queue),
            body: Some(encode(self)),
            due_at: None,
            expires_at: None,
        })
    }
}

fn key(queue: Name) -> Key {
    Key::new(SPREADS, queue.as_str())
}

/// Returns the largest number of partitions that may have messages, as far as it is stored.
pub(crate) async fn stored(service: &ServiceContext, queue: Name) -> Result<Option<u32>> {
    let Some(record) = service.store.load(&key(queue)).await? else {
        return Ok(None);
    };
    let spread: Spread = decode(&record.body)?;
    Ok(Some(spread.count.max(spread.next.unwrap_or(0))))
}

/// Stores the number of partitions that this release declares, unless it is none and there never
/// were any. The process that started last decides.
pub(super) async fn announce(service: &Arc<ServiceContext>, queue: Name, count: u32) -> Result<()> {
    run_unit(service, |scope| async move {
        let known = Spread::load(&scope, queue).await?;
        if known.is_none() && count == 0 {
            return Ok(());
        }
        let wanted = known.clone().unwrap_or_else(|| Spread::new(count));
        let wanted = wanted.wanted(count);
        if known.as_ref() != Some(&wanted) {
            wanted.put(&scope, queue)?;
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_that_started_last_decides() {
        let spread = Spread::new(2).wanted(2);
        assert_eq!(spread, Spread::new(2));
        let grows = spread.wanted(4);
        assert_eq!((grows.count, grows.next), (2, Some(4)));
        assert_eq!(grows.clone().wanted(8).next, Some(8));
        assert_eq!(grows.wanted(2), Spread::new(2), "nothing has moved yet");
        let ends = Spread::new(2).wanted(0);
        assert_eq!((ends.count, ends.next), (2, Some(0)));
    }
}
