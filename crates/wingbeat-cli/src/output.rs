//! Tables and JSON on stdout.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::exit::Failed;

/// The widest cell of a table, in characters.
const CELL_MAX: usize = 72;

/// A table with a head.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        let rows = vec![head.map(str::to_owned).to_vec()];
        Self { rows }
    }

    /// Adds a row of cells.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| cell_of(&cell)).to_vec());
    }

    /// Returns the lines, or `none` if there is no row below the head.
    pub(crate) fn render(&self, none: &str) -> String {
        if self.rows.len() < 2 {
            return format!("{none}\n");
        }
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Shortens a text to one cell of a table.
fn cell_of(text: &str) -> String {
    let text = harmless(text).replace('\n', " ");
    if text.chars().count() <= CELL_MAX {
        return text;
    }
    let mut short: String = text.chars().take(CELL_MAX - 1).collect();
    short.push('…');
    short
}

/// Replaces control characters. Texts of an app may contain what somebody sent to it, and a
/// terminal would obey.
pub(crate) fn harmless(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' => '\n',
        control if control.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(shown).collect()
}

/// Returns a field as a text of a cell.
pub(crate) fn field(item: &Value, name: &str) -> String {
    match &item[name] {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes a text.
///
/// # Errors
///
/// If stdout cannot be written. A reader that has seen enough, such as `head`, is none.
pub(crate) fn say(text: &str) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(Failed::local(format!(
            "the output cannot be written: {why}"
        ))),
        _ => Ok(()),
    }
}

/// Writes JSON.
///
/// # Errors
///
/// As for [`say`].
pub(crate) fn say_json(value: &Value) -> Result<(), Failed> {
    say(&format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_harmless_cells() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["orders".into(), "run\u{1b}[31mning".into()]);
        table.row(["x".into(), "y".repeat(100)]);
        let text = table.render("nothing");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME    STATE");
        assert_eq!(lines[1], "orders  run\u{fffd}[31mning");
        assert_eq!(lines[2].chars().count(), 8 + CELL_MAX);
        assert_eq!(Table::new(["NAME"]).render("nothing"), "nothing\n");
    }
}
