//! Dashboards and alerts ask for metrics and labels that `docs/metrics.md` lists, and every metric
//! is on a dashboard. Every alert has a section in the runbook.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;
use crate::dashboards::{self, Dashboard, Documented, SOURCE, problems};

const METRICS: &str = "docs/metrics.md";
const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const RUNBOOK: &str = "docs/runbook.md";

/// Refuses a dashboard that is not the generated one, a query for what does not exist, a metric
/// without a panel, and an alert without a section.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let text = |path| tree.file(path).map_or("", |file| file.text.as_str());
    let documented = Documented::read(text(METRICS));
    let dashboards = match dashboards::of(text(SOURCE)) {
        Ok(dashboards) => dashboards,
        Err(error) => return vec![Finding::new(SOURCE, format!("{error:#}"))],
    };
    let mut findings = Vec::new();
    let mut shown = BTreeSet::new();
    for Dashboard {
        path,
        text: expected,
        queries,
    } in &dashboards
    {
        if text(path) != expected {
            let problem = format!("differs from {SOURCE}: cargo xtask dashboards");
            findings.push(Finding::new(path, problem));
        }
        for query in queries {
            let problems = problems(&documented, query).into_iter();
            findings.extend(problems.map(|problem| Finding::new(SOURCE, problem)));
            shown.extend(documented.of(query));
        }
    }
    let hidden = documented.names().filter(|name| !shown.contains(name));
    findings.extend(hidden.map(|name| Finding::new(METRICS, format!("no dashboard has `{name}`"))));
    findings.extend(alerts(text(ALERTS), text(RUNBOOK), &documented));
    findings
}

/// Checks the alerts: what each asks for, and its section in the runbook.
fn alerts(text: &str, runbook: &str, documented: &Documented) -> Vec<Finding> {
    let mut findings = Vec::new();
    for alert in text.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default().trim();
        let expression = alert.split("expr:").nth(1).unwrap_or_default();
        let end = [
            "\n        for:",
            "\n        labels:",
            "\n        annotations:",
        ];
        let end = end.iter().filter_map(|it| expression.find(it)).min();
        let query = &expression[..end.unwrap_or(expression.len())];
        let mut problems = problems(documented, query);
        if !runbook.contains(&format!("\n## {name}\n")) {
            problems.push(format!("{RUNBOOK} has no section `{name}`"));
        }
        let link = format!("{RUNBOOK}#{}", name.to_lowercase());
        if !alert.contains(&link) {
            problems.push(format!("the alert `{name}` does not name `{link}`"));
        }
        findings.extend(problems.into_iter().map(|it| Finding::new(ALERTS, it)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tree::SourceFile;
    use super::*;

    const PAGE: &str = "| `wingbeat_ready` | gauge | | ready |\n";

    fn alert(name: &str, query: &str) -> String {
        format!(
            "groups:\n  - rules:\n      - alert: {name}\n        expr: {query}\n        \
             annotations: {{summary: a, runbook: docs/runbook.md#{}}}\n",
            name.to_lowercase()
        )
    }

    fn of_alert(text: &str, runbook: &str) -> Vec<String> {
        let findings = alerts(text, runbook, &Documented::read(PAGE));
        findings.into_iter().map(|it| it.problem).collect()
    }

    #[test]
    fn an_alert_asks_for_what_exists_and_has_a_section() {
        let good = alert("NotReady", "wingbeat_ready == 0");
        assert_eq!(of_alert(&good, "# Runbook\n\n## NotReady\n"), [""; 0]);
        assert_eq!(
            of_alert(&good, "# Runbook\n"),
            ["docs/runbook.md has no section `NotReady`"]
        );
        let bad = alert("NotReady", "wingbeat_redy == 0");
        assert_eq!(
            of_alert(&bad, "\n## NotReady\n"),
            ["docs/metrics.md has no `wingbeat_redy`"]
        );
        let unlinked = good.replace("runbook.md#", "other.md#");
        assert_eq!(of_alert(&unlinked, "\n## NotReady\n").len(), 1);
    }

    #[test]
    fn a_dashboard_that_is_not_generated_and_a_metric_without_a_panel_are_found() {
        let source = "[[board]]\nid = \"a\"\ntitle = \"A\"\nabout = \"B.\"\nrow = []\n";
        let Dashboard { path, text, .. } = dashboards::of(source).unwrap().remove(0);
        let tree = |text: &str| Tree {
            files: vec![
                SourceFile::new(SOURCE, source),
                SourceFile::new(path.clone(), text),
                SourceFile::new(METRICS, "| `wingbeat_unseen_total` | counter | | new |\n"),
            ],
            ..Tree::default()
        };
        let of = |text: &str| -> Vec<String> {
            let found = check(&tree(text)).into_iter();
            found
                .map(|it| format!("{}: {}", it.place, it.problem))
                .collect()
        };
        let stale = format!("{path}: differs from {SOURCE}: cargo xtask dashboards");
        let unseen = format!("{METRICS}: no dashboard has `wingbeat_unseen_total`");
        assert_eq!(of("{}"), [stale, unseen.clone()]);
        assert_eq!(of(&text), [unseen]);
    }
}
