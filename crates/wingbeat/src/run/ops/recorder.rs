//! The metrics that this process records.
//!
//! `metrics` names a metric at every call, `prometheus` has it registered once. The recorder
//! registers a metric with its first call. Counts, buckets and the format of the page are
//! `prometheus`'.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit,
};
use prometheus::core::Collector;
use prometheus::proto::{LabelPair, MetricFamily};
use prometheus::{Error, HistogramOpts, IntCounter, Opts, Registry, Result};

use super::exemplars::{Exemplars, Samples};

/// Buckets of durations in seconds: from a fast commit to an outside system that does not answer.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Buckets of batch sizes.
const UNITS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Buckets of histograms whose unit the name does not say.
const OTHERS: [f64; 12] = [
    0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
];

/// The metrics of a process. Its clones share them.
#[derive(Clone, Default)]
pub(in crate::run) struct Recorder(Arc<Recorded>);

#[derive(Default)]
struct Recorded {
    registry: Registry,
    families: Mutex<BTreeMap<String, Family>>,
    counters: Known<Counter>,
    gauges: Known<Gauge>,
    histograms: Known<Histogram>,
    exemplars: Mutex<BTreeMap<Series, Arc<Exemplars>>>,
}

/// The name of a metric, and its labels by name.
type Series = (String, Vec<(String, String)>);

/// The properties of all metrics of one name. The first ones stay.
#[derive(Default)]
struct Family {
    shape: Option<Shape>,
    description: Option<String>,
}

/// The kind and the label names of a metric.
#[derive(PartialEq, Eq)]
struct Shape {
    kind: &'static str,
    labels: BTreeSet<String>,
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a {} with the labels {:?}", self.kind, self.labels)
    }
}

impl Recorder {
    /// Returns the metrics, by name.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        self.0.registry.gather()
    }

    /// Returns the exemplars of a histogram.
    pub(super) fn exemplars(&self, name: &str, labels: &[LabelPair]) -> Option<Arc<Exemplars>> {
        let pair = |it: &LabelPair| (it.name().to_owned(), it.value().to_owned());
        let series = (name.to_owned(), labels.iter().map(pair).collect());
        let exemplars = self.0.exemplars.lock();
        let exemplars = exemplars.unwrap_or_else(PoisonError::into_inner);
        exemplars.get(&series).cloned()
    }

    fn describe(&self, name: &KeyName, description: SharedString) {
        let mut families = self.described();
        let family = families.entry(valid(name.as_str(), true)).or_default();
        family
            .description
            .get_or_insert_with(|| description.into_owned());
    }

    /// Registers a metric.
    fn register(&self, metric: impl Collector + 'static) -> Result<()> {
        self.0.registry.register(Box::new(metric))
    }

    /// Returns name, description and labels of a new metric.
    fn options(&self, key: &Key, kind: &'static str) -> Result<Opts> {
        let name = valid(key.name(), true);
        let labels = || key.labels().map(|it| (valid(it.key(), false), it.value()));
        let shape = Shape {
            kind,
            labels: labels().map(|(name, _)| name).collect(),
        };
        let mut families = self.described();
        let family = families.entry(name.clone()).or_default();
        if let Some(first) = family.shape.as_ref().filter(|first| **first != shape) {
            let problem = format!("it is {shape}, and the first of this name is {first}");
            return Err(Error::Msg(problem));
        }
        family.shape = Some(shape);
        let description = family.description.get_or_insert_with(|| name.clone());
        let options = Opts::new(name, description.clone());
        Ok(labels().fold(options, |options, (name, value)| {
            options.const_label(name, value)
        }))
    }

    fn described(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.0
            .families
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        self.0.counters.find(key, Counter::noop(), || {
            let counter = IntCounter::with_opts(self.options(key, "counter")?)?;
            self.register(counter.clone())?;
            let one_at_a_time = Mutex::default();
            Ok(Counter::from_arc(Arc::new(Count {
                counter,
                one_at_a_time,
            })))
        })
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        self.0.gauges.find(key, Gauge::noop(), || {
            let gauge = prometheus::Gauge::with_opts(self.options(key, "gauge")?)?;
            self.register(gauge.clone())?;
            Ok(Gauge::from_arc(Arc::new(Level(gauge))))
        })
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        self.0.histograms.find(key, Histogram::noop(), || {
            let options = self.options(key, "histogram")?;
            let mut labels: Vec<_> = options.const_labels.clone().into_iter().collect();
            labels.sort();
            let series = (options.name.clone(), labels);
            let bounds = bounds(key.name());
            let options = HistogramOpts::from(options).buckets(bounds.to_vec());
            let histogram = prometheus::Histogram::with_opts(options)?;
            self.register(histogram.clone())?;
            let exemplars = Arc::new(Exemplars::new(bounds));
            let all = self.0.exemplars.lock();
            let mut all = all.unwrap_or_else(PoisonError::into_inner);
            all.insert(series, Arc::clone(&exemplars));
            Ok(Histogram::from_arc(Arc::new(Samples {
                histogram,
                exemplars,
            })))
        })
    }
}

