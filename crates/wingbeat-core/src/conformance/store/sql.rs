//! The conformance suite of stores that run [`Statement`]s.
//!
//! `sql_conformance!` turns each test into a `#[test]`. The fixture creates [`TABLES`], and reads
//! them with [`Fixture::number`].

use std::sync::Arc;

use super::commit::{everything, parts};
use crate::conformance::{Bench, Fixture, PLACED, STOCK_PLACED, put, read};
use crate::statement::{Params, Statement, Unmet};
use crate::unit::Outcome;
use crate::{Param, Unit};

/// The tables of the tests, for SQLite and PostgreSQL.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS stock(sku text PRIMARY KEY, free bigint NOT NULL CHECK (free >= 0));
CREATE TABLE IF NOT EXISTS taken(sku text NOT NULL, note text, count bigint, weight double precision);
";

const ADD: &str = "INSERT INTO stock(sku, free) VALUES ($1, $2)";
const TAKE: &str = "UPDATE stock SET free = free - 1 WHERE sku = $1 AND free > 0";
const FREE: &str = "SELECT free FROM stock WHERE sku = 'egg'";
const TAKEN: &str = "SELECT count(*) FROM taken";

fn running(bench: &Bench, text: &'static str, params: impl Params) -> Unit {
    Unit {
        statements: vec![Statement::new(text, params)],
        ..bench.unit()
    }
}

/// Creates a unit that takes one egg, which must exist, and inserts a row for it.
fn taking(bench: &Bench) -> Unit {
    Unit {
        statements: vec![
            Statement::new("INSERT INTO taken(sku) VALUES ($1)", ["egg"]),
            Statement::new(TAKE, ["egg"]).expecting(1),
        ],
        ..bench.unit()
    }
}

/// The outcome of [`taking`] without an egg.
const NONE_LEFT: Outcome = Outcome::Unmet(Unmet::Rows {
    statement: 2,
    changed: 0,
    expected: 1,
});

async fn with_eggs(fixture: &Arc<dyn Fixture>, eggs: i64) -> Bench {
    let bench = Bench::open(fixture).await;
    let unit = running(&bench, ADD, ("egg", eggs));
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    bench
}

/// Statements and other effects of a unit become visible together.
pub async fn statements_take_effect_with_the_rest_of_the_unit(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 3).await;
    let unit = Unit {
        statements: taking(&bench).statements,
        ..everything(&bench, "a")
    };
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    assert_eq!(parts(&bench, &unit, "a").await, 7);
    assert_eq!(fixture.number(FREE).await, 2);
    assert_eq!(fixture.number(TAKEN).await, 1);
}

/// If a statement changes an unexpected number of rows, the unit has no effect and can be submitted
/// again.
pub async fn an_unmet_expectation_rolls_back_the_unit(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 0).await;
    let mut unit = Unit {
        statements: taking(&bench).statements,
        ..everything(&bench, "a")
    };
    unit.messages.push(bench.message(PLACED));
    assert_eq!(bench.commit(unit.clone()).await, NONE_LEFT);
    assert_eq!(parts(&bench, &unit, "a").await, 0);
    assert_eq!(fixture.number(TAKEN).await, 0);
    if let Some(outbox) = bench.store.outbox() {
        assert_eq!(
            outbox.waiting(PLACED).await.expect("the store can be read"),
            0
        );
    }
    bench.assert_depth(STOCK_PLACED, 0).await;
    // The delivery is not settled either, so it can be handled once there are eggs.
    let more = running(&bench, "UPDATE stock SET free = 5 WHERE sku = $1", ["egg"]);
    assert_eq!(bench.commit(more).await, Outcome::Committed);
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    assert_eq!(parts(&bench, &unit, "a").await, 7);
}

/// An unmet unit affects only units that read its writes.
pub async fn neighbours_of_an_unmet_unit_are_committed(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 0).await;
    let write = |id: &str| Unit {
        writes: vec![put(id, "1")],
        statements: vec![Statement::new("INSERT INTO taken(sku) VALUES ($1)", [id])],
        ..bench.unit()
    };
    let unmet = Unit {
        writes: vec![put("b", "1")],
        ..taking(&bench)
    };
    let built = Unit {
        reads: vec![read("b", 1)],
        ..write("d")
    };
    let outcomes = bench
        .commit_all(vec![write("a"), unmet, write("c"), built])
        .await;
    let expected = [
        Outcome::Committed,
        NONE_LEFT,
        Outcome::Committed,
        Outcome::Stale,
    ];
    assert_eq!(outcomes, expected);
    assert!(bench.load("a").await.is_some() && bench.load("c").await.is_some());
    assert_eq!((bench.load("b").await, bench.load("d").await), (None, None));
    assert_eq!(fixture.number(TAKEN).await, 2);
}

