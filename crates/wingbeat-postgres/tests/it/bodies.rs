//! Large bodies in PostgreSQL: the contract, and the privileges of services.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat::TokioRuntime;
use wingbeat_core::bodies::BodyRef;
use wingbeat_core::conformance::bodies::{Fixture, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Bodies, Class, RuntimeExt as _, Store as _};
use wingbeat_postgres::{Grants, Postgres};

use crate::conformance::{OnServer, block_on, open, server};
use crate::privileges::Place;

fn runtime() -> SharedRuntime {
    TokioRuntime::new()
}

const BODY: BodyRef = BodyRef {
    day: 7,
    size: 3,
    digest: [1; 32],
};

fn bodies(store: &Arc<Postgres>) -> Arc<dyn Bodies> {
    store.bodies().expect("PostgreSQL stores bodies")
}

impl Fixture for OnServer {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bodies>> {
        Box::pin(async { bodies(&open(&self.prefix, &runtime()).await) })
    }
}

fn run(test: Test) {
    block_on(async { test(Arc::new(OnServer::new(server(), TokioRuntime::new()))).await });
}

mod contract {
    wingbeat_core::bodies_conformance!(super::run);
}

/// The whole contract, with the privileges of a service.
mod restricted {
    use super::*;

    struct Restricted(Place);

    impl Fixture for Restricted {
        fn open(&self) -> BoxFuture<'_, Arc<dyn Bodies>> {
            Box::pin(async {
                self.0.migrate_for_all().await;
                bodies(&self.0.open("service").await)
            })
        }
    }

    fn run(test: Test) {
        block_on(async { test(Arc::new(Restricted(Place::new()))).await });
    }

    wingbeat_core::bodies_conformance!(self::run);
}

#[test]
fn a_role_that_may_not_create_the_place_is_told_what_to_run() {
    block_on(async {
        let place = Place::new();
        let store = place.open("service").await;
        let refused = bodies(&store).prepare().await.unwrap_err();
        let expected = ("store_not_migrated", Class::Reject);
        assert_eq!((refused.code(), refused.class()), expected);
        place.migrate(&Grants::default()).await.unwrap();
        let refused = bodies(&store).prepare().await.unwrap_err();
        let expected = ("store_not_granted", Class::Reject);
        assert_eq!((refused.code(), refused.class()), expected);
        place.migrate_for_all().await;
        bodies(&store).prepare().await.unwrap();
    });
}

#[test]
fn a_service_changes_no_body_and_a_reader_sees_none() {
    block_on(async {
        let place = Place::new();
        place.migrate_for_all().await;
        let store = place.open("service").await;
        bodies(&store).put(BODY, "abc".into()).await.unwrap();
        let reader = place.open("reader").await;
        assert_eq!(
            bodies(&reader).get(BODY).await.unwrap_err().code(),
            "bodies_unavailable"
        );
        let prefix = &place.prefix;
        let may = |role: &str, what: &str| {
            server().sql(&format!(
                "SELECT has_table_privilege('{prefix}{role}', '{prefix}wingbeat_bodies.body', '{what}')"
            ))
        };
        assert_eq!(may("service", "UPDATE").trim(), "f");
        assert_eq!(may("service", "TRUNCATE").trim(), "f");
        assert_eq!(may("reader", "SELECT").trim(), "f");
    });
}

/// The work of a sweep does not grow with the bodies that stay.
#[test]
fn a_sweep_reads_only_the_bodies_that_it_deletes() {
    block_on(async {
        let prefix = format!("t{}_", runtime().id().simple());
        let store = open(&prefix, &runtime()).await;
        bodies(&store).prepare().await.unwrap();
        let plan = server().sql(&format!(
            "SET enable_seqscan = off; INSERT INTO {prefix}wingbeat_bodies.body
                 SELECT 100 + i / 100, int8send(i), '' FROM generate_series(1, 5000) i;
             ANALYZE {prefix}wingbeat_bodies.body;
             EXPLAIN (COSTS off) SELECT day, digest FROM {prefix}wingbeat_bodies.body
                 WHERE day < 100 ORDER BY day, digest LIMIT 64"
        ));
        assert!(plan.contains("Index Only Scan using body_pkey"), "{plan}");
        assert!(plan.contains("Index Cond: (day < 100)"), "{plan}");
    });
}
