//! What a process tells at `/metrics`, read as a scraper reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shop_client::Shop;
use shop_client::http::Call;

/// One line: the labels as they stand, and the value.
type Line = (String, f64);

/// One scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Kind by family, of `# TYPE`.
    pub kinds: BTreeMap<String, String>,
    /// Families with `# HELP`.
    pub explained: BTreeSet<String>,
    lines: BTreeMap<String, Vec<Line>>,
}

impl Scrape {
    /// Scrapes the process whose ops port it is.
    pub async fn of(ops_port: u16) -> Self {
        let ops = Shop::at(&format!("http://127.0.0.1:{ops_port}")).unwrap();
        let answer = ops.ask(&Call::get("/metrics")).await.unwrap();
        assert_eq!(answer.status, 200);
        Self::read(std::str::from_utf8(&answer.body).unwrap())
    }

    fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                let before = scrape.kinds.insert(name.into(), kind.into());
                assert_eq!(before, None, "{name} is told twice");
            } else if let Some(of) = line.strip_prefix("# HELP ") {
                let (name, _) = of.split_once(' ').unwrap();
                scrape.explained.insert(name.into());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').unwrap().to_owned();
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                let lines = scrape.lines.entry(name.into()).or_default();
                lines.push((labels, value));
            }
        }
        scrape
    }

    /// The families that are there, with at least one line.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        let told = |name: &&str| {
            let parts = ["", "_bucket", "_count"].map(|part| format!("{name}{part}"));
            parts.iter().any(|part| self.lines.contains_key(part))
        };
        self.kinds.keys().map(String::as_str).filter(told)
    }

    /// The sum over all lines of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""));
        let wanted: Vec<String> = wanted.collect();
        let lines = self.lines.get(name).into_iter().flatten();
        let fitting = lines.filter(|(labels, _)| wanted.iter().all(|label| labels.contains(label)));
        fitting.map(|(_, value)| value).sum()
    }

    /// Whether there is any line of this name.
    pub fn has(&self, name: &str) -> bool {
        self.lines.contains_key(name)
    }
}

/// The names in the tables of `docs/metrics.md`, and their kinds.
pub fn catalogue() -> BTreeMap<String, String> {
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
    fn a_scrape_is_read_as_it_is_written() {
        let text = "# HELP a_total so many\n# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\n\
             a_total{x=\"1\",y=\"3\"} 4\n\n# TYPE b gauge\nb 0.5\n# TYPE c gauge\n";
        let scrape = Scrape::read(text);
        assert_eq!(scrape.sum("a_total", &[("x", "1")]), 7.0);
        assert_eq!(scrape.sum("a_total", &[("x", "1"), ("y", "3")]), 4.0);
        assert_eq!(scrape.sum("b", &[]), 0.5);
        assert_eq!(scrape.families().collect::<Vec<_>>(), ["a_total", "b"]);
        assert!(scrape.explained.contains("a_total"));
    }
}
