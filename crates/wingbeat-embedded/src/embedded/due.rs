//! Claims due records.

use std::time::Duration;

use wingbeat_core::store::DueRecord;
use wingbeat_core::{Key, Name, Result, Timestamp};

use super::Embedded;
use crate::reads;

impl Embedded {
    /// Claims due records of these services, soonest first.
    pub(super) fn claim(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DueRecord>> {
        let (names, leases) = (&self.shared.names, &self.shared.leases);
        // Leased records are skipped below.
        let most = limit + leases.count();
        let mut due = Vec::new();
        for table in names.tables(services) {
            due.extend(self.read_inline(|connection| reads::due(connection, table, now, most))?);
        }
        due.sort_by_key(|due| due.at);
        let mut claimed = Vec::new();
        for due in due {
            if claimed.len() == limit {
                break;
            }
            if !leases.acquire(&due.key, due.version, now, now + lease) {
                continue;
            }
            let record = self.load_key(&due.key)?;
            // A newer version, written in the meantime, is not leased.
            let Some(record) = record.filter(|record| record.version == due.version) else {
                continue;
            };
            let table = names.name(due.key.table);
            let service = names.parent(due.key.table).and_then(|it| names.name(it));
            if let (Some(service), Some(table)) = (service, table) {
                let key = Key::new(table, due.key.id.to_string());
                claimed.push(DueRecord {
                    service,
                    key,
                    record,
                });
            }
        }
        Ok(claimed)
    }

    /// Returns when the next record of these services is due that is not leased.
    pub(super) fn soonest(&self, services: &[Name]) -> Result<Option<Timestamp>> {
        let (names, leases) = (&self.shared.names, &self.shared.leases);
        let now = self.now();
        // One of them is not leased, if there is one.
        let most = 1 + leases.count();
        let mut soonest: Option<Timestamp> = None;
        for table in names.tables(services) {
            let due =
                self.read_inline(|connection| reads::due(connection, table, Timestamp::MAX, most))?;
            let free = due
                .iter()
                .find(|due| leases.is_free(&due.key, due.version, now));
            if let Some(due) = free {
                soonest = Some(soonest.map_or(due.at, |at| at.min(due.at)));
            }
        }
        Ok(soonest)
    }
}
