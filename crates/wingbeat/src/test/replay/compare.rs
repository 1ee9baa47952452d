//! Compares the effects of a unit with the recorded ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::recording::{Body, Effect, Outcome, RecordedUnit};

/// The length of a UUID with hyphens.
const UUID: usize = 36;
/// The length of a SHA-256 digest in hexadecimal.
const DIGEST: usize = 64;

/// A difference within a unit.
#[derive(Debug, PartialEq)]
pub(super) struct Compared {
    /// The effect, and the path in it.
    pub(super) what: String,
    pub(super) recorded: Option<Value>,
    pub(super) now: Option<Value>,
}

impl Compared {
    fn new(what: impl Into<String>, recorded: Option<Value>, now: Option<Value>) -> Self {
        Self {
            what: what.into(),
            recorded,
            now,
        }
    }
}

/// Compares the outcome of a unit with the recorded one.
pub(super) fn compare(unit: &RecordedUnit, now: &Outcome, missing: Vec<String>) -> Vec<Compared> {
    let mut found: Vec<Compared> = missing
        .into_iter()
        .map(|read| Compared::new("reads what was not recorded", None, Some(read.into())))
        .collect();
    let known = ids_of(&(&unit.input, &unit.reads, &unit.lists, unit.correlation));
    match (&unit.outcome, now) {
        (Outcome::Done(then), Outcome::Done(now)) => {
            let (then, now) = (canonical(then, &known), canonical(now, &known));
            found.extend(differences(&then, &now));
        }
        (Outcome::Failed(then), Outcome::Failed(now)) if then.code == now.code => {}
        (then, now) => {
            let end = |outcome: &Outcome| match outcome {
                Outcome::Done(_) => Value::from("done"),
                Outcome::Failed(it) => Value::from(format!("{}: {}", it.code, it.error)),
                Outcome::TooLarge => Value::from("too large"),
            };
            found.push(Compared::new("outcome", Some(end(then)), Some(end(now))));
            let effects = |outcome: &Outcome| match outcome {
                Outcome::Done(effect) => canonical(effect, &known),
                _ => BTreeMap::new(),
            };
            found.extend(differences(&effects(then), &effects(now)));
        }
    }
    found
}

/// Effects by their names, without anything that is new in each attempt.
type Canonical = BTreeMap<String, Value>;

fn canonical(effect: &Effect, known: &BTreeSet<Uuid>) -> Canonical {
    let mut renaming = Renaming {
        known,
        names: BTreeMap::new(),
    };
    let mut all = Canonical::new();
    let mut add = |what: String, value: Value| {
        let mut name = what.clone();
        for number in 2.. {
            if !all.contains_key(&name) {
                break;
            }
            name = format!("{what} ({number})");
        }
        all.insert(name, value);
    };
    for it in &effect.messages {
        let key = renaming.text(&it.key);
        let body = json!({
            "key": key,
            "sequence": it.sequence,
            "operation": it.operation.as_deref().map(|it| renaming.text(it)),
            "body": renaming.body(&it.body),
        });
        add(format!("message {}", it.kind), body);
    }
    for it in &effect.records {
        let id = renaming.text(&it.id);
        let body = json!({
            "body": it.body.as_ref().map(|body| renaming.body(body)),
            "due_at": it.due_at,
            "expires_at": it.expires_at,
        });
        add(format!("record {}/{id}", it.table), body);
    }
    for it in &effect.events {
        let id = renaming.text(&it.id);
        let name = format!("event {}/{id} number {}", it.table, it.sequence);
        add(name, renaming.body(&it.body));
    }
    for it in &effect.rows {
        let key = renaming.text(&it.key);
        let columns = it.columns.iter();
        let columns = columns.map(|(name, value)| (name.clone(), renaming.text(value).into()));
        let columns: serde_json::Map<String, Value> = columns.collect();
        let body = it.body.as_ref().map(|body| renaming.body(body));
        add(
            format!("row {}/{key}", it.view),
            json!({ "columns": columns, "body": body }),
        );
    }
    for text in &effect.statements {
        let text = renaming.text(text);
        add(format!("statement {text}"), Value::Bool(true));
    }
    all
}

/// Gives ids that did not exist before the unit names in the order in which they occur.
struct Renaming<'a> {
    known: &'a BTreeSet<Uuid>,
    names: BTreeMap<Uuid, String>,
}

