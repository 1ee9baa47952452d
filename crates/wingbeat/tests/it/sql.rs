//! The model refuses SQL.

use std::sync::Arc;

use wingbeat::ports::{OpenTransaction, Statement, Store as _, Unit};
use wingbeat::test::{Model, Simulation};
use wingbeat::{Name, Timestamp};
use wingbeat_core::unit::Outcome;

/// The model cannot run SQL. Ignoring the statement would hide that from a test.
#[test]
fn a_unit_with_sql_is_refused() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    simulation.run(async move {
        let model = Model::new(runtime);
        let unit = |id| {
            let id = uuid::Uuid::from_u128(id).into();
            Unit::new(id, Name::new("library"), Timestamp::default())
        };
        let speaking = Unit {
            statements: vec![Statement::new("DELETE FROM books", ())],
            ..unit(1)
        };
        let in_transaction = Unit {
            transaction: Some(OpenTransaction::new(())),
            ..unit(2)
        };
        let units = Arc::new(vec![speaking, in_transaction, unit(3)]);
        let outcomes = model.store.commit(units).await;
        let expected = [Outcome::Refused, Outcome::Refused, Outcome::Committed];
        assert_eq!(outcomes.expect("it answers"), expected);
    });
}
