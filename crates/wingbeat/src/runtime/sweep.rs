//! Deletes expired data from a store.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{BoxFuture, Error, Result, RuntimeExt as _, Store};

use crate::bodies::LargeBodies;

/// The pause between two sweeps.
const EVERY: Duration = Duration::from_secs(60);
/// The pause between two deletions of a sweep, so that commits can run in between.
const BREATH: Duration = Duration::from_millis(20);

/// Deletes expired data ([`Store::retain`]) and large bodies once a minute until its task ends. A
/// sweep deletes a bounded number of rows at a time until none is left. Each app runs one.
pub(crate) async fn sweep(
    store: Arc<dyn Store>,
    bodies: Option<LargeBodies>,
    runtime: SharedRuntime,
) {
    loop {
        runtime.sleep(EVERY + runtime.jitter(EVERY / 4)).await;
        let rows = || -> Deletion<'_> { Box::pin(rows(&store, &runtime)) };
        repeat(&runtime, "data", rows).await;
        if let Some(large) = &bodies {
            let bodies = || -> Deletion<'_> { Box::pin(large.sweep(runtime.now())) };
            repeat(&runtime, "large bodies", bodies).await;
        }
    }
}

async fn rows(store: &Arc<dyn Store>, runtime: &SharedRuntime) -> Result<usize> {
    let deleted = store.retain(runtime.now()).await?;
    Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
}

/// A deletion that returns how much it deleted.
type Deletion<'a> = BoxFuture<'a, Result<usize>>;

/// Repeats a deletion until nothing is left, or it fails.
async fn repeat<'a>(runtime: &SharedRuntime, what: &str, delete: impl Fn() -> Deletion<'a> + Send) {
    let warn = |why: Error| {
        let code = why.code();
        tracing::warn!(
            code,
            "cannot delete expired {what}, trying again later: {why}"
        );
    };
    loop {
        match delete().await {
            Ok(0) => return,
            Ok(_) => runtime.sleep(BREATH).await,
            Err(why) => return warn(why),
        }
    }
}
