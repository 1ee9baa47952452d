//! The start of what keeps derived rows complete (index rows and projections), and the readers of
//! past states.

use std::sync::Arc;

use tokio::sync::watch;

use super::running::Running;
use crate::project::{Projections, Registered};
use crate::rebuild::Rebuilds;
use crate::runtime::Control;
use crate::service::Wiring;
use crate::state::Derived;
use crate::unit::{Past, PastSaga, ServiceContext};

/// Compares the rows of a service's tables and projections with their definitions, before its
/// first unit, and starts the tasks that complete them.
pub(super) async fn start(
    context: &Arc<ServiceContext>,
    (tables, projections): (Vec<Derived>, Registered),
    control: &watch::Receiver<Control>,
    running: &mut Running,
) {
    if tables.is_empty() {
        return;
    }
    let rebuilds = Arc::new(Rebuilds::new(Arc::clone(context), tables));
    rebuilds.begin().await;
    let following = Arc::clone(&rebuilds).follow(control.clone());
    context.runtime.spawn(Box::pin(following));
    let projections = Arc::new(Projections::new(context, &rebuilds, projections));
    if !projections.is_empty() {
        projections.begin().await;
        projections.spawn(control);
        running.projections.insert(context.name, projections);
    }
    running.rebuilds.insert(context.name, rebuilds);
}

/// Returns the readers of past states.
pub(super) fn past(wiring: &Wiring) -> Past {
    let folds = wiring.tables.iter().filter_map(|it| {
        let fold = it.past.as_ref()?;
        Some((it.table.as_str(), Arc::clone(fold)))
    });
    let sagas = wiring.saga_checks.iter().map(|it| {
        let saga = PastSaga {
            queue: it.queue,
            state: it.state,
            inputs: it.inputs,
        };
        (it.table.as_str(), saga)
    });
    Past {
        folds: folds.collect(),
        sagas: sagas.collect(),
    }
}
