//! Copies of recorded units under other ids.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wingbeat_core::unit::{Append, Journal, Outcome, Row, RowWrite, Write};
use wingbeat_core::{Key, Name, RuntimeExt as _, Store as _, Timestamp, Unit, UnitId};
use wingbeat_embedded::Embedded;

/// The distance in time between two copies.
const APART_MILLIS: u64 = 120_000;
/// Units per commit.
const BATCH: usize = 512;
/// The view whose keys contain a version instead of an id, and whose rows add up.
const LEDGER: &str = "ledger";
/// The view whose rows are encrypted.
const MAILBOX: &str = "mailbox";
/// The length of an id as text.
const TEXT: usize = 36;
/// The start of a welcome code, before the dash.
const WELCOME: &str = "WELCOME";
/// The number of letters after the dash.
const LETTERS: usize = 8;
/// The letters of codes.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Replaces the ids that were made while units were recorded.
#[derive(Clone, Copy)]
pub(super) struct Renaming {
    /// The time before the first and after the last id, in milliseconds.
    window: (u64, u64),
}

impl Renaming {
    /// Returns the id in a copy: an earlier one. Other ids stay.
    pub(super) fn id(self, id: [u8; 16], copy: usize) -> [u8; 16] {
        let (number, at) = (u128::from_be_bytes(id), millis(id));
        let is_ours = id[6] >> 4 == 7 && (self.window.0..=self.window.1).contains(&at);
        if !is_ours {
            return id;
        }
        let millis = at.saturating_sub(APART_MILLIS * copy as u64);
        (u128::from(millis) << 80 | number & ((1 << 80) - 1)).to_be_bytes()
    }

    /// Replaces the ids and the welcome codes in a text.
    pub(super) fn text(self, text: &str, copy: usize) -> String {
        let mut renamed = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dash) = rest.find('-') {
            let id = dash
                .checked_sub(8)
                .and_then(|from| rest.get(from..from + TEXT));
            let letters = rest.get(dash + 1..dash + 1 + LETTERS);
            if let Some(id) = id.and_then(parse) {
                renamed.push_str(&rest[..dash - 8]);
                renamed.push_str(&format(self.id(id, copy)));
                rest = &rest[dash - 8 + TEXT..];
            } else if let (true, Some(letters)) = (rest[..dash].ends_with(WELCOME), letters) {
                renamed.push_str(&rest[..=dash]);
                renamed.push_str(&code(letters, copy));
                rest = &rest[dash + 1 + LETTERS..];
            } else {
                renamed.push_str(&rest[..=dash]);
                rest = &rest[dash + 1..];
            }
        }
        renamed.push_str(rest);
        renamed
    }

    /// Replaces the ids in bytes: in a text, or the binary ones of a journal.
    fn bytes(self, bytes: &[u8], copy: usize) -> Vec<u8> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.text(text, copy).into_bytes();
        }
        let mut renamed = bytes.to_vec();
        let mut at = 0;
        while let Some(id) = renamed.get(at..at + 16) {
            let id: [u8; 16] = id.try_into().expect("16 bytes");
            let new = self.id(id, copy);
            if new == id {
                at += 1;
            } else {
                renamed[at..at + 16].copy_from_slice(&new);
                at += 16;
            }
        }
        renamed
    }
}

fn parse(text: &str) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    let bytes = text.as_bytes();
    if bytes.len() != TEXT || dashes.iter().any(|at| bytes[*at] != b'-') {
        return None;
    }
    let digits: String = text.chars().filter(|it| *it != '-').collect();
    (digits.len() == 32).then_some(())?;
    u128::from_str_radix(&digits, 16)
        .ok()
        .map(u128::to_be_bytes)
}

fn format(id: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(id));
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
}

/// Returns the letters of a welcome code in a copy: the number of the copy changes the last ones.
fn code(letters: &str, copy: usize) -> String {
    let letters = letters.bytes().enumerate().map(|(at, letter)| {
        let digit = ALPHABET.iter().position(|it| *it == letter).unwrap_or(0);
        char::from(ALPHABET[digit ^ (copy >> (5 * (LETTERS - 1 - at))) & 31])
    });
    letters.collect()
}

