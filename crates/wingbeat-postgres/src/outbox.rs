//! The outbox: committed messages that are not yet published.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;
use wingbeat_core::{Envelope, Error, HashMap, MessageId, Name, Outbox, Result, Timestamp};

use crate::clock::{NOW, micros};
use crate::database::Database;

/// The outboxes of all services.
pub(crate) struct PostgresOutbox(Arc<Database>);

impl PostgresOutbox {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self(database)
    }

    /// Leases the oldest messages that nobody has leased. Relays of other processes skip locked
    /// rows instead of waiting for them. A lease that expires makes the message claimable again, so
    /// another process publishes the messages of one that has died.
    async fn claim_of(
        &self,
        service: Name,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Envelope>> {
        let sql = format!(
            "WITH next AS (
                SELECT place FROM {{schema}}.outbox
                WHERE lease_until IS NULL OR lease_until <= {NOW}
                ORDER BY place LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE {{schema}}.outbox o SET lease_until = {NOW} + $1
             FROM next WHERE o.place = next.place
             RETURNING o.place, o.id, o.body"
        );
        let lease = micros(lease);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let reads = self.0.reads(service)?;
        let mut rows = reads.query(&sql, &[&lease, &most]).await?;
        rows.sort_by_key(|row| row.get::<_, i64>(0));
        let found = rows.iter().map(|row| (row.get(1), row.get(0)));
        self.0.places.insert(service, found);
        rows.iter()
            .map(|row| {
                let (id, body): (Uuid, &[u8]) = (row.get(1), row.get(2));
                let body = Bytes::copy_from_slice(body);
                let unreadable = || {
                    let text = format!("cannot decode message {id} in the outbox of {service}");
                    Error::retry("outbox_unreadable", text)
                };
                Envelope::decode(&body).ok_or_else(unreadable)
            })
            .collect()
    }

    /// Replaces the leases of unconfirmed messages by pauses, after which any relay claims them.
    async fn release_of(&self, service: Name, places: &[i64], pauses: &[i64]) -> Result<()> {
        let sql = format!(
            "UPDATE {{schema}}.outbox o SET lease_until = {NOW} + l.pause
             FROM unnest($1::bigint[], $2::bigint[]) l(place, pause) WHERE o.place = l.place"
        );
        let reads = self.0.reads(service)?;
        reads.query(&sql, &[&places, &pauses]).await.map(drop)
    }

    /// Deletes messages by place, or by id if the place is unknown. Does not wait until the
    /// deletion is durable: a message that reappears after a crash is published again, and the
    /// inboxes of its subscribers discard the duplicate.
    async fn delete(&self, service: Name, places: &[i64], ids: &[Uuid]) -> Result<()> {
        let reads = self.0.reads(service)?;
        let places = list(places.iter());
        let ids = list(ids.iter().map(|id| format!("'{id}'")));
        let condition = match (places.is_empty(), ids.is_empty()) {
            (true, true) => return Ok(()),
            (_, true) => format!("place IN ({places})"),
            (true, _) => format!("id IN ({ids})"),
            (false, false) => format!("place IN ({places}) OR id IN ({ids})"),
        };
        let sql = format!(
            "SET LOCAL synchronous_commit = off; DELETE FROM {{schema}}.outbox WHERE {condition}"
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
            let found = self.0.places.get_all(ids.iter().copied());
            for (id, place) in ids.iter().zip(found) {
                match place {
                    Some((service, place)) => known.entry(service).or_default().push(place),
                    None => unknown.push(id.0),
                }
            }
            for (service, places) in known {
                self.delete(service, &places, &[]).await?;
            }
            if !unknown.is_empty() {
                for service in self.0.services() {
                    self.delete(service, &[], &unknown).await?;
                }
            }
            self.0.places.remove_all(&ids);
            Ok(())
        })
    }

    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut by_service: HashMap<Name, (Vec<i64>, Vec<i64>)> = HashMap::default();
            let found = self.0.places.get_all(pauses.iter().map(|(id, _)| *id));
            for ((_, pause), place) in pauses.iter().zip(found) {
                // A message whose place is unknown stays leased until its lease expires.
                if let Some((service, place)) = place {
                    let (places, pauses) = by_service.entry(service).or_default();
                    places.push(place);
                    pauses.push(micros(*pause));
                }
            }
            for (service, (places, pauses)) in by_service {
                self.release_of(service, &places, &pauses).await?;
            }
            Ok(())
        })
    }

    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>> {
        let kind = kind.to_owned();
        Box::pin(async move {
            let mut waiting = 0;
            for service in self.0.services() {
                let reads = self.0.reads(service)?;
                let sql = "SELECT count(*) FROM {schema}.outbox WHERE kind = $1";
                let rows = reads.query(sql, &[&kind]).await?;
                waiting += rows[0].get::<_, i64>(0).unsigned_abs();
            }
            Ok(waiting)
        })
    }
}
