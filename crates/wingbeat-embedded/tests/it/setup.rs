//! Set-up that several tests share.

use std::path::Path;
use std::sync::Arc;

use wingbeat::call::HyperClient;
use wingbeat::{Ports, SharedRuntime};
use wingbeat_embedded::{Embedded, EmbeddedCache};

/// Returns the ports of an app on this store, with its cache in the same directory.
pub(crate) fn ports(runtime: SharedRuntime, embedded: &Arc<Embedded>, directory: &Path) -> Ports {
    Ports {
        cache: EmbeddedCache::open(directory, runtime.clone()).unwrap(),
        runtime,
        store: embedded.clone(),
        transport: embedded.clone(),
        http: HyperClient::new(),
    }
}
