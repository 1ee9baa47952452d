//! The model's outbox.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::{Envelope, MessageId, Name, Outbox, Result, Timestamp};

use super::data::Data;
use super::{Injector, lock};

/// The leases of messages, by position: their ends. A restart of the store loses them.
pub(super) type Leases = BTreeMap<u64, Timestamp>;

pub(super) struct ModelOutbox {
    pub(super) injector: Injector,
    pub(super) data: Arc<Mutex<Data>>,
    pub(super) leases: Arc<Mutex<Leases>>,
}

impl ModelOutbox {
    fn claim_messages(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Vec<Envelope> {
        let data = lock(&self.data);
        let mut leases = lock(&self.leases);
        let free = data.outbox.iter().filter(|(position, (service, _))| {
            services.contains(service) && leases.get(position).is_none_or(|end| *end <= now)
        });
        let claimed: Vec<_> = free.take(limit).collect();
        leases.extend(
            claimed
                .iter()
                .map(|(position, _)| (**position, now + lease)),
        );
        claimed
            .into_iter()
            .map(|(_, (_, envelope))| envelope.clone())
            .collect()
    }
}

impl Outbox for ModelOutbox {
    fn claim(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>> {
        let services = services.to_vec();
        Box::pin(async move {
            self.injector.reach_store().await?;
            Ok(self.claim_messages(&services, now, lease, limit))
        })
    }

    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.injector.reach_store().await?;
            let mut data = lock(&self.data);
            let mut leases = lock(&self.leases);
            for id in ids {
                if let Some(position) = data.positions.remove(&id) {
                    data.outbox.remove(&position);
                    leases.remove(&position);
                }
            }
            Ok(())
        })
    }

    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.injector.reach_store().await?;
            let data = lock(&self.data);
            let mut leases = lock(&self.leases);
            for (id, pause) in pauses {
                if let Some(position) = data.positions.get(&id) {
                    leases.insert(*position, now + pause);
                }
            }
            Ok(())
        })
    }

    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>> {
        let kind = kind.to_owned();
        Box::pin(async move {
            self.injector.reach_store().await?;
            let data = lock(&self.data);
            let of_kind = data.outbox.values().filter(|(_, m)| m.kind == *kind);
            Ok(of_kind.count() as u64)
        })
    }
}
