//! The values that one schema allows to write and another one cannot read.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::schema::{
    Keywords, Resolved, alternatives, is_tagged, label, properties, required, requires, resolve,
    type_of,
};

/// The other names of a property, which a reader with `#[serde(alias)]` accepts:
/// `#[schemars(extend("x-aliases" = ["old_name"]))]`.
const ALIASES: &str = "x-aliases";

/// Keywords that are compared for equality.
const EXACT: [&str; 9] = [
    "contains",
    "dependentRequired",
    "if",
    "multipleOf",
    "not",
    "pattern",
    "patternProperties",
    "propertyNames",
    "uniqueItems",
];

/// Limits, and whether a larger value is a stricter limit.
const LIMITS: [(&str, bool); 8] = [
    ("exclusiveMaximum", false),
    ("exclusiveMinimum", true),
    ("maxItems", false),
    ("maxLength", false),
    ("maxProperties", false),
    ("minItems", true),
    ("minLength", true),
    ("minProperties", true),
];

/// A place at which a reader cannot decode the data of a writer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Misfit {
    at: String,
    problem: String,
}

impl Misfit {
    fn new(at: &str, problem: impl Into<String>) -> Self {
        let (at, problem) = (at.into(), problem.into());
        Self { at, problem }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.trim_start_matches('.') {
            "" => f.write_str(&self.problem),
            at => write!(f, "`{at}` {}", self.problem),
        }
    }
}

/// Returns the places at which data that fits the schema `writer` does not fit `reader`, as serde
/// reads it: a reader ignores unknown fields unless its type denies them.
pub(super) fn misfits(writer: &Value, reader: &Value) -> Vec<Misfit> {
    let both = Both { writer, reader };
    let found: BTreeSet<_> = both.schemas(writer, reader, "", &[]).into_iter().collect();
    found.into_iter().collect()
}

/// The documents in which references are resolved.
struct Both<'a> {
    writer: &'a Value,
    reader: &'a Value,
}

impl Both<'_> {
    /// `above` lists the pairs of references that are being compared: recursive types refer to
    /// themselves.
    fn schemas(
        &self,
        writer: &Value,
        reader: &Value,
        at: &str,
        above: &[(String, String)],
    ) -> Vec<Misfit> {
        let reference = |schema: &Value| schema["$ref"].as_str().map(str::to_owned);
        let mut above = above.to_vec();
        if let (Some(writer), Some(reader)) = (reference(writer), reference(reader)) {
            let pair = (writer, reader);
            if above.contains(&pair) {
                return Vec::new();
            }
            above.push(pair);
        }
        let writer = resolve(self.writer, writer);
        if matches!(writer, Resolved::Never) {
            return Vec::new();
        }
        let readers = match resolve(self.reader, reader) {
            Resolved::Any => return Vec::new(),
            Resolved::Never => return vec![Misfit::new(at, "is refused")],
            Resolved::By(reader) => alternatives(self.reader, reader),
        };
        let Resolved::By(writer) = writer else {
            return vec![Misfit::new(at, "may be any value")];
        };
        let writers = alternatives(self.writer, writer);
        let mut found = Vec::new();
        for writer in &writers {
            found.extend(self.one_of(writer, &readers, at, &above));
        }
        found
    }

    /// Compares one alternative of the writer with all of the reader.
    fn one_of(
        &self,
        writer: &Keywords,
        readers: &[Keywords],
        at: &str,
        above: &[(String, String)],
    ) -> Vec<Misfit> {
        let mut nearest = None;
        let name = label(writer);
        for reader in readers {
            let misfits = self.values(writer, reader, at, above);
            if misfits.is_empty() {
                return misfits;
            }
            if label(reader) == name || (readers.len() == 1 && !is_tagged(writer)) {
                nearest.get_or_insert(misfits);
            }
        }
        nearest.unwrap_or_else(|| {
            let known: BTreeSet<_> = readers.iter().map(label).collect();
            let known: Vec<_> = known.into_iter().take(12).collect();
            let problem = format!("may be `{name}`, but the reader knows {}", known.join(", "));
            vec![Misfit::new(at, problem)]
        })
    }

    fn values(
        &self,
        writer: &Keywords,
        reader: &Keywords,
        at: &str,
        above: &[(String, String)],
    ) -> Vec<Misfit> {
        if let Some(only) = reader.get("const") {
            if writer.get("const") == Some(only) {
                return Vec::new();
            }
            return vec![Misfit::new(at, format!("is not always {only}"))];
        }
        let (of_writer, of_reader) = (type_of(writer), type_of(reader));
        match (of_writer, of_reader) {
            (_, None) | (Some("integer"), Some("number")) => {}
            (None, Some(to)) => return vec![Misfit::new(at, format!("may not be `{to}`"))],
            (Some(from), Some(to)) if from != to => {
                return vec![Misfit::new(
                    at,
                    format!("is `{from}`, the reader expects `{to}`"),
                )];
            }
            _ => {}
        }
        let mut found = restrictions(writer, reader, at);
        if writer.contains_key("const") {
            return found;
        }
        found.extend(self.objects(writer, reader, at, above));
        found.extend(self.arrays(writer, reader, at, above));
        found
    }

    fn objects(
        &self,
        writer: &Keywords,
        reader: &Keywords,
        at: &str,
        above: &[(String, String)],
    ) -> Vec<Misfit> {
        let empty = Map::new();
        let known = reader.get("properties").and_then(Value::as_object);
        let known = known.unwrap_or(&empty);
        let written = |name: &str| {
            let names = std::iter::once(name).chain(aliases(known.get(name)));
            names.into_iter().any(|it| requires(writer, it))
        };
        let missing = required(reader).filter(|name| !written(name));
        let missing = missing.map(|name| Misfit::new(&within(at, name), "may be missing"));
        let mut found: Vec<_> = missing.collect();
        let others = ["additionalProperties", "unevaluatedProperties"];
        let others = others.into_iter().find_map(|key| reader.get(key));
        for (name, value) in properties(writer) {
            let at = within(at, name);
            let of_reader = known.get(name).or_else(|| {
                let mut aliased = known.values();
                aliased.find(|it| aliases(Some(it)).any(|it| it == name))
            });
            match (of_reader, others) {
                (Some(reader), _) => found.extend(self.schemas(value, reader, &at, above)),
                (None, Some(Value::Bool(false))) => {
                    found.push(Misfit::new(&at, "is refused as an unknown field"));
                }
                (None, Some(reader)) => found.extend(self.schemas(value, reader, &at, above)),
                (None, None) => {}
            }
        }
        let written = writer.get("additionalProperties");
        if let (Some(written @ Value::Object(_)), Some(reader)) = (written, others) {
            found.extend(self.schemas(written, reader, &within(at, "*"), above));
        }
        found
    }

    fn arrays(
        &self,
        writer: &Keywords,
        reader: &Keywords,
        at: &str,
        above: &[(String, String)],
    ) -> Vec<Misfit> {
        let places = |schema: &Keywords| {
            let places = schema.get("prefixItems").and_then(Value::as_array);
            places.cloned().unwrap_or_default()
        };
        let (of_writer, of_reader) = (places(writer), places(reader));
        if of_writer.len() != of_reader.len() {
            let (from, to) = (of_writer.len(), of_reader.len());
            let problem = format!("has {from} fixed places, the reader expects {to}");
            return vec![Misfit::new(at, problem)];
        }
        let mut found = Vec::new();
        for (number, (writer, reader)) in of_writer.iter().zip(&of_reader).enumerate() {
            found.extend(self.schemas(writer, reader, &format!("{at}[{number}]"), above));
        }
        if let (Some(writer), Some(reader)) = (writer.get("items"), reader.get("items")) {
            found.extend(self.schemas(writer, reader, &format!("{at}[]"), above));
        }
        found
    }
}

