//! Messages that were committed and still have to be published.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;
use wingbeat_core::{Envelope, Error, HashMap, MessageId, Name, Outbox, Result, Timestamp};

use crate::due::NOW;
use crate::postgres::{Shared, micros};

/// Claimed messages whose places are remembered; beyond that, the oldest claims are looked up by id.
const PLACES_MAX: usize = 100_000;

/// Where claimed messages lie, so that they can be removed without an index on ids.
#[derive(Default)]
pub(crate) struct Places(Mutex<HashMap<Uuid, (Name, i64)>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (Name, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers where messages of a service lie.
    pub(crate) fn note(&self, service: Name, found: impl Iterator<Item = (Uuid, i64)>) {
        let mut places = self.lock();
        if places.len() > PLACES_MAX {
            places.clear();
        }
        places.extend(found.map(|(id, place)| (id, (service, place))));
    }
}

/// The outboxes of all services.
pub(crate) struct PostgresOutbox {
    pub(crate) shared: Arc<Shared>,
}

impl PostgresOutbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn claim_of(
        &self,
        service: Name,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Envelope>> {
        let sql = format!(
            "WITH next AS (
                SELECT place FROM {{schema}}.outbox WHERE lease_until IS NULL OR lease_until <= {NOW}
                ORDER BY place LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE {{schema}}.outbox o SET lease_until = {NOW} + $1 FROM next WHERE o.place = next.place
             RETURNING o.place, o.id, o.body"
        );
        let lease = micros(lease);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let reads = self.shared.reads(service)?;
        let mut rows = reads.query(&sql, &[&lease, &most]).await?;
        rows.sort_by_key(|row| row.get::<_, i64>(0));
        let found = rows.iter().map(|row| (row.get(1), row.get(0)));
        self.shared.places.note(service, found);
        rows.iter()
            .map(|row| {
                let (id, body): (Uuid, &[u8]) = (row.get(1), row.get(2));
                let body = Bytes::copy_from_slice(body);
                let unreadable = || Error::retry("outbox_unreadable", format!("message {id}"));
                Envelope::decode(&body).ok_or_else(unreadable)
            })
            .collect()
    }

    async fn release_of(&self, service: Name, places: &[i64], pauses: &[i64]) -> Result<()> {
        let sql = format!(
            "UPDATE {{schema}}.outbox o SET lease_until = {NOW} + l.pause
             FROM unnest($1::bigint[], $2::bigint[]) l(place, pause) WHERE o.place = l.place"
        );
        let reads = self.shared.reads(service)?;
        reads.query(&sql, &[&places, &pauses]).await.map(drop)
    }

    /// Removes messages by place, or those of unknown place by id. Not waited for until it is on disk: what comes
    /// back after a crash is published once more, and every subscriber has an inbox for that.
    async fn remove(&self, service: Name, places: &[i64], ids: &[Uuid]) -> Result<()> {
        let reads = self.shared.reads(service)?;
        let places = list(places.iter());
        let ids = list(ids.iter().map(|id| format!("'{id}'")));
        let which = match (places.is_empty(), ids.is_empty()) {
            (true, true) => return Ok(()),
            (_, true) => format!("place IN ({places})"),
            (true, _) => format!("id IN ({ids})"),
            (false, false) => format!("place IN ({places}) OR id IN ({ids})"),
        };
        let sql = format!(
            "SET LOCAL synchronous_commit = off; DELETE FROM {{schema}}.outbox WHERE {which}"
        );
        reads.execute(&sql).await
    }
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    items.join(",")
}

impl Outbox for PostgresOutbox {
    fn claim(
        &self,
        services: &[Name],
        _: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>> {
        let services = services.to_vec();
        Box::pin(async move {
            let mut claimed = Vec::new();
            for service in services {
                let left = limit - claimed.len();
                if left == 0 {
                    break;
                }
                claimed.extend(self.claim_of(service, lease, left).await?);
            }
            Ok(claimed)
        })
    }

    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut known: HashMap<Name, Vec<i64>> = HashMap::default();
            let mut unknown = Vec::new();
            {
                let places = self.shared.places.lock();
                for id in &ids {
                    match places.get(&id.0) {
                        Some((service, place)) => known.entry(*service).or_default().push(*place),
                        None => unknown.push(id.0),
                    }
                }
            }
            for (service, places) in known {
                self.remove(service, &places, &[]).await?;
            }
            if !unknown.is_empty() {
                for service in self.shared.services() {
                    self.remove(service, &[], &unknown).await?;
                }
            }
            let mut places = self.shared.places.lock();
            for id in &ids {
                places.remove(&id.0);
            }
            Ok(())
        })
    }

    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut of: HashMap<Name, (Vec<i64>, Vec<i64>)> = HashMap::default();
            {
                let places = self.shared.places.lock();
                for (id, pause) in pauses {
                    // One whose place is forgotten waits for the end of its lease.
                    if let Some((service, place)) = places.get(&id.0) {
                        let (rows, lengths) = of.entry(*service).or_default();
                        rows.push(*place);
                        lengths.push(micros(pause));
                    }
                }
            }
            for (service, (rows, lengths)) in of {
                self.release_of(service, &rows, &lengths).await?;
            }
            Ok(())
        })
    }

    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>> {
        let kind = kind.to_owned();
        Box::pin(async move {
            let mut waiting = 0;
            for service in self.shared.services() {
                let reads = self.shared.reads(service)?;
                let sql = "SELECT count(*) FROM {schema}.outbox WHERE kind = $1";
                let rows = reads.query(sql, &[&kind]).await?;
                waiting += rows[0].get::<_, i64>(0).unsigned_abs();
            }
            Ok(waiting)
        })
    }
}
