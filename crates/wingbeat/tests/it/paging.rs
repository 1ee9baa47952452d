//! Cursors and envelopes with any content.

use bytes::Bytes;
use proptest::prelude::*;
use wingbeat::ports::{Envelope, Kind, Store as _, Unit};
use wingbeat::store::{Query, Select};
use wingbeat::test::{Model, Simulation};
use wingbeat::{Name, Timestamp};
use wingbeat_core::unit::{Row, RowWrite};

const SERVICE: Name = Name::new("library");
const VIEW: Name = Name::new("books");
const COLUMN: Name = Name::new("shelf");

fn unit(rows: Vec<RowWrite>) -> Unit {
    let id = uuid::Uuid::from_u128(1).into();
    Unit {
        rows,
        ..Unit::new(id, SERVICE, Timestamp::default())
    }
}

fn row((key, shelf): (&String, &String)) -> RowWrite {
    RowWrite {
        view: VIEW,
        key: key.clone(),
        row: Some(Row {
            columns: vec![(COLUMN, shelf.clone())],
            body: Bytes::from_static(b"{}"),
        }),
    }
}

proptest! {
    #[test]
    fn following_the_cursor_returns_every_row_once_and_in_order(
        books in proptest::collection::btree_map("[a-c]{1,3}", "[xy]{0,2}", 0..30),
        limit in 1_usize..7,
        descending: bool,
    ) {
        let simulation = Simulation::new(1);
        let store = Model::new(simulation.runtime()).store;
        let units = std::sync::Arc::new(vec![unit(books.iter().map(row).collect())]);
        simulation.run(store.commit(units)).expect("commits");
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let select = Select::Prefix { column: COLUMN, prefix: String::new(), descending };
            let query = Query { view: VIEW, select, after, limit };
            let page = simulation.run(store.rows(SERVICE, query)).expect("reads");
            prop_assert!(page.rows.len() <= limit);
            seen.extend(page.rows.into_iter().map(|(key, _)| key));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut expected: Vec<_> = books.iter().map(|(key, shelf)| (shelf, key)).collect();
        expected.sort();
        if descending {
            expected.reverse();
        }
        let expected: Vec<_> = expected.into_iter().map(|(_, key)| key.clone()).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn an_envelope_survives_its_encoding(
        key in ".*", source in "[a-z]{1,9}", kind in "[a-z.]{1,20}", command: bool,
        sequence: Option<u64>, operation in proptest::option::of(".*"), id: u128,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let envelope = Envelope {
            id: uuid::Uuid::from_u128(id).into(),
            source: source.into(),
            kind: kind.into(),
            role: if command { Kind::Command } else { Kind::Event },
            key,
            time: Timestamp::from_millis(1),
            correlation: uuid::Uuid::from_u128(id / 2).into(),
            causation: Some(uuid::Uuid::from_u128(id / 3).into()),
            sequence,
            operation,
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: None,
            body: body.into(),
        };
        let bytes = Bytes::from(envelope.encode());
        prop_assert_eq!(Envelope::decode(&bytes), Some(envelope));
        for end in 0..bytes.len().min(40) {
            // A truncated envelope is refused without a panic.
            drop(Envelope::decode(&bytes.slice(..end)));
        }
    }
}
