//! The dashboards for Grafana: written from one file to `deploy/grafana/dashboards`, and compared
//! with the metrics that `docs/metrics.md` lists.
//!
//! - [`model`] reads the file, and writes dashboards as Grafana reads them.
//! - [`metrics`] reads the documented metrics, and the metrics and labels of a query.

mod metrics;
mod model;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

pub(crate) use metrics::{Documented, problems};
use model::{Board, Boards};

/// What the dashboards show, relative to the root.
pub(crate) const SOURCE: &str = "deploy/grafana/boards.toml";
/// The folder of the dashboards, relative to the root.
const FOLDER: &str = "deploy/grafana/dashboards";

/// A dashboard.
pub(crate) struct Dashboard {
    /// Its file, relative to the root.
    pub(crate) path: String,
    /// The text of the file.
    pub(crate) text: String,
    pub(crate) queries: Vec<String>,
}

/// Returns the dashboards that a source describes.
///
/// # Errors
///
/// Fails if the source cannot be read.
pub(crate) fn of(source: &str) -> anyhow::Result<Vec<Dashboard>> {
    let boards: Boards = toml::from_str(source).context(SOURCE)?;
    Ok(boards.board.iter().map(dashboard).collect())
}

fn dashboard(board: &Board) -> Dashboard {
    Dashboard {
        path: format!("{FOLDER}/{}.json", board.id),
        text: board.file(),
        queries: board.queries().map(str::to_owned).collect(),
    }
}

/// Writes the dashboards.
///
/// # Errors
///
/// Fails if a file cannot be written.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root.join(FOLDER))?;
    let source = fs::read_to_string(root.join(SOURCE)).context(SOURCE)?;
    for Dashboard { path, text, .. } in of(&source)? {
        fs::write(root.join(&path), text).with_context(|| path.clone())?;
        println!("{path}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = r#"
[[board]]
id = "a"
title = "A"
about = "All."
choose = { labels = ["service"], of = "wingbeat_b" }

[[board.row]]
title = "One"
"#;

    fn panels(kinds: &[&str]) -> String {
        let panel = |kind: &&str| {
            format!(
                "\n[[board.row.panel]]\ntitle = \"P\"\nabout = \"B.\"\nkind = \"{kind}\"\n\
                 unit = \"seconds\"\nqueries = [{{ legend = \"x\", text = \"wingbeat_b\" }}]\n"
            )
        };
        kinds.iter().map(panel).collect()
    }

    #[test]
    fn panels_stand_side_by_side_and_never_overlap() {
        let kinds = ["number", "number", "lines", "lines", "lines", "lines"];
        let boards = of(&format!("{BOARD}{}", panels(&kinds))).unwrap();
        let board: serde_json::Value = serde_json::from_str(&boards[0].text).unwrap();
        let mut taken = std::collections::BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
            assert!(x + w <= 24);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{panel:#}");
            }
        }
        assert_eq!(board["panels"].as_array().unwrap().len(), kinds.len() + 1);
        assert_eq!(board["templating"]["list"][1]["name"], "service");
        assert_eq!(boards[0].queries, ["wingbeat_b"; 6]);
    }

    #[test]
    fn a_word_that_is_not_known_is_refused_with_its_place() {
        let error = of(&format!("{BOARD}{}", panels(&["circle"])))
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("circle"), "{error:#}");
    }
}
