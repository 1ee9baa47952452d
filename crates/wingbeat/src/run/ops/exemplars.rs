//! Exemplars: for each bucket of a histogram, the last sample that belongs to a trace. They lead
//! from a panel of latencies to a trace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::HistogramFn;
use tracing::{Level, span_enabled};

use crate::telemetry::{SPANS, current};

/// A sample and its span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) value: f64,
    /// In nanoseconds since 1970.
    pub(super) at: u64,
}

/// The exemplars of a histogram, one for each bucket.
#[derive(Debug)]
pub(super) struct Exemplars {
    bounds: &'static [f64],
    /// The last one is that of samples above all bounds.
    slots: Box<[Mutex<Option<Exemplar>>]>,
}

impl Exemplars {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let slots = (0..=bounds.len()).map(|_| Mutex::default());
        Self {
            bounds,
            slots: slots.collect(),
        }
    }

    /// Keeps a sample of the current work, if its span is exported: without a subscriber for spans
    /// and without the flag of its caller, the trace could not be found.
    fn record(&self, value: f64) {
        let Some(context) = current().filter(|it| it.trace.is_sampled()) else {
            return;
        };
        if !span_enabled!(target: SPANS, Level::INFO) {
            return;
        }
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        // Whoever holds the lock keeps a sample as good as this one, or reads the previous one.
        if let Ok(mut slot) = self.slots[bucket].try_lock() {
            *slot = Some(Exemplar {
                trace: context.trace.trace_id(),
                span: context.trace.span_id(),
                value,
                at: nanos_now(),
            });
        }
    }

    /// Returns the exemplar of a bucket, counted from 0.
    pub(super) fn of_bucket(&self, bucket: usize) -> Option<Exemplar> {
        let slot = self.slots.get(bucket)?.lock();
        *slot.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all exemplars.
    #[cfg(feature = "otlp")]
    pub(super) fn all(&self) -> impl Iterator<Item = Exemplar> {
        (0..self.slots.len()).filter_map(|bucket| self.of_bucket(bucket))
    }
}

/// The time of the machine, in nanoseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "metrics of a real process; simulations record none"
)]
pub(super) fn nanos_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// A histogram with its exemplars.
pub(super) struct Samples {
    pub(super) histogram: prometheus::Histogram,
    pub(super) exemplars: Arc<Exemplars>,
}

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.histogram.observe(value);
        self.exemplars.record(value);
    }
}

#[cfg(test)]
mod tests {
    use tracing::Span;
    use tracing::subscriber::with_default;
    use uuid::Uuid;
    use wingbeat_core::TraceParent;

    use super::*;
    use crate::telemetry::Context;

    /// Records samples as work of this trace.
    fn record(exemplars: &Exemplars, trace: TraceParent, values: &[f64]) {
        let work = Box::pin(async { values.iter().for_each(|value| exemplars.record(*value)) });
        let within = Context::at(trace).run(Span::none(), work);
        futures_util::FutureExt::now_or_never(within).expect("it ends");
    }

    #[test]
    fn each_bucket_keeps_its_last_sample_of_an_exported_trace() {
        let exemplars = Exemplars::new(&[1.0, 2.0]);
        let trace = TraceParent::of(Uuid::from_u128(7)).child(9);
        // Nobody subscribes to spans.
        record(&exemplars, trace, &[0.5]);
        assert_eq!(exemplars.of_bucket(0), None);
        with_default(tracing_subscriber::registry(), || {
            exemplars.record(0.5);
            assert_eq!(exemplars.of_bucket(0), None, "no work, no trace");
            let unsampled = trace.to_string().replace("-01", "-00");
            let unsampled = unsampled.parse().expect("it is a trace parent");
            record(&exemplars, unsampled, &[0.5]);
            assert_eq!(exemplars.of_bucket(0), None, "the caller wants no spans");
            record(&exemplars, trace, &[0.5, 1.0, 5.0, 6.0]);
        });
        let of = |bucket| {
            exemplars
                .of_bucket(bucket)
                .map(|it| (it.trace, it.span, it.value))
        };
        assert_eq!(of(0), Some((7, 9, 1.0)), "a bound belongs to its bucket");
        assert_eq!(of(1), None);
        assert_eq!(of(2), Some((7, 9, 6.0)));
        assert_eq!(of(3), None);
    }
}
