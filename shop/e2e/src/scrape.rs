//! The metrics that a process exposes at `/metrics`, read as a scraper reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shop_client::Shop;
use shop_client::http::Call;

/// One line: its labels and its value.
type Line = (BTreeMap<String, String>, f64);

/// One scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    /// The kind of each family, from `# TYPE`.
    pub kinds: BTreeMap<String, String>,
    /// The families with `# HELP`.
    pub explained: BTreeSet<String>,
    lines: BTreeMap<String, Vec<Line>>,
}

impl Scrape {
    /// Scrapes the process with this ops port.
    ///
    /// # Errors
    ///
    /// Says that the process does not answer.
    pub async fn of(ops_port: u16) -> Result<Self, String> {
        let ops = Shop::at(&format!("http://127.0.0.1:{ops_port}")).unwrap();
        let answer = ops.ask(&Call::get("/metrics")).await;
        let answer = answer.map_err(|why| format!("port {ops_port}: {why}"))?;
        assert_eq!(answer.status, 200, "port {ops_port}");
        Ok(Self::read(std::str::from_utf8(&answer.body).unwrap()))
    }

    fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                let before = scrape.kinds.insert(name.into(), kind.into());
                assert_eq!(before, None, "{name} has two lines `# TYPE`");
            } else if let Some(of) = line.strip_prefix("# HELP ") {
                let (name, _) = of.split_once(' ').unwrap();
                scrape.explained.insert(name.into());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels_of(labels.strip_suffix('}').unwrap());
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                let lines = scrape.lines.entry(name.into()).or_default();
                lines.push((labels, value));
            }
        }
        scrape
    }

    /// The families with at least one line.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        let has_lines = |name: &&str| {
            let parts = ["", "_bucket", "_count"].map(|part| format!("{name}{part}"));
            parts.iter().any(|part| self.lines.contains_key(part))
        };
        self.kinds.keys().map(String::as_str).filter(has_lines)
    }

    /// The lines of this name that have these labels.
    fn lines<'a>(
        &'a self,
        name: &str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Line> {
        let lines = self.lines.get(name).into_iter().flatten();
        lines.filter(|(found, _)| {
            let has = |(name, value): &(&str, &str)| found.get(*name).is_some_and(|it| it == value);
            labels.iter().all(has)
        })
    }

    /// The sum over all lines of this name that have these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.lines(name, labels).map(|(_, value)| value).sum()
    }

    /// The sums over all lines of this name that have these labels, by another label; sums of zero are left out.
    #[must_use]
    pub fn by_label(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        label: &str,
    ) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.lines(name, labels).filter(|(_, value)| *value != 0.0) {
            let key = labels.get(label).cloned().unwrap_or_default();
            *sums.entry(key).or_insert(0) += *value as u64;
        }
        sums
    }

    /// Returns whether there is any line of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.lines.contains_key(name)
    }
}

/// Labels as they are written: `name="value",…`. No value of ours contains a quote or a comma.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// The metrics in the tables of `docs/metrics.md`, and their kinds.
#[must_use]
pub fn documented() -> BTreeMap<String, String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let kind = rest.split([' ', ',']).next().unwrap();
        (name.to_owned(), kind.to_owned())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_parsed_by_family_and_label() {
        let text = "# HELP a_total so many\n# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\n\
             a_total{x=\"1\",y=\"3\"} 4\n\n# TYPE b gauge\nb 0.5\n# TYPE c gauge\n";
        let scrape = Scrape::read(text);
        assert_eq!(scrape.sum("a_total", &[("x", "1")]), 7.0);
        assert_eq!(scrape.sum("a_total", &[("x", "1"), ("y", "3")]), 4.0);
        assert_eq!(scrape.sum("b", &[]), 0.5);
        assert_eq!(scrape.families().collect::<Vec<_>>(), ["a_total", "b"]);
        assert!(scrape.explained.contains("a_total"));
        let by_y = [("2".to_owned(), 3), ("3".to_owned(), 4)];
        assert_eq!(scrape.by_label("a_total", &[("x", "1")], "y"), by_y.into());
    }
}