/// The final effects of the recorded units, without those on records that are not of an order or a
/// user.
pub(super) struct Template {
    pub(super) renaming: Renaming,
    services: BTreeMap<Name, Effects>,
    /// Units with a journal entry.
    journals: Vec<Unit>,
}

#[derive(Default)]
struct Effects {
    writes: BTreeMap<Key, Write>,
    appends: Vec<Append>,
    rows: BTreeMap<(Name, String), Row>,
    counts: BTreeMap<Name, i64>,
}

impl Template {
    /// Makes a template of the units that were recorded since the moment of an id.
    pub(super) fn of(units: &[Unit], since: [u8; 16], journal: bool) -> Self {
        let renaming = Renaming {
            window: (millis(since), millis(new_id())),
        };
        let mut services = BTreeMap::<Name, Effects>::new();
        let mut journals = Vec::new();
        for unit in units {
            let effects = services.entry(unit.service).or_default();
            effects.add(unit, renaming);
            if journal && let Some(entry) = &unit.journal {
                let mut copy = Unit::new(unit.id, unit.service, unit.at);
                copy.settles.clone_from(&unit.settles);
                copy.journal = Some(entry.clone());
                journals.push(copy);
            }
        }
        Self {
            renaming,
            services,
            journals,
        }
    }

    /// Commits the copy with this number.
    pub(super) async fn commit(&self, store: &Embedded, copy: usize) {
        let renaming = self.renaming;
        let text = |text: &str| renaming.text(text, copy);
        let mut units = Vec::new();
        for (service, effects) in &self.services {
            let journal = self.journals.iter().find(|it| it.service == *service);
            let id = journal.map_or_else(new_id, |it| it.id.0.into_bytes());
            let id = wrapped(renaming.id(id, copy), 1);
            let mut unit = Unit::new(id, *service, Timestamp::default());
            for write in effects.writes.values() {
                let body = write
                    .body
                    .as_ref()
                    .map(|it| renaming.bytes(it, copy).into());
                unit.writes.push(Write {
                    key: Key::new(write.key.table, text(&write.key.id)),
                    body,
                    due_at: None,
                    expires_at: None,
                });
            }
            for append in &effects.appends {
                unit.appends.push(Append {
                    key: Key::new(append.key.table, text(&append.key.id)),
                    sequence: append.sequence,
                    at: append.at,
                    body: renaming.bytes(&append.body, copy).into(),
                });
            }
            for ((view, key), row) in &effects.rows {
                let columns = row.columns.iter();
                let mut row = Row {
                    columns: columns.map(|(name, value)| (*name, text(value))).collect(),
                    body: renaming.bytes(&row.body, copy).into(),
                };
                if view.as_str() == MAILBOX {
                    row = earlier(row, copy);
                }
                unit.rows.push(RowWrite {
                    view: *view,
                    key: row_key(*view, &text(key), copy),
                    row: Some(row),
                });
            }
            unit.counts = effects
                .counts
                .iter()
                .map(|(name, add)| (*name, *add))
                .collect();
            units.push(unit);
        }
        units.extend(self.journals.iter().map(|it| renamed(it, renaming, copy)));
        for batch in units.chunks(BATCH) {
            let outcomes = store
                .commit(Arc::new(batch.to_vec()))
                .await
                .expect("it commits");
            assert!(
                outcomes.iter().all(|it| *it == Outcome::Committed),
                "{outcomes:?}"
            );
        }
    }

    /// Adds the units that the copies sold to the ledger of the stock.
    pub(super) async fn balance(&self, store: &Embedded, copies: usize) {
        for (service, effects) in &self.services {
            let mut sold = BTreeMap::<String, i64>::new();
            let rows = effects
                .rows
                .iter()
                .filter(|((view, _), _)| view.as_str() == LEDGER);
            let mut last = None;
            for (_, row) in rows {
                let row: Value = serde_json::from_slice(&row.body).expect("JSON");
                let sku = row["sku"].as_str().expect("a SKU").to_owned();
                *sold.entry(sku).or_default() += row["delta"].as_i64().expect("a number");
                last = Some(row);
            }
            let Some(mut row) = last else { continue };
            let mut unit = Unit::new(wrapped(new_id(), 2), *service, Timestamp::default());
            for (sku, delta) in sold {
                row["sku"] = sku.as_str().into();
                row["delta"] = (-delta * copies as i64).into();
                row["reason"] = "earlier stock".into();
                let body = row.to_string().into();
                let columns = Vec::new();
                unit.rows.push(RowWrite {
                    view: Name::intern(LEDGER),
                    key: format!("{sku}/earlier"),
                    row: Some(Row { columns, body }),
                });
            }
            store
                .commit(Arc::new(vec![unit]))
                .await
                .expect("it commits");
        }
    }
}

