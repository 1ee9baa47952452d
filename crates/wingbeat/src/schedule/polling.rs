//! Handlers that each process runs periodically, without a record in the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::{CorrelationId, Result, RuntimeExt as _, TraceParent};

use crate::handler::Scheduled;
use crate::runtime::Control;
use crate::telemetry::{self, Context};
use crate::unit::{self, Meta, ServiceContext};

/// A polling handler as a service registers it.
pub(crate) struct Polling {
    pub(crate) name: &'static str,
    pub(crate) pause: Duration,
    pub(crate) run: Scheduled,
}

/// Runs a polling handler, with a pause between two runs, until the service drains. Failures are
/// logged; the next run tries again.
pub(crate) async fn poll(
    service: Arc<ServiceContext>,
    Polling { name, pause, run }: Polling,
    mut control: watch::Receiver<Control>,
) {
    loop {
        tokio::select! {
            biased;
            _ = control.changed() => return,
            () = service.runtime.sleep(pause) => {}
        }
        let story = CorrelationId(service.runtime.id());
        let context = Context {
            correlation: Some(story),
            ..Context::at(TraceParent::of(story.0))
        };
        let span = telemetry::unit_span(
            format_args!("poll {name}"),
            service.name,
            context.trace,
            None,
        );
        let turn = context.run(span, Box::pin(turn(&service, story, &run)));
        if let Err(why) = turn.await {
            tracing::warn!(service = %service.name, poll = name, code = why.code(), "a polling handler failed: {why}");
        }
    }
}

async fn turn(service: &Arc<ServiceContext>, story: CorrelationId, run: &Scheduled) -> Result<()> {
    let meta = || Meta::without_message(story, service.runtime.now());
    unit::run_with(service, meta, &**run).await
}
