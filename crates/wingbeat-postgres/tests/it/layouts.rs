//! Data of the layout before, and releases that know only that.

use std::sync::Arc;

use wingbeat::call::HyperClient;
use wingbeat::test::model::Model;
use wingbeat::{App, Ports, Service, TokioRuntime};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::Journal;
use wingbeat_core::{CorrelationId, RuntimeExt as _, Store as _};

use crate::conformance::{block_on, server};
use crate::replicas::{SERVICE, prepared, unit};

#[test]
fn the_journal_of_the_layout_before_is_read_and_its_readers_see_an_empty_list() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("l{}_", runtime.id().simple());
        prepared(&prefix, &runtime).await;
        let schema = format!("\"{prefix}{SERVICE}\"");
        let story = CorrelationId(runtime.id());
        server().sql(&format!(
            "ALTER TABLE {schema}.journal DROP COLUMN packed;
             DELETE FROM {schema}.layout WHERE number = 3;
             INSERT INTO {schema}.journal(story, body) VALUES ('{}', 'earlier')",
            story.0
        ));
        let store = prepared(&prefix, &runtime).await;
        let mut unit = unit(&runtime);
        unit.journal = Some(Journal {
            correlation: story,
            body: "later".into(),
        });
        store.commit(Arc::new(vec![unit])).await.unwrap();
        let journal = store.journal(SERVICE, story).await.unwrap();
        assert_eq!(journal, ["earlier", "later"]);
        let earlier = format!("SELECT encode(body, 'escape') FROM {schema}.journal ORDER BY place");
        assert_eq!(server().sql(&earlier), "earlier\n[]\n");
    });
}

/// A later release may use another form, or another column and leave a list without entries here.
#[test]
fn a_timeline_reports_the_entries_that_a_newer_release_wrote() {
    block_on(async {
        let own = TokioRuntime::new();
        let runtime: SharedRuntime = own.clone();
        let prefix = format!("l{}_", runtime.id().simple());
        let store = prepared(&prefix, &runtime).await;
        let model = Model::new(own);
        let ports = Ports {
            runtime: Arc::clone(&runtime),
            store: store.clone(),
            transport: model.transport.clone(),
            cache: model.cache.clone(),
            http: HyperClient::new(),
        };
        let app = App::new().service(Service::new(SERVICE.as_str()));
        let running = app.start(ports).await.unwrap();
        let reads = running.reads(SERVICE.as_str()).unwrap();

        let story = CorrelationId(runtime.id());
        let elsewhere = format!(
            "INSERT INTO \"{prefix}{SERVICE}\".journal(story, body) VALUES ('{}', '[]')",
            story.0
        );
        server().sql(&elsewhere);
        let mut unit = unit(&runtime);
        let version_2 = [&[2][..], &7_i64.to_le_bytes(), &[0; 16], b"\xff"].concat();
        unit.journal = Some(Journal {
            correlation: story,
            body: version_2.into(),
        });
        store.commit(Arc::new(vec![unit])).await.unwrap();

        let entries = reads.timeline(story).await.unwrap();
        let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.as_str()).collect();
        assert_eq!(kinds, ["unknown", "unknown"]);
        let created = (story.0.as_u128() >> 80) as i64;
        assert_eq!(entries[0].at.as_millis(), created);
        assert_eq!(entries[1].at.as_micros(), 7);
        assert!(entries[1].name.contains("form 2"), "{}", entries[1].name);
    });
}