/// Of 15 units that each take one of 10 eggs, the first 10 are committed.
pub async fn statements_see_earlier_units_of_the_batch(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 10).await;
    let units = (0..15).map(|_| taking(&bench)).collect();
    let outcomes = bench.commit_all(units).await;
    let (committed, rest) = outcomes.split_at(10);
    assert!(committed.iter().all(|it| *it == Outcome::Committed));
    assert!(rest.iter().all(|it| *it == NONE_LEFT), "{rest:?}");
    assert_eq!(fixture.number(FREE).await, 0);
    assert_eq!(fixture.number(TAKEN).await, 10);
}

/// Submitting a unit again runs no statement, also after a restart.
pub async fn a_unit_submitted_again_runs_no_statement_twice(fixture: Arc<dyn Fixture>) {
    let mut bench = with_eggs(&fixture, 9).await;
    let with_delivery = Unit {
        settles: vec![bench.settlement()],
        ..taking(&bench)
    };
    for unit in [taking(&bench), with_delivery] {
        let twice = vec![unit.clone(), unit.clone()];
        assert_eq!(bench.commit_all(twice).await, [Outcome::Committed; 2]);
        assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
        bench = bench.reopen(&fixture).await;
        let among_others = vec![taking(&bench), unit.clone()];
        let outcomes = bench.commit_all(among_others).await;
        assert_eq!(outcomes, [Outcome::Committed; 2]);
    }
    assert_eq!(fixture.number(FREE).await, 5);
    assert_eq!(fixture.number(TAKEN).await, 4);
}

/// A unit that settles a known delivery runs no statement.
pub async fn a_duplicate_delivery_runs_no_statement(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 9).await;
    let delivery = vec![bench.settlement()];
    let handled = || Unit {
        settles: delivery.clone(),
        ..taking(&bench)
    };
    let both = vec![handled(), handled()];
    let outcomes = bench.commit_all(both).await;
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Duplicate]);
    assert_eq!(bench.commit(handled()).await, Outcome::Duplicate);
    assert_eq!(fixture.number(FREE).await, 8);
}

/// A stale unit runs no statement.
pub async fn a_stale_unit_runs_no_statement(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 9).await;
    let stale = Unit {
        reads: vec![read("missing", 7)],
        ..taking(&bench)
    };
    assert_eq!(bench.commit(stale.clone()).await, Outcome::Stale);
    let outcomes = bench.commit_all(vec![taking(&bench), stale]).await;
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Stale]);
    assert_eq!(fixture.number(FREE).await, 8);
}

/// Invalid SQL, violated constraints, several statements and transaction control are refused, each
/// alone.
pub async fn a_statement_that_cannot_run_refuses_its_unit_alone(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 99).await;
    let broken = [
        running(&bench, "UPDATE stock SETT free = 0", ()),
        running(&bench, "UPDATE stocks SET free = 0", ()),
        running(&bench, "UPDATE stock SET free = -1", ()),
        running(&bench, ADD, ("egg", 1)),
        running(&bench, ADD, ("egg", 1, 2)),
        running(&bench, ADD, ["egg"]),
        running(&bench, "", ()),
        running(&bench, "-- nothing", ()),
        running(&bench, "COMMIT", ()),
        running(&bench, "ROLLBACK", ()),
        running(&bench, "SAVEPOINT other", ()),
        running(&bench, "DELETE FROM stock; DELETE FROM taken", ()),
        running(&bench, "DROP TABLE stock", ()),
    ];
    for (number, unit) in broken.into_iter().enumerate() {
        let text = unit.statements[0].text.clone();
        let unit = Unit {
            writes: vec![put("broken", "1")],
            settles: vec![bench.settlement()],
            ..unit
        };
        let batch = vec![taking(&bench), unit.clone(), taking(&bench)];
        let outcomes = bench.commit_all(batch).await;
        let expected = [Outcome::Committed, Outcome::Refused, Outcome::Committed];
        assert_eq!(outcomes, expected, "{text}");
        assert_eq!(bench.commit(unit).await, Outcome::Refused, "{text}");
        let taken = 2 * i64::try_from(number + 1).expect("there are few statements");
        assert_eq!(fixture.number(TAKEN).await, taken, "{text}");
    }
    assert_eq!(bench.load("broken").await, None);
    let rest = fixture.number(FREE).await;
    assert_eq!(rest, 99 - fixture.number(TAKEN).await);
}

