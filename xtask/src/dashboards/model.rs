//! A dashboard as Grafana reads it.

use serde::Deserialize;
use serde_json::{Value, json};

/// The data source that the reader of a dashboard chooses.
const SOURCE: &str = "${source}";
/// The version of Grafana's format.
const SCHEMA: u32 = 39;
/// The width of a dashboard, in units of Grafana's grid.
const WIDTH: u32 = 24;

/// The dashboards as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Boards {
    pub(super) board: Vec<Board>,
}

/// A dashboard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    /// The name of its file, and its id in Grafana.
    pub(super) id: String,
    title: String,
    about: String,
    choose: Option<Choice>,
    row: Vec<Row>,
}

/// Labels whose values the reader chooses, and a metric that has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    labels: Vec<String>,
    of: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    panel: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    about: String,
    kind: Kind,
    unit: Unit,
    queries: Vec<Query>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// One large number.
    Number,
    /// Lines over time.
    Lines,
}

/// The unit of a panel's values.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Seconds,
    PerSecond,
    Count,
    /// A share from 0 to 1.
    Share,
}

/// A query in PromQL.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// The name of a series, with labels in double braces.
    legend: String,
    text: String,
}

impl Board {
    /// All queries of the panels.
    pub(super) fn queries(&self) -> impl Iterator<Item = &str> {
        let panels = self.row.iter().flat_map(|row| &row.panel);
        panels.flat_map(|panel| panel.queries.iter().map(|it| &*it.text))
    }

    /// Returns the text of the file that Grafana imports.
    pub(super) fn file(&self) -> String {
        let variables = self.choose.iter().flat_map(Choice::variables);
        let source = json!({
            "name": "source", "label": "Data source", "type": "datasource", "query": "prometheus",
        });
        let board = json!({
            "uid": self.id,
            "title": self.title,
            "description": self.about,
            "tags": ["wingbeat"],
            "schemaVersion": SCHEMA,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "links": [{
                "type": "dashboards", "tags": ["wingbeat"], "title": "Wingbeat",
                "asDropdown": true, "keepTime": true, "includeVars": true,
            }],
            "templating": {"list": std::iter::once(source).chain(variables).collect::<Vec<_>>()},
            "panels": self.panels(),
        });
        format!("{board:#}\n")
    }

    /// Places the panels: the rows one below the other, and the panels of each from left to right.
    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        let mut top = 0;
        for row in &self.row {
            let id = panels.len() + 1;
            let place = json!({"x": 0, "y": top, "w": WIDTH, "h": 1});
            panels.push(json!({
                "id": id, "type": "row", "title": row.title, "gridPos": place, "panels": [],
            }));
            top += 1;
            let mut left = 0;
            let mut height = 0;
            for panel in &row.panel {
                let (wide, high) = panel.kind.size();
                if left + wide > WIDTH {
                    (top, left, height) = (top + height, 0, 0);
                }
                let place = json!({"x": left, "y": top, "w": wide, "h": high});
                panels.push(panel.json(panels.len() + 1, &place));
                left += wide;
                height = height.max(high);
            }
            top += height;
        }
        panels
    }
}

impl Choice {
    fn variables(&self) -> impl Iterator<Item = Value> {
        self.labels.iter().map(|label| {
            json!({
                "name": label,
                "type": "query",
                "datasource": {"type": "prometheus", "uid": SOURCE},
                "query": {
                    "query": format!("label_values({}, {label})", self.of), "refId": label,
                },
                "refresh": 2,
                "sort": 1,
                "multi": true,
                "includeAll": true,
                "allValue": ".*",
                "current": {"text": ["All"], "value": ["$__all"]},
            })
        })
    }
}

impl Panel {
    /// Whether Grafana asks for exemplars, which buckets have.
    fn has_exemplars(&self, query: &Query) -> bool {
        self.kind == Kind::Lines && query.text.contains("_bucket")
    }

    fn json(&self, id: usize, place: &Value) -> Value {
        let source = json!({"type": "prometheus", "uid": SOURCE});
        let names = ('A'..='Z').map(String::from);
        let targets = names.zip(&self.queries).map(|(name, query)| {
            json!({
                "refId": name, "datasource": source, "expr": query.text,
                "legendFormat": query.legend, "instant": self.kind == Kind::Number,
                "range": self.kind == Kind::Lines, "exemplar": self.has_exemplars(query),
            })
        });
        json!({
            "id": id,
            "type": self.kind.name(),
            "title": self.title,
            "description": self.about,
            "gridPos": place,
            "datasource": source,
            "fieldConfig": {"defaults": self.kind.look(self.unit), "overrides": []},
            "options": self.kind.options(),
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Number => "stat",
            Self::Lines => "timeseries",
        }
    }

    /// Width and height in units of the grid.
    const fn size(self) -> (u32, u32) {
        match self {
            Self::Number => (4, 4),
            Self::Lines => (8, 8),
        }
    }

    fn look(self, unit: Unit) -> Value {
        let unit = unit.name();
        match self {
            Self::Number => json!({"unit": unit, "color": {"mode": "fixed", "fixedColor": "text"}}),
            Self::Lines => json!({
                "unit": unit,
                "min": 0,
                "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"},
            }),
        }
    }

    fn options(self) -> Value {
        match self {
            Self::Number => json!({
                "reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value",
                "graphMode": "none",
            }),
            Self::Lines => json!({
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["max", "last"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
        }
    }
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::PerSecond => "ops",
            Self::Count => "short",
            Self::Share => "percentunit",
        }
    }
}
