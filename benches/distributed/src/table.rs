//! The table of medians and goals at the end.

use std::fmt;

/// A figure with the values of all runs.
#[derive(Clone, Debug)]
struct Figure {
    what: String,
    who: String,
    unit: &'static str,
    runs: Vec<f64>,
}

/// All figures, in the order of their first value.
#[derive(Default)]
pub(crate) struct Table {
    figures: Vec<Figure>,
    goals: Vec<(String, String, String)>,
}

impl Table {
    /// Adds a value and prints it.
    pub(crate) fn add(&mut self, what: &str, who: &str, unit: &'static str, value: f64) {
        println!("  {what} · {who}: {} {unit}", shown(value));
        let known = self
            .figures
            .iter_mut()
            .find(|it| it.what == what && it.who == who && it.unit == unit);
        match known {
            Some(figure) => figure.runs.push(value),
            None => self.figures.push(Figure {
                what: what.into(),
                who: who.into(),
                unit,
                runs: vec![value],
            }),
        }
    }

    /// Returns the median of a figure.
    pub(crate) fn median(&self, what: &str, who: &str, unit: &str) -> Option<f64> {
        let figure = self
            .figures
            .iter()
            .find(|it| it.what == what && it.who == who && it.unit == unit)?;
        Some(median(&figure.runs))
    }

    /// Adds a goal and the value that was reached.
    pub(crate) fn goal(&mut self, goal: impl Into<String>, reached: impl Into<String>, met: bool) {
        let met = if met { "met" } else { "not met" };
        self.goals.push((goal.into(), reached.into(), met.into()));
    }

    /// Returns the highest median among these clients.
    pub(crate) fn best(&self, what: &str, who: &[&str], unit: &str) -> Option<f64> {
        who.iter()
            .filter_map(|who| self.median(what, who, unit))
            .max_by(f64::total_cmp)
    }
}

fn median(runs: &[f64]) -> f64 {
    let mut runs = runs.to_vec();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn shown(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | who | median | lowest to highest |")?;
        writeln!(f, "|---|---|---|---|")?;
        for figure in &self.figures {
            let Figure {
                what,
                who,
                unit,
                runs,
            } = figure;
            let low = runs.iter().copied().fold(f64::INFINITY, f64::min);
            let high = runs.iter().copied().fold(0.0, f64::max);
            let (median, low, high) = (shown(median(runs)), shown(low), shown(high));
            writeln!(f, "| {what} | {who} | {median} {unit} | {low} to {high} |")?;
        }
        if self.goals.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| goal | reached | |\n|---|---|---|")?;
        for (goal, reached, met) in &self.goals {
            writeln!(f, "| {goal} | {reached} | {met} |")?;
        }
        Ok(())
    }
}
