//! The figures of runs, and their comparison.

use std::collections::BTreeMap;
use std::fmt;

/// What is measured, and its unit.
type Figure = (String, String);

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Run(BTreeMap<Figure, Vec<f64>>);

impl Run {
    /// Reads a line of the program. A figure is `  name: 123/s` or `  name: 1.5 ms`, indented; all
    /// other lines are for people.
    pub(super) fn read(&mut self, line: &str) {
        let Some(text) = line.strip_prefix("  ") else {
            return;
        };
        let Some((name, rest)) = text.split_once(": ") else {
            return;
        };
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.');
        let (number, unit) = rest.split_at(end.unwrap_or(rest.len()));
        let unit = unit.split('(').next().unwrap_or_default().trim();
        if let Ok(value) = number.parse() {
            self.add(name.trim(), unit, value);
        }
    }

    pub(super) fn add(&mut self, name: &str, unit: &str, value: f64) {
        let figure = (name.to_owned(), unit.to_owned());
        self.0.entry(figure).or_default().push(value);
    }

    /// Returns a figure: the median, if the program has measured several times.
    pub(super) fn get(&self, name: &str, unit: &str) -> Option<f64> {
        let values = self.0.get(&(name.to_owned(), unit.to_owned()))?;
        Some(Spread::of(values.clone())?.median)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The runs of both revisions, in pairs.
#[derive(Debug, Default)]
pub(super) struct Pairs(BTreeMap<Figure, Vec<(f64, f64)>>);

impl Pairs {
    /// Adds a run of each. Figures that only one of them has are left out.
    pub(super) fn add(&mut self, before: &Run, after: &Run) {
        for figure in before.0.keys() {
            let (name, unit) = figure;
            let both = before.get(name, unit).zip(after.get(name, unit));
            if let Some(both) = both {
                self.0.entry(figure.clone()).or_default().push(both);
            }
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | before | after | after / before |")?;
        write!(f, "|---|---|---|---|")?;
        for ((name, unit), pairs) in &self.0 {
            let before = Spread::of(pairs.iter().map(|(before, _)| *before).collect());
            let after = Spread::of(pairs.iter().map(|(_, after)| *after).collect());
            // A figure can be 0, such as a count of collisions; it has no ratio then.
            let ratios = pairs.iter().filter(|(before, _)| *before != 0.0);
            let ratio = Spread::of(ratios.map(|(before, after)| after / before).collect());
            let [before, after, ratio] = [before, after, ratio].map(|it| match it {
                Some(spread) => spread.to_string(),
                None => "–".into(),
            });
            write!(f, "\n| {name}, {unit} | {before} | {after} | {ratio} |")?;
        }
        Ok(())
    }
}

/// The median of values, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Spread {
    /// Returns `None` if there is no value. The median of an even number is the mean of two.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) {
            values[middle - 1]
        } else {
            upper
        };
        Some(Self {
            lowest: values[0],
            median: f64::midpoint(lower, upper),
            highest: *values.last()?,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: f64| match value {
            value if value >= 100.0 => format!("{value:.0}"),
            value => format!("{value:.2}"),
        };
        let Self {
            lowest,
            median,
            highest,
        } = *self;
        let (lowest, highest) = (shown(lowest), shown(highest));
        write!(f, "{} ({lowest} to {highest})", shown(median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Run {
        let mut run = Run::default();
        lines.iter().for_each(|line| run.read(line));
        run
    }

    #[test]
    fn figures_are_read_from_the_lines_of_both_programs() {
        let run = run(&[
            "  order path, confirmed: 567/s (accepted 900/s; 12 MB resident)",
            "  path at 200/s · wingbeat: 12.50 ms",
            "order path, confirmed: median 567/s of 3",
            "  nothing: here",
            "| what | who | median | lowest to highest |",
        ]);
        assert_eq!(run.get("order path, confirmed", "/s"), Some(567.0));
        assert_eq!(run.get("path at 200/s · wingbeat", "ms"), Some(12.5));
        assert_eq!(run.0.len(), 2);
    }

    #[test]
    fn a_figure_that_a_run_measures_several_times_is_its_median() {
        let run = run(&["  a: 9/s", "  a: 1/s", "  a: 2/s"]);
        assert_eq!(run.get("a", "/s"), Some(2.0));
    }

    #[test]
    fn pairs_are_compared_with_each_other_and_not_their_medians() {
        let mut pairs = Pairs::default();
        // The machine becomes slower and slower; each pair says that nothing has changed.
        for speed in ["400", "200", "100"] {
            let line = format!("  a: {speed}/s");
            pairs.add(&run(&[&line]), &run(&[&line]));
        }
        let table = pairs.to_string();
        let expected = "| a, /s | 200 (100 to 400) | 200 (100 to 400) | 1.00 (1.00 to 1.00) |";
        assert!(table.ends_with(expected), "{table}");
    }

    #[test]
    fn the_ratio_says_how_much_more_the_working_tree_does() {
        let mut pairs = Pairs::default();
        pairs.add(&run(&["  a: 100/s", "  old: 1/s"]), &run(&["  a: 150/s"]));
        pairs.add(&run(&["  a: 50/s"]), &run(&["  a: 100/s"]));
        let table = pairs.to_string();
        assert!(table.contains("1.75 (1.50 to 2.00)"), "{table}");
        assert!(!table.contains("old"), "{table}");
    }

    #[test]
    fn a_figure_of_zero_has_no_ratio() {
        let mut pairs = Pairs::default();
        pairs.add(&run(&["  a: 0 lost"]), &run(&["  a: 0 lost"]));
        assert!(pairs.to_string().ends_with("| – |"), "{pairs}");
    }
}