/// A statement sees the changes of the statements before it.
pub async fn statements_run_in_order_and_see_each_other(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let unit = Unit {
        statements: vec![
            Statement::new(ADD, ("egg", 1)).expecting(1),
            Statement::new(TAKE, ["egg"]).expecting(1),
            Statement::new(TAKE, ["egg"]).expecting(0),
        ],
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    assert_eq!(fixture.number(FREE).await, 0);
}

/// A query counts the rows that it returns.
pub async fn a_query_may_require_a_number_of_rows(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 1).await;
    let asking = |rows| Unit {
        statements: vec![
            Statement::new("SELECT sku FROM stock WHERE sku = $1", ["egg"]).expecting(rows),
        ],
        writes: vec![put("asked", "1")],
        ..bench.unit()
    };
    let unmet = Outcome::Unmet(Unmet::Rows {
        statement: 1,
        changed: 1,
        expected: 2,
    });
    assert_eq!(bench.commit(asking(2)).await, unmet);
    assert_eq!(bench.load("asked").await, None);
    assert_eq!(bench.commit(asking(1)).await, Outcome::Committed);
}

/// Quotes, Unicode, extreme numbers and `NULL` reach the database as parameters.
pub async fn parameters_are_passed_unchanged(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let text = "it's \"quoted\" $1 ? äöü \u{1f95a}";
    let unit = running(
        &bench,
        "INSERT INTO taken(sku, note, count, weight) VALUES ($2, $1, $3, $4), ($1, NULL, NULL, NULL)",
        (text, "egg", i64::MIN, 0.1),
    );
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    let found =
        "SELECT count(*) FROM taken WHERE note = $1 AND sku = 'egg' AND count = $2 AND weight = $3";
    let absent = "SELECT count(*) FROM taken WHERE sku = $1 AND note IS NULL AND count IS NULL";
    let unit = Unit {
        statements: vec![
            Statement::new(
                format!("{found} HAVING count(*) = 1"),
                (text, i64::MIN, 0.1),
            )
            .expecting(1),
            Statement::new(format!("{absent} HAVING count(*) = 1"), [text]).expecting(1),
            Statement::new(
                "UPDATE taken SET note = $1, count = $2, weight = $3 WHERE sku = 'egg'",
                [Param::Null, Param::Null, Param::Null],
            )
            .expecting(1),
        ],
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    let nothing = "SELECT count(*) FROM taken WHERE coalesce(note, '') = '' AND count IS NULL AND weight IS NULL";
    assert_eq!(fixture.number(nothing).await, 2);
}

/// The effects of statements survive a restart.
pub async fn statements_survive_a_restart(fixture: Arc<dyn Fixture>) {
    let bench = with_eggs(&fixture, 2).await;
    assert_eq!(bench.commit(taking(&bench)).await, Outcome::Committed);
    let bench = bench.reopen(&fixture).await;
    assert_eq!(fixture.number(FREE).await, 1);
    assert_eq!(bench.commit(taking(&bench)).await, Outcome::Committed);
    assert_eq!(fixture.number(FREE).await, 0);
}

/// Turns each test of the SQL suite into a `#[test]`. `$run` is a function that takes a
/// [`Test`](crate::conformance::Test), creates a fixture and drives the future of the test.
#[macro_export]
macro_rules! sql_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::conformance::store::sql,
            [
                statements_take_effect_with_the_rest_of_the_unit,
                an_unmet_expectation_rolls_back_the_unit,
                neighbours_of_an_unmet_unit_are_committed,
                statements_see_earlier_units_of_the_batch,
                a_unit_submitted_again_runs_no_statement_twice,
                a_duplicate_delivery_runs_no_statement,
                a_stale_unit_runs_no_statement,
                a_statement_that_cannot_run_refuses_its_unit_alone,
                statements_run_in_order_and_see_each_other,
                a_query_may_require_a_number_of_rows,
                parameters_are_passed_unchanged,
                statements_survive_a_restart,
            ]
        );
    };
}
