//! The metrics of this process, and their page in Prometheus' text format.
//!
//! A sample goes into its bucket at once, so memory does not grow while nobody scrapes.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::page::escaped;

/// Buckets of durations in seconds: from a fast commit to an outside system that does not answer.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Buckets of batch sizes.
const UNITS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Buckets of a user's histograms, whose unit the name does not say.
const OTHERS: [f64; 12] = [
    0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
];

/// The recorder of a process. Its clones share the metrics.
#[derive(Clone, Default)]
pub(in crate::run) struct Recorded(Arc<Metrics>);

#[derive(Default)]
struct Metrics {
    counters: Family<AtomicU64>,
    gauges: Family<AtomicU64>,
    histograms: Family<Buckets>,
    /// Descriptions by name on the page.
    descriptions: Mutex<BTreeMap<String, SharedString>>,
}

impl Recorded {
    /// Returns the page of all metrics, by name.
    pub(in crate::run) fn render(&self) -> String {
        let mut page = Page::default();
        self.0.counters.each(|key, value| {
            let mut samples = page.samples(key, "counter");
            samples.add("", &[], value.load(Ordering::Acquire));
        });
        self.0.gauges.each(|key, value| {
            let mut samples = page.samples(key, "gauge");
            samples.add("", &[], f64::from_bits(value.load(Ordering::Acquire)));
        });
        self.0.histograms.each(|key, buckets| {
            buckets.write(&mut page.samples(key, "histogram"));
        });
        let descriptions = self.0.descriptions.lock();
        page.render(&descriptions.unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a description. The first one of a name stays.
    fn describe(&self, name: &KeyName, description: SharedString) {
        let descriptions = self.0.descriptions.lock();
        let mut descriptions = descriptions.unwrap_or_else(PoisonError::into_inner);
        let name = valid(name.as_str(), true);
        descriptions.entry(name).or_insert(description);
    }
}

impl Recorder for Recorded {
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
        Counter::from_arc(self.0.counters.of(key, AtomicU64::default))
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.0.gauges.of(key, AtomicU64::default))
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        let buckets = || Buckets::within(bounds(key.name()));
        Histogram::from_arc(self.0.histograms.of(key, buckets))
    }
}

/// Metrics of one kind. Most callers look their metric up each time, by the hash that a key knows.
struct Family<T>(RwLock<BTreeMap<u64, SameHash<T>>>);

/// Metrics whose keys have one hash.
type SameHash<T> = Vec<(Key, Arc<T>)>;

impl<T> Default for Family<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Family<T> {
    /// Returns the metric of a key; creates it if it is new.
    fn of(&self, key: &Key, new: impl FnOnce() -> T) -> Arc<T> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = find(known.get(&key.get_hash()), key) {
            return metric;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let same_hash = known.entry(key.get_hash()).or_default();
        if let Some(metric) = find(Some(same_hash), key) {
            return metric;
        }
        let metric = Arc::new(new());
        same_hash.push((key.to_retained(), Arc::clone(&metric)));
        metric
    }

    fn each(&self, mut visit: impl FnMut(&Key, &T)) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (key, metric) in known.values().flatten() {
            visit(key, metric);
        }
    }
}

