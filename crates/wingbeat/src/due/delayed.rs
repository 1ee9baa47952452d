//! Publishes delayed messages.

use std::sync::Arc;

use wingbeat_core::bodies::BodyRef;
use wingbeat_core::store::DueRecord;
use wingbeat_core::{Kind, LogLimits, Name, Result, TraceParent};

use crate::decode;
use crate::effects::{Effects, Outgoing};
use crate::telemetry::{self, Context};
use crate::unit::{self, Attempt, DelayedRecord, Meta, Scope, ServiceContext, remove};

/// A message whose delay has ended.
pub(super) struct Delayed {
    pub(super) service: Arc<ServiceContext>,
    pub(super) record: DueRecord,
    /// Limits the log lines about messages that cannot be published.
    pub(super) failures: Arc<LogLimits>,
}

impl Delayed {
    pub(super) async fn run(self) {
        let published = unit::within_lease(&self.service, || self.publish());
        let Err(why) = published.await else { return };
        // The lease expires, and the record is claimed again.
        let now = self.service.runtime.elapsed();
        if let Some(suppressed) = self.failures.admit(why.code(), now) {
            tracing::warn!(service = %self.service.name, message = self.record.key.id, code = why.code(), suppressed, "a delayed message cannot be published, trying again: {why}");
        }
    }

    /// Removes the record and publishes the message, in one unit.
    async fn publish(&self) -> Result<()> {
        let stored: DelayedRecord = decode(&self.record.record.body)?;
        let parent = stored
            .traceparent
            .unwrap_or_else(|| TraceParent::of(stored.correlation.0));
        let context = Context {
            trace: parent.child(self.service.runtime.random()),
            correlation: Some(stored.correlation),
            causation: stored.causation,
        };
        let span = telemetry::unit_span(
            format_args!("delayed {}", stored.message),
            self.service.name,
            context.trace,
            stored.traceparent,
        );
        let work = unit::run(&self.service, || async {
            let scope = Scope::new(Arc::clone(&self.service), meta(&stored));
            Attempt {
                answer: self.attempt(&scope, &stored).await,
                scope,
                settles: None,
            }
        });
        context.run(span, Box::pin(work)).await
    }

    async fn attempt(&self, scope: &Scope, stored: &DelayedRecord) -> Result<()> {
        let loaded = scope.load(&self.record.key).await?;
        if loaded.body.as_ref() != Some(&self.record.record.body) {
            return Ok(()); // It was published, cancelled or replaced.
        }
        scope.write(remove(self.record.key.clone()))?;
        let mut effects = Effects::new();
        effects.messages.push(Outgoing {
            name: Name::intern(&stored.message).as_str(),
            kind: if stored.command {
                Kind::Command
            } else {
                Kind::Event
            },
            key: stored.key.clone(),
            body: stored.body.get().as_bytes().to_vec().into(),
            sequence: stored.sequence,
            operation: stored.operation.clone(),
            dialog: None,
            stamp: None,
            stored: BodyRef::of(stored.body.get().as_bytes()).is_some(),
        });
        scope.record(effects)
    }
}

fn meta(stored: &DelayedRecord) -> Meta {
    Meta {
        correlation: stored.correlation,
        message: stored.causation,
        operation: None,
        sequence: None,
        time: stored.at,
        propagation: stored.propagation.clone(),
        replayed: false,
    }
}