/// The metrics of one kind. Most callers look theirs up each time.
struct Known<T>(RwLock<BTreeMap<Key, T>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Clone> Known<T> {
    /// Returns the metric of a key; creates it if it is new. If that fails, `nothing` takes its
    /// place, and the log says so once.
    fn find(&self, key: &Key, nothing: T, new: impl FnOnce() -> Result<T>) -> T {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(key) {
            return metric.clone();
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(key) {
            return metric.clone();
        }
        let (metric, problem) = match new() {
            Ok(metric) => (metric, None),
            Err(why) => (nothing, Some(why)),
        };
        known.insert(key.to_retained(), metric.clone());
        drop(known);
        if let Some(why) = problem {
            tracing::warn!("cannot record the metric {}: {why}", key.name());
        }
        metric
    }
}

struct Count {
    counter: IntCounter,
    /// Held while the counter follows another one.
    one_at_a_time: Mutex<()>,
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.counter.inc_by(value);
    }

    fn absolute(&self, value: u64) {
        let alone = self.one_at_a_time.lock();
        let _alone = alone.unwrap_or_else(PoisonError::into_inner);
        let missing = value.saturating_sub(self.counter.get());
        self.counter.inc_by(missing);
    }
}

struct Level(prometheus::Gauge);

impl GaugeFn for Level {
    fn increment(&self, value: f64) {
        self.0.add(value);
    }

    fn decrement(&self, value: f64) {
        self.0.sub(value);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
    }
}

/// Returns the upper bounds of the buckets of a histogram.
fn bounds(name: &str) -> &'static [f64] {
    if name.ends_with("_seconds") {
        &SECONDS
    } else if name.ends_with("_units") || name.ends_with("_size") {
        &UNITS
    } else {
        &OTHERS
    }
}

