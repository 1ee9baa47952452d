//! Gauges of one moment in Prometheus' text format. They are not kept between scrapes: a value that
//! could not be read is absent, not out of date.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::catalogue::written;

/// Gauges, by name.
#[derive(Default)]
pub(super) struct Page(BTreeMap<&'static str, Vec<(String, f64)>>);

impl Page {
    pub(super) fn gauge(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let lines = self.0.entry(name).or_default();
        lines.push((labels.join(","), value));
    }

    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for (name, lines) in &self.0 {
            if let Some(known) = written().find(|it| it.name == *name) {
                let _ = writeln!(text, "# HELP {name} {}", known.meaning);
            }
            let _ = writeln!(text, "# TYPE {name} gauge");
            for (labels, value) in lines {
                let labels = match labels.as_str() {
                    "" => String::new(),
                    labels => format!("{{{labels}}}"),
                };
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_metric_follow_one_type_line() {
        let mut page = Page::default();
        page.gauge("wingbeat_up", &[], 1.0);
        page.gauge("wingbeat_age_seconds", &[("service", "a\"b\\")], 0.25);
        page.gauge(
            "wingbeat_age_seconds",
            &[("service", "c"), ("kind", "timer")],
            3.0,
        );
        let expected = "# TYPE wingbeat_age_seconds gauge\n\
             wingbeat_age_seconds{service=\"a\\\"b\\\\\"} 0.25\n\
             wingbeat_age_seconds{service=\"c\",kind=\"timer\"} 3\n\
             # TYPE wingbeat_up gauge\n\
             wingbeat_up 1\n";
        assert_eq!(page.render(), expected);
    }
}