impl Renaming<'_> {
    fn body(&mut self, body: &Body) -> Value {
        let mut value = body.value();
        without_shape(&mut value);
        #[cfg(feature = "personal")]
        crate::story::opened(&mut value);
        self.value(&mut value);
        value
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|it| self.value(it)),
            Value::Object(fields) => {
                // In an order that does not depend on features of the build.
                let sorted: BTreeMap<String, Value> = std::mem::take(fields).into_iter().collect();
                for (name, mut it) in sorted {
                    let name = self.text(&name);
                    self.value(&mut it);
                    fields.insert(name, it);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        if text.len() == DIGEST && text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return "(digest)".to_owned(); // Of a personal value, which is masked.
        }
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((at, id)) = next_id(rest) {
            out.push_str(&rest[..at]);
            match self.known.contains(&id) {
                true => out.push_str(&rest[at..at + UUID]),
                false => out.push_str(&self.name(id)),
            }
            rest = &rest[at + UUID..];
        }
        out.push_str(rest);
        out
    }

    fn name(&mut self, id: Uuid) -> String {
        let number = self.names.len() + 1;
        let name = self.names.entry(id);
        name.or_insert_with(|| format!("(new id {number})")).clone()
    }
}

/// Removes the number that identifies the shape of a snapshot: it differs between releases.
fn without_shape(value: &mut Value) {
    if let Value::Object(fields) = value
        && fields.len() == 3
        && ["v", "h", "s"]
            .iter()
            .all(|name| fields.contains_key(*name))
    {
        fields.remove("h");
    }
}

/// Returns the position of the first UUID with hyphens in a text.
fn next_id(text: &str) -> Option<(usize, Uuid)> {
    let last = text.len().checked_sub(UUID)?;
    (0..=last).find_map(|at| {
        let part = text.get(at..at + UUID)?;
        // Most positions fail here.
        (part.as_bytes()[8] == b'-' && part.as_bytes()[23] == b'-').then_some(())?;
        Some((at, part.parse().ok()?))
    })
}

/// Returns all ids in the JSON of a value.
fn ids_of(value: &impl Serialize) -> BTreeSet<Uuid> {
    let text = serde_json::to_string(value).unwrap_or_default();
    let (mut ids, mut rest) = (BTreeSet::new(), text.as_str());
    while let Some((at, id)) = next_id(rest) {
        ids.insert(id);
        rest = &rest[at + UUID..];
    }
    ids
}

fn differences(then: &Canonical, now: &Canonical) -> Vec<Compared> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        match (then.get(name), now.get(name)) {
            (Some(then), Some(now)) => values(name, then, now, &mut found),
            (then, now) => found.push(Compared::new(name, then.cloned(), now.cloned())),
        }
    }
    found
}

/// Adds the smallest parts in which two values differ.
fn values(path: &str, then: &Value, now: &Value, found: &mut Vec<Compared>) {
    match (then, now) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let path = format!("{path} .{name}");
                match (one.get(name), other.get(name)) {
                    (Some(then), Some(now)) => values(&path, then, now, found),
                    (then, now) => found.push(Compared::new(path, then.cloned(), now.cloned())),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (then, now)) in one.iter().zip(other).enumerate() {
                values(&format!("{path} [{at}]"), then, now, found);
            }
        }
        _ if then == now => {}
        _ => found.push(Compared::new(path, Some(then.clone()), Some(now.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(known: &[Uuid], texts: &[&str]) -> Vec<String> {
        let known = known.iter().copied().collect();
        let mut renaming = Renaming {
            known: &known,
            names: BTreeMap::new(),
        };
        texts.iter().map(|it| renaming.text(it)).collect()
    }

    #[test]
    fn new_ids_have_names_in_the_order_in_which_they_occur() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let (one, two) = (format!("q/{b}/due"), format!("{c} and {b} of {a}"));
        let texts = renamed(&[a], &[&one, &two]);
        assert_eq!(texts[0], "q/(new id 1)/due");
        assert_eq!(texts[1], format!("(new id 2) and (new id 1) of {a}"));
        assert_eq!(renamed(&[], &["äöü", &"f".repeat(64)]), ["äöü", "(digest)"]);
    }

    #[test]
    fn the_smallest_part_that_differs_is_named() {
        let (then, now) = (
            json!({"a": [1, {"b": 2}], "c": 0}),
            json!({"a": [1, {"b": 3}]}),
        );
        let mut found = Vec::new();
        values("x", &then, &now, &mut found);
        let paths: Vec<_> = found.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(paths, ["x .a [1] .b", "x .c"]);
    }
}
