//! Masks of personal data in exported stories.
//!
//! A recording contains personal values as they are stored: encrypted, and without the key. The
//! export decrypts each value under the key of a subject that its unit read, replaces its texts by
//! masks, and encrypts the result under a key that all exports share. So the code under replay runs
//! as it is. Equal texts of one story have equal masks; each export has other ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wingbeat_core::{Name, Result};

use super::Story;
use crate::recording::{Body, Input, Outcome, RecordedUnit, SUBJECTS};
use crate::state::{Stand, Veil};
use crate::unit::ServiceContext;

/// Masks the personal values of a service's units.
pub(super) async fn mask(service: &ServiceContext, story: &mut Story) -> Result<()> {
    let mut salt = [0; 32];
    service.runtime.fill_secret(&mut salt);
    let subjects = subjects(&story.units);
    let mut keys = BTreeMap::new();
    for subject in subjects {
        let key = Veil::read(&service.store, &subject).await?;
        keys.insert(subject, key);
    }
    let masking = Masking {
        service: service.name,
        keys,
        salt,
    };
    for unit in &mut story.units {
        masking.unit(unit);
    }
    for history in &mut story.histories {
        for (_, body) in &mut history.events {
            masking.body(body);
        }
    }
    Ok(())
}

/// Returns the ids of the subjects whose keys units read.
fn subjects(units: &[RecordedUnit]) -> BTreeSet<String> {
    let reads = units.iter().flat_map(|unit| &unit.reads);
    let reads = reads.filter(|it| it.table == SUBJECTS.as_str());
    reads.map(|it| it.id.clone()).collect()
}

struct Masking {
    service: Name,
    keys: BTreeMap<String, Stand>,
    /// Chosen for this export: nobody can compare a mask with a guess.
    salt: [u8; 32],
}

impl Masking {
    fn unit(&self, unit: &mut RecordedUnit) {
        for read in &mut unit.reads {
            if read.table == SUBJECTS.as_str() {
                // Each unit finds a key where it found one.
                if let (Some(body), Some(key)) = (&mut read.body, self.keys.get(&read.id)) {
                    *body = Body::of_value(&key.stored());
                }
            } else if let Some(body) = &mut read.body {
                self.body(body);
            }
        }
        for list in &mut unit.lists {
            list.rows
                .iter_mut()
                .for_each(|(_, _, body)| self.body(body));
        }
        match &mut unit.input {
            Input::Messages { messages, .. } => {
                messages.iter_mut().for_each(|it| self.body(&mut it.body));
            }
            Input::Call { body, .. } => self.body(body),
            Input::Schedule { .. } | Input::Request { .. } => {}
        }
        let Outcome::Done(effect) = &mut unit.outcome else {
            return;
        };
        let records = effect.records.iter_mut().filter_map(|it| it.body.as_mut());
        let events = effect.events.iter_mut().map(|it| &mut it.body);
        let rows = effect.rows.iter_mut().filter_map(|it| it.body.as_mut());
        let messages = effect.messages.iter_mut().map(|it| &mut it.body);
        let all = records.chain(events).chain(rows).chain(messages);
        all.for_each(|body| self.body(body));
    }

    fn body(&self, body: &mut Body) {
        let mut value = body.value();
        if self.replace(&mut value) {
            *body = Body::of_value(&value);
        }
    }

    /// Replaces encrypted values. Returns whether there was one.
    fn replace(&self, value: &mut Value) -> bool {
        if Veil::is_encrypted(value) {
            *value = self.masked(value);
            return true;
        }
        match value {
            Value::Array(items) => items
                .iter_mut()
                .fold(false, |any, it| self.replace(it) | any),
            Value::Object(fields) => {
                let fields = fields.iter_mut();
                fields.fold(false, |any, (_, it)| self.replace(it) | any)
            }
            _ => false,
        }
    }

    /// Returns the mask of an encrypted value. One that no key opens reads as erased.
    fn masked(&self, value: &Value) -> Value {
        for (subject, key) in &self.keys {
            if let Some(mut plain) = Veil::open(value, key, self.service, subject) {
                self.veil(&mut plain);
                return Veil::seal(&plain, self.service, subject);
            }
        }
        Veil::erased()
    }

    /// Replaces all texts in a value by masks of the same kind.
    fn veil(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|it| self.veil(it)),
            Value::Object(fields) => fields.iter_mut().for_each(|(_, it)| self.veil(it)),
            Value::Number(number) => *number = 0.into(),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Returns the mask of a text. An address remains one, so that it can be parsed.
    fn text(&self, text: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.salt);
        digest.update(text);
        let mask = hex::encode(&digest.finalize()[..6]);
        if text.contains('@') {
            return format!("{mask}@masked.example");
        }
        format!("masked-{mask}")
    }
}

/// Replaces each masked value by what it contains, so that two of them can be compared.
#[cfg(feature = "test")]
pub(crate) fn opened(value: &mut Value) {
    if Veil::is_encrypted(value) {
        let is_erased = Veil::is_erased(value);
        *value = Value::from(if is_erased { "(erased)" } else { "(personal)" });
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(opened),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, it)| opened(it)),
        _ => {}
    }
}
