//! Scheduled handlers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::{CorrelationId, Result, RuntimeExt as _, TraceParent};

use crate::handler::Scheduled;
use crate::runtime::Control;
use crate::telemetry::{self, Context};
use crate::unit::{self, Attempt, Meta, Scope, ServiceContext};

/// Runs a scheduled handler, with a pause between two runs, until the service drains. Failures are
/// logged; the next run tries again.
pub(crate) async fn every(
    service: Arc<ServiceContext>,
    name: &'static str,
    pause: Duration,
    run: Scheduled,
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
            format_args!("schedule {name}"),
            service.name,
            context.trace,
            None,
        );
        let turn = context.run(span, Box::pin(turn(&service, story, &run)));
        if let Err(why) = turn.await {
            tracing::warn!(service = %service.name, schedule = name, code = why.code(), "a scheduled handler failed: {why}");
        }
    }
}

async fn turn(service: &Arc<ServiceContext>, story: CorrelationId, run: &Scheduled) -> Result<()> {
    unit::run(service, || {
        let meta = Meta::without_message(story, service.runtime.now());
        let scope = Scope::new(Arc::clone(service), meta);
        let answer = run(scope.clone());
        async move {
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        }
    })
    .await
}