impl Effects {
    fn add(&mut self, unit: &Unit, renaming: Renaming) {
        // A record, a row or a story of an order or a user has an id that a copy renames.
        let is_ours = |text: &str| renaming.text(text, 1) != text;
        for write in &unit.writes {
            if write.body.is_some() && write.expires_at.is_none() && is_ours(&write.key.id) {
                self.writes.insert(write.key.clone(), write.clone());
            } else {
                self.writes.remove(&write.key);
            }
        }
        let appends = unit.appends.iter().filter(|it| is_ours(&it.key.id));
        self.appends.extend(appends.cloned());
        for row in &unit.rows {
            let key = (row.view, row.key.clone());
            let text = row
                .row
                .as_ref()
                .map(|row| String::from_utf8_lossy(&row.body));
            let ours = is_ours(&row.key) || text.is_some_and(|text| is_ours(&text));
            match &row.row {
                Some(content) if ours => drop(self.rows.insert(key, content.clone())),
                _ => drop(self.rows.remove(&key)),
            }
        }
        for (name, add) in &unit.counts {
            *self.counts.entry(*name).or_default() += add;
        }
    }
}

/// Returns a copy of a unit with a journal entry.
fn renamed(journal: &Unit, renaming: Renaming, copy: usize) -> Unit {
    let mut unit = journal.clone();
    unit.id = wrapped(renaming.id(unit.id.0.into_bytes(), copy), 0);
    unit.at = unit.at - Duration::from_millis(APART_MILLIS * copy as u64);
    for settled in &mut unit.settles {
        let id = renaming.id(settled.message.0.into_bytes(), copy);
        (settled.message.0, settled.tag) = (wrapped(id, 0).0, None);
    }
    if let Some(Journal { correlation, body }) = &mut unit.journal {
        let id = renaming.id(correlation.0.into_bytes(), copy);
        correlation.0 = wrapped(id, 0).0;
        *body = renaming.bytes(body, copy).into();
    }
    unit
}

/// Returns the row of a mail that was sent earlier. What it says is encrypted for the user of the
/// template, so nobody can read it; the first pages of the list show the newest mails.
fn earlier(mut row: Row, copy: usize) -> Row {
    let mut mail: Value = serde_json::from_slice(&row.body).expect("JSON");
    let at: Timestamp = serde_json::from_value(mail["at"].take()).expect("a time");
    let at = at - Duration::from_millis(APART_MILLIS * copy as u64);
    mail["at"] = at.to_string().into();
    for (name, value) in &mut row.columns {
        if name.as_str() == "at" {
            *value = at.to_string();
        }
    }
    row.body = mail.to_string().into();
    row
}

/// Keys of the ledger contain a version, which no other copy may have.
fn row_key(view: Name, key: &str, copy: usize) -> String {
    match key.rsplit_once('/') {
        Some((sku, version)) if view.as_str() == LEDGER => {
            let version: u64 = version.parse().unwrap_or_default();
            format!("{sku}/{:020}", version + 1_000_000_000 * copy as u64)
        }
        _ => key.to_owned(),
    }
}

/// Returns the time in an id, in milliseconds.
fn millis(id: [u8; 16]) -> u64 {
    (u128::from_be_bytes(id) >> 80) as u64
}

pub(super) fn new_id() -> [u8; 16] {
    let runtime: wingbeat::SharedRuntime = wingbeat::TokioRuntime::new();
    runtime.id().into_bytes()
}

/// Returns an id whose last bits differ from those of other purposes.
fn wrapped(mut id: [u8; 16], purpose: u8) -> UnitId {
    id[15] ^= purpose;
    UnitId(wingbeat::Uuid::from_bytes(id))
}
