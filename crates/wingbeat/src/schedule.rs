//! Handlers that run again and again, with a pause between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{CorrelationId, Result, RuntimeExt as _, TraceParent};

use crate::dispatch::Control;
use crate::scope::ServiceContext;
use crate::service::Scheduled;
use crate::telemetry::{self, Context};
use crate::{Meta, Scope};

/// Runs a scheduled handler for ever; a failure is logged and the next turn is another attempt.
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
        let span = telemetry::working(
            format_args!("schedule {name}"),
            service.name,
            context.trace,
            None,
        );
        let turn = context.run(span, Box::pin(turn(&service, story, &run)));
        if let Err(why) = turn.await {
            tracing::warn!(service = %service.name, schedule = name, "a scheduled handler failed: {why}");
        }
    }
}

async fn turn(service: &Arc<ServiceContext>, story: CorrelationId, run: &Scheduled) -> Result<()> {
    let meta = Meta {
        correlation: story,
        message: None,
        operation: None,
        sequence: None,
        time: service.runtime.now(),
    };
    let scope = Scope::new(Arc::clone(service), meta);
    run(scope.clone()).await?;
    let unit = scope.seal(None)?;
    if !unit.has_effects() {
        return Ok(());
    }
    match service.committer.commit(unit).await {
        Outcome::Unmet(why) => Err(why.into()),
        // Stale or refused: the next turn is another attempt.
        _ => Ok(()),
    }
}
