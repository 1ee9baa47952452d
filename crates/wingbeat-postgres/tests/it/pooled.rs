//! PgBouncer between the store and the server.

use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Class, RuntimeExt as _, Store as _, Topology};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::PgBouncer;

use crate::conformance::{block_on, server};
use crate::replicas::{SERVICE, increment, numbers};

#[test]
fn a_pooler_that_changes_sessions_is_refused() {
    block_on(async {
        for settings in [
            &["pool_mode = transaction"][..],
            &["pool_mode = transaction", "server_round_robin = 1"],
            &["pool_mode = transaction", "default_pool_size = 1"],
            &["pool_mode = statement"],
        ] {
            let pooler = PgBouncer::start(server().port(), settings);
            let config = Config::new(pooler.url());
            // The second attempt finds several sessions in the pool.
            for _ in 0..2 {
                let refused = Postgres::connect(&config, TokioRuntime::new()).await;
                let refused = refused.map(drop).expect_err("it is refused");
                let found = (refused.code(), refused.class());
                assert_eq!(found, ("store_pooled", Class::Reject), "{settings:?}");
            }
        }
    });
}

#[test]
fn a_pooler_that_keeps_sessions_is_accepted() {
    block_on(async {
        let pooler = PgBouncer::start(server().port(), &["pool_mode = session"]);
        let runtime: SharedRuntime = TokioRuntime::new();
        let mut config = Config::new(pooler.url());
        config.schema_prefix = format!("b{}_", runtime.id().simple());
        let store = Postgres::connect(&config, runtime.clone()).await.unwrap();
        let prepared = store.prepare(&[SERVICE], &Topology::default()).await;
        prepared.unwrap();
        let ids = ["n".to_owned()];
        increment(&store, &runtime, &ids).await;
        assert_eq!(numbers(&store, &ids).await, [1]);
    });
}
