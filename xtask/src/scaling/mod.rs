//! `cargo xtask scaling`: the servers that a number of orders a day needs.
//!
//! [`model`] has the measured costs of an order and the formulas. `docs/scaling.md` explains them
//! and contains the table that this command prints; a test compares both.

mod model;

use model::{Assumptions, Load, ORDER};

/// The orders a day of the table in `docs/scaling.md`.
const DAYS: [f64; 3] = [1e6, 1e7, 1e8];

/// A row of the table: its name, its value for a load, and the digits after the point.
type Row = (&'static str, fn(&Load) -> f64, usize);

const ROWS: [Row; 18] = [
    ("orders a second, mean", |it| it.mean, 0),
    ("orders a second, peak", |it| it.peak, 0),
    (
        "messages published a second",
        |it| it.of_each(ORDER.published),
        0,
    ),
    ("units committed a second", |it| it.of_each(ORDER.units), 0),
    ("rows written a second", |it| it.of_each(ORDER.rows), 0),
    (
        "write-ahead log, MB/s",
        |it| it.megabytes(ORDER.log_kib * 1.024),
        1,
    ),
    (
        "to and from RabbitMQ, MB/s",
        |it| it.megabytes(ORDER.broker_kb),
        1,
    ),
    (
        "to and from PostgreSQL, MB/s",
        |it| it.megabytes(ORDER.store_kb),
        1,
    ),
    (
        "requests to Redis a second",
        |it| it.of_each(ORDER.cache_requests),
        0,
    ),
    ("busy cores, services", |it| it.cores(ORDER.services_ms), 1),
    (
        "busy cores, PostgreSQL",
        |it| it.cores(ORDER.postgres_ms),
        1,
    ),
    (
        "busy cores, RabbitMQ, without replication",
        |it| it.cores(ORDER.rabbitmq_ms),
        1,
    ),
    ("tables, GB a day", Load::tables, 0),
    ("processes of 1 core for services", Load::processes, 0),
    (
        "cells with one PostgreSQL each",
        |it| it.cells(it.limits().with_one_store()),
        0,
    ),
    (
        "cells with one PostgreSQL for each service",
        |it| it.cells(it.limits().with_stores()),
        0,
    ),
    (
        "the same, if a queue passed 20,000 messages a second",
        |it| it.with_fast_queues(),
        0,
    ),
    (
        "messages in the hottest queue of a cell a second",
        Load::hottest,
        0,
    ),
];

/// Prints the table for one number of orders a day, or for those of the page.
pub(crate) fn print(orders_per_day: Option<f64>) {
    match orders_per_day {
        Some(orders) => print!("{}", table(&[orders])),
        None => print!("{}\n{}", limits(), table(&DAYS)),
    }
}

/// The limits of one cell, as Markdown.
fn limits() -> String {
    let rows = Assumptions::default().limits().named();
    let mut text = "| Limit of one cell | Orders a second |\n|---|---|\n".to_owned();
    for (name, limit) in rows {
        text.push_str(&format!("| {name} | {} |\n", grouped(limit, 0)));
    }
    text
}

/// The needs at these numbers of orders a day, as Markdown.
fn table(days: &[f64]) -> String {
    let loads: Vec<Load> = days.iter().map(|orders| Load::of(*orders)).collect();
    let mut text = "| Orders a day |".to_owned();
    for orders in days {
        text.push_str(&format!(" {} |", grouped(*orders, 0)));
    }
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(days.len())));
    for (name, value, digits) in ROWS {
        text.push_str(&format!("| {name} |"));
        for load in &loads {
            text.push_str(&format!(" {} |", grouped(value(load), digits)));
        }
        text.push('\n');
    }
    text
}

/// A number with commas between groups of three digits.
fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(own.join("../docs/scaling.md")).unwrap()
    }

    #[test]
    fn the_page_has_the_tables_that_the_model_computes() {
        for text in [limits(), table(&DAYS)] {
            assert!(
                page().contains(&text),
                "put this into docs/scaling.md:\n{text}"
            );
        }
    }

    #[test]
    fn the_page_has_every_input() {
        let page = page();
        for (name, value) in ORDER
            .named()
            .into_iter()
            .chain(Assumptions::default().named())
        {
            let mut rows = page
                .lines()
                .filter(|line| line.starts_with(&format!("| {name} |")));
            let row = rows
                .next_back()
                .unwrap_or_else(|| panic!("{name} is not in the page"));
            let found = row.split('|').nth(2).unwrap_or_default().trim();
            assert_eq!(found.replace(',', ""), format!("{value}"), "{name}");
        }
    }

    #[test]
    fn digits_are_grouped() {
        let cases = [
            (0.0, 0, "0"),
            (999.0, 0, "999"),
            (1_000.0, 0, "1,000"),
            (1e8, 0, "100,000,000"),
        ];
        for (number, digits, text) in cases {
            assert_eq!(grouped(number, digits), text);
        }
        assert_eq!(grouped(1_234.56, 1), "1,234.6");
    }
}
