//! The rules of compatibility between a release and the one before it.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::files::{FACTS, MessageFacts, StoredFacts, TIMER};
use super::misfit::misfits;
use super::{Break, Comparison, Contracts, MESSAGES, STORED};
use crate::describe::StoredKind;

/// The readers of messages that no service of the system takes.
const OUTSIDE: &str = "programs outside of this system";

/// Compares a release with the one before it.
pub(super) fn compare(newer: &Contracts, older: &Contracts) -> Comparison {
    let mut comparison = Comparison {
        breaks: newer.undescribed.clone(),
        changes: Vec::new(),
    };
    for (path, old) in &older.files {
        let pair = Pair {
            old,
            new: newer.files.get(path),
            written: newer.written.get(path).or_else(|| newer.files.get(path)),
        };
        let broken = match path.split('/').next() {
            Some(MESSAGES) => pair.message(&name_of(path)),
            Some(STORED) => pair.stored(),
            _ => Vec::new(),
        };
        if broken.is_empty() {
            comparison.changes.extend(pair.change(path));
        }
        comparison.breaks.extend(broken);
    }
    let added = newer
        .files
        .keys()
        .filter(|path| !older.files.contains_key(*path));
    comparison
        .changes
        .extend(added.map(|path| format!("{path} is new")));
    comparison
}

/// Returns a file without its head: the title and the introduction of a document.
fn content(file: &Value) -> Value {
    let mut file = file.clone();
    if let Value::Object(entries) = &mut file {
        entries.remove("info");
    }
    file
}

/// The wire type of a message, from its path.
fn name_of(path: &str) -> String {
    let name = path.trim_end_matches(".json");
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// A file of the release before, and the same file of this one.
struct Pair<'a> {
    old: &'a Value,
    new: Option<&'a Value>,
    /// The schema of what this release writes.
    written: Option<&'a Value>,
}

impl Pair<'_> {
    fn change(&self, path: &str) -> Option<String> {
        match self.new {
            None => Some(format!("{path} is gone")),
            Some(new) if content(new) != content(self.old) => Some(format!("{path} has changed")),
            Some(_) => None,
        }
    }

    fn message(&self, name: &str) -> Vec<Break> {
        let old: MessageFacts = facts(self.old);
        let new: MessageFacts = self.new.map(facts).unwrap_or_default();
        let mut breaks: Vec<Break> = routing(name, &old, &new).into_iter().collect();
        let (Some(read), Some(written)) = (self.new, self.written) else {
            return breaks;
        };
        // Programs outside of the system may take what no service takes.
        let of = |queues: &BTreeSet<String>| {
            if queues.is_empty() && !old.internal {
                return vec![OUTSIDE.to_owned()];
            }
            queues.iter().cloned().collect()
        };
        let to_old = texts(written, self.old);
        if !to_old.is_empty() && !of(&old.consumers).is_empty() {
            breaks.push(Break {
                subject: format!(
                    "the message {name}: consumers of the last release cannot read it"
                ),
                differences: to_old,
                affected: of(&old.consumers),
                advice: beside(name),
            });
        }
        let in_flight = texts(self.old, read);
        if !in_flight.is_empty() && !new.consumers.is_empty() {
            breaks.push(Break {
                subject: format!(
                    "the message {name}: this release cannot read what is in queues, parked or \
                     dead-lettered"
                ),
                differences: in_flight,
                affected: of(&new.consumers),
                advice: format!(
                    "give new fields `#[serde(default)]` and keep what was sent readable; else {}",
                    beside(name)
                ),
            });
        }
        breaks
    }

    fn stored(&self) -> Vec<Break> {
        let old: StoredFacts = facts(self.old);
        let (Some(read), Some(written)) = (self.new, self.written) else {
            return vec![gone(&old)];
        };
        let new: StoredFacts = facts(read);
        if old.kind == StoredKind::Snapshot.as_str() {
            return Vec::new(); // Its shape follows from its schema: another one is folded again.
        }
        if new.form < old.form {
            return vec![old.broken(
                "events of the last release cannot be read",
                vec!["a step of `upcasts` is gone".into()],
                "keep all steps: stored events are never rewritten".into(),
            )];
        }
        if new.form > old.form {
            // Upcasts read the older events. Those of this release must not be of a newer form.
            let unread = new.writes.or(new.form).filter(|it| Some(*it) > old.form);
            return unread
                .map(|form| unread_form(&old, form))
                .into_iter()
                .collect();
        }
        let mut breaks = Vec::new();
        let from_old = texts(self.old, read);
        if !from_old.is_empty() {
            let advice = from_old_advice(&old);
            breaks.push(old.broken("this release cannot read what is stored", from_old, advice));
        }
        let to_old = texts(written, self.old);
        if !to_old.is_empty() {
            breaks.push(old.broken(
                "replicas of the last release cannot read what this one writes",
                to_old,
                "for a rolling upgrade, deploy a release that reads the new form before one that \
                 writes it; accept the change if the old replicas are stopped first"
                    .into(),
            ));
        }
        breaks
    }
}

