//! What has outlived its retention is swept out of the store.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{RuntimeExt as _, Store};

/// The pause between two sweeps.
const EVERY: Duration = Duration::from_secs(60);
/// The pause between two bounded amounts of a sweep, so that commits come in between.
const BREATH: Duration = Duration::from_millis(20);

/// Sweeps a store once a minute, for ever: what has outlived its retention ([`Store::retain`]) is deleted, a
/// bounded amount at a time until nothing is left. Spawn it once in each process that has services; without it
/// tables grow for ever.
pub async fn sweep(store: Arc<dyn Store>, runtime: SharedRuntime) {
    loop {
        runtime.sleep(EVERY + runtime.jitter(EVERY / 4)).await;
        loop {
            match store.retain(runtime.now()).await {
                Ok(0) => break,
                Ok(_) => runtime.sleep(BREATH).await,
                Err(why) => {
                    tracing::warn!(code = why.code(), "what has expired stays for now: {why}");
                    break;
                }
            }
        }
    }
}
