//! Roles that may not create anything: they work on migrated schemas, and are refused on others.

use std::sync::{Arc, Mutex, PoisonError};

use wingbeat::TokioRuntime;
use wingbeat::test::model::Model;
use wingbeat_core::conformance::{Fixture, Opened, SERVICES, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{BoxFuture, Class, Error, RuntimeExt as _, Store as _, Topology, Unit};
use wingbeat_postgres::{Config, Grants, Postgres};

use crate::conformance::{OnServer, block_on, config, connect, server};
use crate::replicas::{SERVICE, increment, numbers};

/// Held while privileges on the shared database change.
static GRANTING: Mutex<()> = Mutex::new(());

/// A set of schemas, with roles of its own.
pub(crate) struct Place {
    pub(crate) prefix: String,
    pub(crate) runtime: SharedRuntime,
}

impl Place {
    /// Creates the roles: an owner that may create schemas, a service and a reader that may not.
    pub(crate) fn new() -> Self {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("p{}_", runtime.id().simple());
        for role in ["owner", "service", "reader"] {
            server().sql(&format!("CREATE ROLE {prefix}{role} LOGIN"));
        }
        // PostgreSQL refuses concurrent changes of the privileges on one database.
        let turn = GRANTING.lock().unwrap_or_else(PoisonError::into_inner);
        server().sql(&format!(
            "GRANT CREATE ON DATABASE postgres TO {prefix}owner"
        ));
        drop(turn);
        Self { prefix, runtime }
    }

    fn config(&self, role: &str) -> Config {
        let mut config = config(&self.prefix);
        let user = format!("//{}{role}@", self.prefix);
        config.url = config.url.replace("//postgres@", &user);
        config
    }

    pub(crate) async fn migrate(&self, grants: &Grants) -> Result<(), Error> {
        let (config, runtime) = (self.config("owner"), Arc::clone(&self.runtime));
        Postgres::migrate(&config, runtime, &SERVICES, grants).await
    }

    pub(crate) async fn migrate_for_all(&self) {
        let grants = Grants {
            write: vec![format!("{}service", self.prefix)],
            read: vec![format!("{}reader", self.prefix)],
        };
        self.migrate(&grants).await.unwrap();
    }

    pub(crate) async fn open(&self, role: &str) -> Arc<Postgres> {
        connect(&self.config(role), &self.runtime).await
    }

    /// Prepares the store with a role. Returns the code of the error.
    async fn prepare(&self, role: &str) -> Result<Arc<Postgres>, (&'static str, Class)> {
        let store = self.open(role).await;
        let prepared = store.prepare(&[SERVICE], &Topology::default()).await;
        prepared.map_err(|error| (error.code(), error.class()))?;
        Ok(store)
    }
}

#[test]
fn a_service_without_create_works_on_a_migrated_schema() {
    block_on(async {
        let place = Place::new();
        place.migrate_for_all().await;
        let store = place.prepare("service").await.unwrap();
        store.check_writable(&[SERVICE]).unwrap();
        let ids = ["n".to_owned()];
        increment(&store, &place.runtime, &ids).await;
        assert_eq!(numbers(&store, &ids).await, [1]);
        // A second migration changes nothing for the service that runs.
        place.migrate_for_all().await;
        increment(&store, &place.runtime, &ids).await;
        assert_eq!(numbers(&store, &ids).await, [2]);
    });
}

#[test]
fn a_role_without_create_is_refused_where_nothing_is_migrated() {
    block_on(async {
        let place = Place::new();
        let refused = Err(("store_not_migrated", Class::Reject));
        assert_eq!(place.prepare("service").await.map(drop), refused);
        // An older layout, and a commit function that is not this release's.
        place.migrate_for_all().await;
        let schema = format!("\"{}{SERVICE}\"", place.prefix);
        for outdate in [
            format!("ALTER FUNCTION {schema}.commit_v5 RENAME TO commit_v0"),
            format!("DELETE FROM {schema}.layout WHERE number > 2"),
        ] {
            server().sql(&outdate);
            assert_eq!(place.prepare("service").await.map(drop), refused);
            if outdate.starts_with("ALTER") {
                place.migrate_for_all().await;
                place.prepare("service").await.unwrap();
            }
        }
    });
}

#[test]
fn a_role_without_privileges_is_refused() {
    block_on(async {
        let place = Place::new();
        place.migrate(&Grants::default()).await.unwrap();
        let refused = Err(("store_not_granted", Class::Reject));
        assert_eq!(place.prepare("service").await.map(drop), refused);
        place.migrate_for_all().await;
        let schema = format!("\"{}{SERVICE}\"", place.prefix);
        let service = format!("{}service", place.prefix);
        server().sql(&format!("REVOKE SELECT ON {schema}.journal FROM {service}"));
        assert_eq!(place.prepare("service").await.map(drop), refused);
    });
}

#[test]
fn a_role_that_may_only_read_reads_and_runs_no_service() {
    block_on(async {
        let place = Place::new();
        place.migrate_for_all().await;
        let service = place.prepare("service").await.unwrap();
        let ids = ["n".to_owned()];
        increment(&service, &place.runtime, &ids).await;
        let reader = place.prepare("reader").await.unwrap();
        assert_eq!(numbers(&reader, &ids).await, [1]);
        let refused = reader.check_writable(&[SERVICE]).unwrap_err();
        assert_eq!(refused.code(), "store_not_granted");
        let mut unit = crate::replicas::unit(&place.runtime);
        unit.writes.push(crate::replicas::write("m", Some(vec![1])));
        let refused = reader.commit(Arc::new(vec![unit])).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.class()),
            ("store_refused", Class::Retry)
        );
    });
}

#[test]
fn a_migration_that_is_not_allowed_names_the_reason() {
    block_on(async {
        let place = Place::new();
        let nobody = Grants {
            write: vec!["nobody_{service}".into()],
            read: Vec::new(),
        };
        let refused = place.migrate(&nobody).await.unwrap_err();
        assert_eq!(refused.code(), "migrate_refused");
        assert!(refused.to_string().contains("nobody_"), "{refused}");
        let (config, runtime) = (place.config("service"), Arc::clone(&place.runtime));
        let refused = Postgres::migrate(&config, runtime, &SERVICES, &Grants::default()).await;
        assert_eq!(refused.unwrap_err().code(), "migrate_refused");
    });
}

/// Opens the store with a role that may not create anything.
struct Restricted {
    place: Place,
    model: Arc<Model>,
}

impl Fixture for Restricted {
    fn open(&self) -> BoxFuture<'_, Opened> {
        Box::pin(async {
            self.place.migrate_for_all().await;
            Opened {
                store: self.place.open("service").await,
                transport: Arc::clone(&self.model.transport) as Arc<_>,
            }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Arc::clone(&self.place.runtime)
    }

    fn poison(&self, unit: Unit) -> Option<Unit> {
        OnServer::new(server(), TokioRuntime::new()).poison(unit)
    }
}

fn run(test: Test) {
    let place = Place::new();
    let model = Arc::new(Model::new(Arc::clone(&place.runtime)));
    block_on(async move { test(Arc::new(Restricted { place, model })).await });
}

/// The whole contract of the store, with the privileges of a service.
mod store {
    wingbeat_core::store_conformance!(super::run);
}
