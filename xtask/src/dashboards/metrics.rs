//! The documented metrics, and what a query asks for.

use std::collections::{BTreeMap, BTreeSet};

/// The beginning of the names of our metrics.
const OURS: &str = "wingbeat_";
/// Labels that Prometheus adds to every metric.
const ADDED: [&str; 2] = ["instance", "job"];
/// The label of the buckets of a histogram.
const BUCKET: &str = "le";
/// What a histogram has instead of its own name.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The documented metrics with their labels.
pub(crate) struct Documented(BTreeMap<String, Metric>);

struct Metric {
    histogram: bool,
    labels: BTreeSet<String>,
}

impl Documented {
    /// Reads the tables of `docs/metrics.md`.
    pub(crate) fn read(page: &str) -> Self {
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.trim_end_matches('`').to_owned();
            let histogram = cells.next()? == "histogram";
            let labels = cells.next()?.split(", ").filter_map(label);
            let labels = labels.map(str::to_owned).collect();
            Some((name, Metric { histogram, labels }))
        });
        Self(rows.collect())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the metric to which a name in a query belongs.
    fn find(&self, name: &str) -> Option<(&str, &Metric)> {
        let histogram = || {
            let base = PARTS.iter().find_map(|part| name.strip_suffix(part))?;
            let found = self.0.get_key_value(base)?;
            found.1.histogram.then_some(found)
        };
        let single = self.0.get_key_value(name).filter(|(_, it)| !it.histogram);
        let (name, metric) = single.or_else(histogram)?;
        Some((name, metric))
    }

    /// Returns the documented metrics that a query reads.
    pub(crate) fn of<'a>(&'a self, query: &'a str) -> impl Iterator<Item = &'a str> {
        names(query).filter_map(|name| Some(self.find(name)?.0))
    }
}

/// The label in a cell such as `outcome: ok, failed`, whose values follow it as cells of their own.
fn label(cell: &str) -> Option<&str> {
    let name = cell.split(':').next()?.trim();
    let is_label = !name.is_empty() && name.chars().all(|it| it.is_ascii_lowercase() || it == '_');
    is_label.then_some(name)
}

/// The names of our metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    words(query).filter(|word| word.starts_with(OURS))
}

fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
}

/// The labels by which a query selects and groups.
fn labels(query: &str) -> BTreeSet<&str> {
    let mut labels = BTreeSet::new();
    for part in query.split('{').skip(1) {
        let selector = part.split('}').next().unwrap_or_default();
        let pairs = selector.split("\", ").filter(|it| !it.is_empty());
        labels.extend(pairs.filter_map(|it| it.split(['=', '!']).next()));
    }
    for part in query.split(" by (").skip(1) {
        let group = part.split(')').next().unwrap_or_default();
        labels.extend(group.split(", ").filter(|it| !it.is_empty()));
    }
    labels
}

/// Returns what is wrong with a query: a metric that is not documented, or a label that none of its
/// metrics has.
pub(crate) fn problems(documented: &Documented, query: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known: BTreeSet<&str> = ADDED.into();
    for name in names(query) {
        match documented.find(name) {
            Some((_, metric)) => {
                known.extend(metric.labels.iter().map(String::as_str));
                known.extend(metric.histogram.then_some(BUCKET));
            }
            None => problems.push(format!("docs/metrics.md has no `{name}`")),
        }
    }
    let unknown = labels(query).into_iter().filter(|it| !known.contains(it));
    let unknown = unknown.map(|it| format!("no metric of the query has the label `{it}`: {query}"));
    problems.extend(unknown);
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| Name | Kind | Labels | Meaning |
|---|---|---|---|
| `wingbeat_a_seconds` | histogram | service, outcome: ok, failed | a duration |
| `wingbeat_b` | gauge, shared | | a number |
| `wingbeat_c_total` | counter | type, then: retried, parked | a count |
";

    fn problems_of(query: &str) -> Vec<String> {
        problems(&Documented::read(PAGE), query)
    }

    #[test]
    fn documented_metrics_and_labels_are_no_problem() {
        let rate = "sum by (le, service) (rate(wingbeat_a_seconds_bucket{outcome!=\"ok\"}[5m]))";
        let none = Vec::<String>::new();
        assert_eq!(
            problems_of(&format!("histogram_quantile(0.5, {rate})")),
            none
        );
        assert_eq!(problems_of("max by (instance) (wingbeat_b) > 1"), none);
        assert_eq!(
            problems_of("wingbeat_c_total{type=\"a, b\", then=\"x\"}"),
            none
        );
    }

    #[test]
    fn a_metric_or_a_label_that_is_not_documented_is_a_problem() {
        for (query, word) in [
            ("wingbeat_d", "`wingbeat_d`"),
            ("wingbeat_a_seconds", "`wingbeat_a_seconds`"),
            ("wingbeat_b_sum", "`wingbeat_b_sum`"),
            ("sum by (service) (wingbeat_b)", "`service`"),
            ("wingbeat_b{le=\"1\"}", "`le`"),
            ("wingbeat_c_total{then=\"x\", outcome=~\"y\"}", "`outcome`"),
        ] {
            let problems = problems_of(query);
            assert_eq!(problems.len(), 1, "{query}: {problems:?}");
            assert!(problems[0].contains(word), "{problems:?}");
        }
    }

    #[test]
    fn a_query_reads_the_metric_of_each_of_its_names() {
        let documented = Documented::read(PAGE);
        let query = "wingbeat_b + sum(rate(wingbeat_a_seconds_count[1m]))";
        let read: Vec<&str> = documented.of(query).collect();
        assert_eq!(read, ["wingbeat_b", "wingbeat_a_seconds"]);
        assert_eq!(documented.names().count(), 3);
    }
}
