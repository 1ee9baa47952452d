//! Queries of views: selection, order and paging.

use std::collections::BTreeMap;

use wingbeat_core::Name;
use wingbeat_core::store::{Page, Position, Query, Select};
use wingbeat_core::unit::Row;

pub(super) type View = BTreeMap<String, Row>;

/// Returns the value by which a selected row is ordered; `None` if the row is not selected.
fn sort_value(select: &Select, row: &Row) -> Option<String> {
    let value = |column: &Name| {
        let mut columns = row.columns.iter();
        let found = columns.find(|(name, _)| name == column);
        found.map(|(_, value)| value.clone())
    };
    match select {
        Select::All => Some(String::new()),
        Select::Prefix { column, prefix, .. } => {
            value(column).filter(|value| value.starts_with(prefix))
        }
        Select::Range {
            column,
            from,
            until,
            ..
        } => {
            let before_end = |value: &String| until.as_ref().is_none_or(|end| value < end);
            value(column).filter(|value| value >= from && before_end(value))
        }
        Select::Contains { column, part } => value(column)
            .filter(|value| value.contains(part))
            .map(|_| String::new()),
    }
}

pub(super) fn select(view: &View, query: &Query) -> Page {
    let mut found: Vec<(Position, Row)> = view
        .iter()
        .filter_map(|(key, row)| {
            let value = sort_value(&query.select, row)?;
            let key = key.clone();
            Some((Position { value, key }, row.clone()))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| (&a.value, &a.key).cmp(&(&b.value, &b.key)));
    let descending = matches!(
        query.select,
        Select::Prefix {
            descending: true,
            ..
        } | Select::Range {
            descending: true,
            ..
        }
    );
    if descending {
        found.reverse();
    }
    if let Some(after) = &query.after {
        let is_after = |position: &Position| {
            let order = (&position.value, &position.key).cmp(&(&after.value, &after.key));
            if descending {
                order.is_lt()
            } else {
                order.is_gt()
            }
        };
        found.retain(|(position, _)| is_after(position));
    }
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = more
        .then(|| found.last().map(|(position, _)| position.clone()))
        .flatten();
    Page {
        rows: found
            .into_iter()
            .map(|(position, row)| (position.key, row))
            .collect(),
        next,
    }
}