/// Returns the break of events in a form that the last release does not know.
fn unread_form(old: &StoredFacts, form: u32) -> Break {
    old.broken(
        "replicas of the last release cannot read what this one writes",
        vec![format!(
            "new events have the form {form}, which it does not know"
        )],
        "for a rolling upgrade, add the step with `then_later` in one release, and replace it by \
         `then` in the next one; accept the change if the old replicas are stopped first"
            .into(),
    )
}

impl StoredFacts {
    fn broken(&self, problem: &str, differences: Vec<String>, advice: String) -> Break {
        let Self {
            service,
            kind,
            name,
            ..
        } = self;
        Break {
            subject: format!("the {kind} `{name}` of {service}: {problem}"),
            differences,
            affected: vec![service.clone()],
            advice,
        }
    }
}

/// Compares the kind, the queues and the publishers of a message.
fn routing(name: &str, old: &MessageFacts, new: &MessageFacts) -> Option<Break> {
    let mut differences = Vec::new();
    let mut affected: Vec<String> = Vec::new();
    if !new.kind.is_empty() && new.kind != old.kind {
        let (from, to) = (&old.kind, &new.kind);
        differences.push(format!(
            "it was {from}, and is {to}: it takes another exchange"
        ));
        affected.extend(old.consumers.union(&new.consumers).cloned());
    }
    let lost: Vec<_> = old.consumers.difference(&new.consumers).cloned().collect();
    if !lost.is_empty() {
        let queues = lost.join(", ");
        differences.push(format!(
            "{queues} no longer takes it: messages that wait there are not handled"
        ));
        affected.extend(lost);
    }
    let unpublished = !old.publishers.is_empty() && new.publishers.is_empty();
    if unpublished && !new.consumers.is_empty() {
        differences.push("no service publishes it any more".into());
        affected.extend(new.consumers.iter().cloned());
    }
    affected.sort();
    affected.dedup();
    (!differences.is_empty()).then(|| Break {
        subject: format!("the message {name}: its way has changed"),
        differences,
        affected,
        advice: "keep the subscription (`.named(..)` keeps the name of its queue) and the \
                 publisher until the queue is empty; then accept the change"
            .into(),
    })
}

/// Returns the break of stored data that no type of this release describes.
fn gone(old: &StoredFacts) -> Break {
    let advice = match old.kind.as_str() {
        TIMER => {
            "keep the input until the last timer that was set has come due; then accept the \
                  change"
        }
        "call" => "keep the executor until no call waits; then accept the change",
        "view" => "keep `View::NAME`, or accept the change and delete the rows",
        "saga" => {
            "keep `Saga::NAME` and the saga until the last instance has ended; then accept \
                   the change"
        }
        _ => {
            "keep the name of the type; it is stored. If the data is no longer needed, accept the \
              change"
        }
    };
    let differences = vec!["its name is gone: nothing reads what is stored under it".into()];
    old.broken("stored data is orphaned", differences, advice.into())
}

fn from_old_advice(old: &StoredFacts) -> String {
    match old.kind.as_str() {
        "events" => {
            "keep the old type of the events and add a step to `Aggregate::upcasts` that makes the \
             new form from it"
        }
        "view" => "give new fields `#[serde(default)]`, or give the view another name and fill it",
        TIMER => {
            "give new fields `#[serde(default)]`, or add a timer with another version and keep this \
             one until the last that was set has come due"
        }
        "saga" => {
            "give new fields `#[serde(default)]`, and keep variants until the last instance with \
             them has ended"
        }
        _ => {
            "give new fields `#[serde(default)]`, and renamed ones `#[serde(alias)]` with \
             `#[schemars(extend(\"x-aliases\" = [..]))]`"
        }
    }
    .into()
}

/// Returns the advice to add a version of a message.
fn beside(name: &str) -> String {
    let version = name.rsplit_once(".v").and_then(|(name, version)| {
        let next = version.parse::<u32>().ok()?.checked_add(1)?;
        Some(format!("{name}.v{next}"))
    });
    let next = version.unwrap_or_else(|| "a new version".into());
    format!("keep {name} as it is, and publish {next} beside it until nothing takes {name}")
}

fn texts(writer: &Value, reader: &Value) -> Vec<String> {
    let misfits = misfits(writer, reader);
    misfits.iter().map(ToString::to_string).collect()
}

fn facts<T: DeserializeOwned + Default>(file: &Value) -> T {
    serde_json::from_value(file[FACTS].clone()).unwrap_or_default()
}