/// Returns a name with `_` in place of what Prometheus does not allow. Colons are only for metrics.
fn valid(name: &str, is_metric: bool) -> String {
    let is_valid = |(at, c): (usize, char)| {
        let is_allowed = c == '_' || (is_metric && c == ':') || c.is_ascii_alphabetic();
        is_allowed || (at > 0 && c.is_ascii_digit())
    };
    let chars = name.chars().enumerate();
    chars
        .map(|(at, c)| if is_valid((at, c)) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, histogram, with_local_recorder};
    use prometheus::TextEncoder;

    use super::*;

    /// Returns the page after some work.
    fn page(work: impl FnOnce()) -> String {
        let recorder = Recorder::default();
        with_local_recorder(&recorder, work);
        text(&recorder)
    }

    fn text(recorder: &Recorder) -> String {
        let text = TextEncoder::new().encode_to_string(&recorder.families());
        text.expect("a registered metric has a name and a value")
    }

    #[test]
    fn counters_and_gauges_have_one_line_for_each_set_of_labels() {
        let page = page(|| {
            describe_counter!("orders_total", "orders\nof all \"kinds\", by a\\b");
            describe_counter!("orders_total", "a second description");
            for outcome in ["paid", "lost", "paid"] {
                counter!("orders_total", "service" => "shop", "outcome" => outcome).increment(2);
            }
            gauge!("depth").set(2.5);
            gauge!("depth").increment(0.5);
            gauge!("depth").decrement(1.0);
        });
        let expected = "# HELP depth depth\n\
             # TYPE depth gauge\n\
             depth 2\n\
             # HELP orders_total orders\\nof all \"kinds\", by a\\\\b\n\
             # TYPE orders_total counter\n\
             orders_total{outcome=\"lost\",service=\"shop\"} 2\n\
             orders_total{outcome=\"paid\",service=\"shop\"} 4\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_counter_that_follows_another_one_never_falls() {
        let page = page(|| {
            for seen in [7, 3, 9] {
                counter!("seen_total").absolute(seen);
            }
        });
        assert!(page.ends_with("\nseen_total 9\n"), "{page}");
    }

    #[test]
    fn a_bucket_counts_all_samples_up_to_its_bound() {
        let page = page(|| {
            for units in [1.0, 2.0, 3.0, 600.0] {
                histogram!("batch_units", "service" => "shop").record(units);
            }
        });
        let line = |le: &str, count| {
            format!("batch_units_bucket{{service=\"shop\",le=\"{le}\"}} {count}\n")
        };
        let bounds = ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512"];
        let counts = [1, 2, 3, 3, 3, 3, 3, 3, 3, 3];
        let lines = bounds.iter().zip(counts).map(|(it, n)| line(it, n));
        let expected = format!(
            "# HELP batch_units batch_units\n# TYPE batch_units histogram\n{}{}\
             batch_units_sum{{service=\"shop\"}} 606\nbatch_units_count{{service=\"shop\"}} 4\n",
            lines.collect::<String>(),
            line("+Inf", 4)
        );
        assert_eq!(page, expected);
    }

    #[test]
    fn the_name_of_a_histogram_selects_its_buckets() {
        let page = page(|| {
            histogram!("wait_seconds").record(0.003);
            histogram!("batch_size").record(3.0);
            histogram!("weights").record(3.0);
        });
        for line in [
            "wait_seconds_bucket{le=\"0.0025\"} 0",
            "wait_seconds_bucket{le=\"0.005\"} 1",
            "wait_seconds_bucket{le=\"5\"} 1",
            "batch_size_bucket{le=\"512\"} 1",
            "weights_bucket{le=\"1\"} 0",
            "weights_bucket{le=\"10\"} 1",
            "weights_bucket{le=\"1000000000\"} 1",
        ] {
            assert!(page.lines().any(|it| it == line), "{line}: {page}");
        }
    }

    #[test]
    fn names_and_values_from_outside_keep_the_page_valid() {
        let page = page(|| {
            counter!("1a-b.c:d", "1x:y" => "a\\\"\n").increment(1);
            counter!("1a-b.c:d", "1x:y" => "a\\\"\n").increment(3);
        });
        let expected = "# HELP _a_b_c:d _a_b_c:d\n# TYPE _a_b_c:d counter\n\
             _a_b_c:d{_x_y=\"a\\\\\\\"\\n\"} 4\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn all_metrics_of_one_name_have_the_kind_and_the_label_names_of_the_first() {
        let page = page(|| {
            counter!("orders_total", "outcome" => "paid").increment(1);
            counter!("orders_total").increment(1);
            gauge!("orders_total", "outcome" => "lost").set(1.0);
            histogram!("weights", "le" => "1").record(1.0);
            counter!("orders_total", "outcome" => "lost").increment(2);
        });
        let expected = "# HELP orders_total orders_total\n# TYPE orders_total counter\n\
             orders_total{outcome=\"lost\"} 2\norders_total{outcome=\"paid\"} 1\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn samples_of_several_threads_are_all_counted() {
        let recorder = Recorder::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    with_local_recorder(&recorder, || {
                        for _ in 0..1_000 {
                            histogram!("wait_seconds").record(1.0);
                            counter!("waits_total").increment(1);
                        }
                    });
                });
            }
        });
        let page = text(&recorder);
        assert!(page.contains("wait_seconds_sum 4000\nwait_seconds_count 4000\n"));
        assert!(page.contains("waits_total 4000\n"));
    }
}
