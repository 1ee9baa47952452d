//! Changes of stored data that no handler has made.

use std::sync::Arc;

use serde_json::Value;
use wingbeat::Name;
use wingbeat::ports::{Key, Unit};
use wingbeat_core::unit::{Outcome, RowWrite, Write};

use super::Shop;

fn unit(service: &'static str) -> Unit {
    let id = uuid::Uuid::from_u128(fastrand::u128(..)).into();
    Unit::new(id, Name::new(service), wingbeat::Timestamp::default())
}

impl Shop {
    async fn commit(&self, unit: Unit) {
        let outcomes = self
            .open
            .host
            .ports()
            .store
            .commit(Arc::new(vec![unit]))
            .await;
        assert_eq!(outcomes.unwrap(), [Outcome::Committed]);
    }

    /// Changes a record; `None` removes it.
    pub(super) async fn change(
        &self,
        service: &'static str,
        table: &'static str,
        id: &str,
        change: impl FnOnce(Value) -> Option<Value>,
    ) {
        let key = Key::new(Name::new(table), id);
        let record = self
            .open
            .host
            .ports()
            .store
            .load(Name::new(service), &key)
            .await;
        let record = record.unwrap().expect("the record exists");
        let changed = change(serde_json::from_slice(&record.body).unwrap());
        let write = Write {
            key,
            body: changed.map(|value| value.to_string().into()),
            due_at: None,
            expires_at: None,
        };
        let writes = vec![write];
        self.commit(Unit {
            writes,
            ..unit(service)
        })
        .await;
    }

    /// Changes a row of a view.
    pub(super) async fn change_row(
        &self,
        service: &'static str,
        view: &'static str,
        key: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let found = self
            .open
            .host
            .ports()
            .store
            .row(Name::new(service), Name::new(view), key)
            .await;
        let mut row = found.unwrap().expect("the row exists");
        let mut body = serde_json::from_slice(&row.body).unwrap();
        change(&mut body);
        row.body = body.to_string().into();
        let write = RowWrite {
            view: Name::new(view),
            key: key.into(),
            row: Some(row),
        };
        let rows = vec![write];
        self.commit(Unit {
            rows,
            ..unit(service)
        })
        .await;
    }

    /// Increments a counter.
    pub(super) async fn count(&self, service: &'static str, counter: &'static str) {
        let counts = vec![(Name::new(counter), 1)];
        self.commit(Unit {
            counts,
            ..unit(service)
        })
        .await;
    }

    /// Changes the provider's ledger.
    pub(super) fn change_ledger(&self, sql: &str, order: &str) {
        let ledger = rusqlite::Connection::open(self.place.data.join("provider.db")).unwrap();
        let order: uuid::Uuid = order.parse().unwrap();
        let changed = ledger.execute(sql, [order.as_bytes().as_slice()]);
        assert_eq!(changed.unwrap(), 1);
    }
}