fn within(at: &str, name: &str) -> String {
    format!("{at}.{name}")
}

fn aliases(property: Option<&Value>) -> impl Iterator<Item = &str> {
    let aliases = property.and_then(|it| it.get(ALIASES)?.as_array());
    aliases.into_iter().flatten().filter_map(Value::as_str)
}

/// Compares the restrictions of texts, numbers and sizes.
fn restrictions(writer: &Keywords, reader: &Keywords, at: &str) -> Vec<Misfit> {
    let mut found = Vec::new();
    for key in EXACT {
        if let Some(to) = reader.get(key).filter(|to| writer.get(key) != Some(to)) {
            found.push(Misfit::new(
                at,
                format!("may not fit the `{key}` {to} of the reader"),
            ));
        }
    }
    for (key, is_lower) in LIMITS {
        let number = |schema: &Keywords| schema.get(key).and_then(Value::as_f64);
        let Some(to) = number(reader) else { continue };
        let fits =
            number(writer).is_some_and(|from| if is_lower { from >= to } else { from <= to });
        if !fits && !writer.contains_key("const") {
            found.push(Misfit::new(
                at,
                format!("may exceed the `{key}` {to} of the reader"),
            ));
        }
    }
    let format = |schema: &Keywords| schema.get("format").cloned();
    let is_text = type_of(reader) == Some("string") && !writer.contains_key("const");
    let to = format(reader).filter(|to| is_text && format(writer).as_ref() != Some(to));
    if let Some(to) = to {
        found.push(Misfit::new(at, format!("may not have the format {to}")));
    }
    if matches!(type_of(reader), Some("integer" | "number")) {
        let ((low, high), (lowest, highest)) = (range(writer), range(reader));
        let is_below = lowest.is_some_and(|lowest| low.is_none_or(|low| low < lowest));
        let is_above = highest.is_some_and(|highest| high.is_none_or(|high| high > highest));
        if is_below || is_above {
            found.push(Misfit::new(
                at,
                "may exceed the numbers that the reader accepts",
            ));
        }
    }
    found
}

/// Returns the smallest and the largest number.
fn range(schema: &Keywords) -> (Option<f64>, Option<f64>) {
    if let Some(only) = schema.get("const").and_then(Value::as_f64) {
        return (Some(only), Some(only));
    }
    let format = schema.get("format").and_then(Value::as_str);
    let bits = |digits: &str| {
        if digits.is_empty() {
            Some(64)
        } else {
            digits.parse().ok()
        }
    };
    let by_format = format.and_then(|format| {
        if let Some(bits) = format.strip_prefix("uint").and_then(bits) {
            return Some((0.0, 2_f64.powi(bits)));
        }
        let bits: i32 = format.strip_prefix("int").and_then(bits)?;
        Some((-(2_f64.powi(bits - 1)), 2_f64.powi(bits - 1)))
    });
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let (low, high) = by_format.unzip();
    (
        stricter(number("minimum"), low, f64::max),
        stricter(number("maximum"), high, f64::min),
    )
}

fn stricter(one: Option<f64>, other: Option<f64>, of: fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(of(one, other)),
        (one, other) => one.or(other),
    }
}
