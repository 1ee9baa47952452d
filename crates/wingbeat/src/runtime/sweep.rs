//! Deletes expired data from a store.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{RuntimeExt as _, Store};

/// The pause between two sweeps.
const EVERY: Duration = Duration::from_secs(60);
/// The pause between two deletions of a sweep, so that commits can run in between.
const BREATH: Duration = Duration::from_millis(20);

/// Deletes expired data ([`Store::retain`]) once a minute until its task ends. A sweep deletes a
/// bounded number of rows at a time until none is left. Each app runs one.
pub(crate) async fn sweep(store: Arc<dyn Store>, runtime: SharedRuntime) {
    loop {
        runtime.sleep(EVERY + runtime.jitter(EVERY / 4)).await;
        loop {
            match store.retain(runtime.now()).await {
                Ok(0) => break,
                Ok(_) => runtime.sleep(BREATH).await,
                Err(why) => {
                    tracing::warn!(
                        code = why.code(),
                        "cannot delete expired data, trying again later: {why}"
                    );
                    break;
                }
            }
        }
    }
}
