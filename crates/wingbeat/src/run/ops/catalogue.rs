//! The metrics that `docs/metrics.md` lists. The recorder takes their descriptions from there, so
//! that `/metrics` and the document agree.

const PAGE: &str = include_str!("../../../METRICS.md");

/// A row of the document's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The name of the metric.
    pub(super) name: &'static str,
    /// Counter, gauge or histogram.
    pub(super) kind: &'static str,
    /// Its description.
    pub(super) meaning: &'static str,
}

/// Returns all documented metrics.
pub(super) fn written() -> impl Iterator<Item = Written> {
    PAGE.lines().filter_map(|line| {
        let line = line.strip_prefix('|')?.strip_suffix('|')?;
        let mut cells = line.split('|').map(str::trim);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let kind = cells.next()?.split(',').next()?;
        let meaning = cells.nth(1)?;
        Some(Written {
            name,
            kind,
            meaning,
        })
    })
}

/// Registers the descriptions with the recorder.
pub(super) fn describe() {
    for Written {
        name,
        kind,
        meaning,
    } in written()
    {
        match kind {
            "counter" => metrics::describe_counter!(name, meaning),
            "histogram" => metrics::describe_histogram!(name, meaning),
            _ => metrics::describe_gauge!(name, meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        let lines = PAGE.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(written().count(), lines.count());
        let kinds = ["counter", "gauge", "histogram"];
        assert!(written().all(|it| kinds.contains(&it.kind)));
        let named = |name| written().find(|it| it.name == name);
        let batch = named("wingbeat_commit_batch_units").expect("it is there");
        assert_eq!(
            (batch.kind, batch.meaning),
            ("histogram", "units in one commit")
        );
    }

    #[test]
    fn names_say_what_they_count() {
        for Written { name, kind, .. } in written() {
            assert!(name.starts_with("wingbeat_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
    }
}