fn find<T>(same_hash: Option<&SameHash<T>>, key: &Key) -> Option<Arc<T>> {
    let mut same_hash = same_hash?.iter();
    let found = same_hash.find(|(known, _)| known == key);
    found.map(|(_, metric)| Arc::clone(metric))
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

/// A histogram.
struct Buckets {
    bounds: &'static [f64],
    /// Samples in each bucket and in none below it; those above all bounds at the end.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

impl Buckets {
    fn within(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Writes the buckets as counts of all samples up to their bound.
    fn write(&self, samples: &mut Samples<'_>) {
        let sum = f64::from_bits(self.sum.load(Ordering::Acquire));
        let mut count = 0;
        for (at, bucket) in self.counts.iter().enumerate() {
            count += bucket.load(Ordering::Acquire);
            let bound = self.bounds.get(at);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
            samples.add("_bucket", &[("le", &bound)], count);
        }
        samples.add("_sum", &[], sum);
        samples.add("_count", &[], count);
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        let bucket = bucket.unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Ordering::AcqRel);
        let plus = |sum: u64| Some((f64::from_bits(sum) + value).to_bits());
        let _ = self
            .sum
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, plus); // Never refused.
    }
}

/// Lines by name, in the order of their labels.
#[derive(Default)]
struct Page(BTreeMap<String, (&'static str, BTreeMap<String, String>)>);

/// The lines of one metric with one set of labels.
struct Samples<'a> {
    name: String,
    labels: String,
    text: &'a mut String,
}

impl Page {
    /// Starts the lines of a key. Keys that are the same on the page share them.
    fn samples(&mut self, key: &Key, kind: &'static str) -> Samples<'_> {
        let name = valid(key.name(), true);
        let labels: Vec<String> = key
            .labels()
            .map(|it| label(&valid(it.key(), false), it.value()))
            .collect();
        let labels = labels.join(",");
        let (_, lines) = self
            .0
            .entry(name.clone())
            .or_insert_with(|| (kind, BTreeMap::new()));
        let text = lines.entry(labels.clone()).or_default();
        text.clear();
        Samples { name, labels, text }
    }

    fn render(&self, descriptions: &BTreeMap<String, SharedString>) -> String {
        let mut page = String::new();
        for (name, (kind, lines)) in &self.0 {
            if let Some(description) = descriptions.get(name) {
                let description = description.replace('\\', "\\\\").replace('\n', "\\n");
                let _ = writeln!(page, "# HELP {name} {description}");
            }
            let _ = writeln!(page, "# TYPE {name} {kind}");
            page.extend(lines.values().map(String::as_str));
            page.push('\n');
        }
        page
    }
}

impl Samples<'_> {
    /// Adds a line: the name with a suffix, the labels with further ones, and a value.
    fn add(&mut self, suffix: &str, further: &[(&str, &str)], value: impl Display) {
        let own = Some(self.labels.clone()).filter(|it| !it.is_empty());
        let further = further.iter().map(|(name, value)| label(name, value));
        let labels: Vec<String> = own.into_iter().chain(further).collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.name);
    }
}

fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", escaped(value))
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

    use super::*;

    /// Returns the page after some work.
    fn page(work: impl FnOnce()) -> String {
        let recorded = Recorded::default();
        with_local_recorder(&recorded, work);
        recorded.render()
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
            gauge!("depth").decrement(1.0);
        });
        let expected = "# TYPE depth gauge\ndepth 1.5\n\n\
             # HELP orders_total orders\\nof all \"kinds\", by a\\\\b\n\
             # TYPE orders_total counter\n\
             orders_total{service=\"shop\",outcome=\"lost\"} 2\n\
             orders_total{service=\"shop\",outcome=\"paid\"} 4\n\n";
        assert_eq!(page, expected);
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
        let buckets: String = bounds
            .iter()
            .zip(counts)
            .map(|(it, n)| line(it, n))
            .collect();
        let expected = format!(
            "# TYPE batch_units histogram\n{buckets}{}\
             batch_units_sum{{service=\"shop\"}} 606\nbatch_units_count{{service=\"shop\"}} 4\n\n",
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
            counter!("_a_b_c:d", "_x_y" => "a\\\"\n").increment(3);
        });
        let expected = "_a_b_c:d{_x_y=\"a\\\\\\\"\\n\"} ";
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], "# TYPE _a_b_c:d counter");
        assert!(lines[1].starts_with(expected), "{page}");
        assert_eq!(lines.len(), 3, "one line for both: {page}");
    }

    #[test]
    fn samples_of_several_threads_are_all_counted() {
        let recorded = Recorded::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    with_local_recorder(&recorded, || {
                        for _ in 0..1_000 {
                            histogram!("wait_seconds").record(1.0);
                            counter!("waits_total").increment(1);
                        }
                    });
                });
            }
        });
        let page = recorded.render();
        assert!(page.contains("wait_seconds_sum 4000\nwait_seconds_count 4000\n"));
        assert!(page.contains("waits_total 4000\n"));
    }
}
