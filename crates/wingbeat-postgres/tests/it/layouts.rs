//! Data of the layout before, and releases that know only that.

use std::sync::Arc;

use wingbeat::TokioRuntime;
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
