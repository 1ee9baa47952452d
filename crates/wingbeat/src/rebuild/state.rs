//! The stored state of a service's rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result, ServiceStore, Timestamp};

use crate::state::{Columns, Definition, Derived};
use crate::unit::OwnTable;
use crate::{decode, encode};

/// The table of the record.
const ROWS: Name = Name::new("wb.rows");
/// The releases that are remembered. No more of them run at the same time.
const RELEASES_MAX: usize = 8;

/// Returns the key of the record.
pub(super) fn key() -> Key {
    Key::new(ROWS, "all")
}

/// The definitions of a release, by table.
pub(super) type Release = BTreeMap<String, Definition>;

/// The stored state of a service's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The releases whose processes may write rows.
    pub(super) releases: Vec<Seen>,
    pub(super) tables: BTreeMap<String, Filled>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<Pass>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) projections: Followings,
}

/// A version of a projection for which all releases note changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Followed {
    pub(crate) version: u32,
    /// The walk over all aggregates is complete.
    pub(crate) complete: bool,
}

/// The projections that have stored anything, by name; `None` if some release has not noted
/// changes for them.
pub(super) type Followings = BTreeMap<String, Option<Followed>>;

/// The records of rebuilds, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<State>(ROWS);

/// A release, and a number that its processes increase while other releases run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// `None` stands for releases that stored nothing here, since they had no rows.
    pub(super) release: Option<Release>,
    pub(super) beat: u64,
}

/// The index rows that every record of a table has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filled {
    pub(super) views: Columns,
    /// The number of the derivation; `None` if rows come from several.
    pub(super) number: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Last>,
}

/// The last rebuild of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) began: Timestamp,
    pub(super) done: Timestamp,
    pub(super) records: u64,
}

/// A rebuild in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    pub(super) table: String,
    /// The process that walks the table.
    pub(super) holder: Uuid,
    /// The id of the last record that was written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<String>,
    pub(super) records: u64,
    pub(super) began: Timestamp,
    /// The error because of which it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

impl Filled {
    /// The rows of a table all of whose records have this definition.
    pub(super) fn by(definition: &Definition) -> Self {
        Self {
            views: definition.views.clone(),
            number: Some(definition.number),
            last: None,
        }
    }

    /// Removes what records lack that a release with this definition writes.
    fn restrict(&mut self, definition: &Definition) {
        self.views.retain(|view, columns| {
            let written = definition.views.get(view);
            columns.retain(|column| written.is_some_and(|it| it.contains(column)));
            written.is_some()
        });
        self.number = self.number.filter(|it| *it == definition.number);
    }

    /// Returns whether all records show the rows of this definition.
    fn covers(&self, definition: &Definition) -> bool {
        let has = |view: &String| self.views.get(view);
        let mut views = definition.views.iter();
        views.all(|(view, columns)| has(view).is_some_and(|it| it.is_superset(columns)))
    }
}

impl State {
    /// Returns whether the processes of a release may write rows.
    pub(super) fn has(&self, release: &Release) -> bool {
        let is = |it: &Seen| it.release.as_ref() == Some(release);
        self.releases.iter().any(is)
    }

    /// Returns whether no process of another release runs.
    pub(super) fn is_only(&self, release: &Release) -> bool {
        self.releases.len() == 1 && self.has(release)
    }

    /// Adds a release, whose processes write rows from now on. `found` has the rows of tables that
    /// are not known yet.
    pub(super) fn join(&mut self, release: &Release, found: &BTreeMap<String, Filled>) {
        if self.has(release) {
            return;
        }
        for (table, filled) in found {
            if !self.tables.contains_key(table) {
                self.tables.insert(table.clone(), filled.clone());
            }
        }
        for (table, definition) in release {
            if let Some(filled) = self.tables.get_mut(table) {
                filled.restrict(definition);
            }
        }
        for (name, followed) in &mut self.projections {
            let mut tables = release.values();
            let version = tables.find_map(|it| it.projections.get(name));
            *followed = followed.filter(|it| version == Some(&it.version));
        }
        if self.releases.len() == RELEASES_MAX {
            self.releases.remove(0);
        }
        self.releases.push(Seen {
            release: Some(release.clone()),
            beat: 0,
        });
        self.pass = None;
    }

    /// Notes that a process of a release runs.
    pub(super) fn beat(&mut self, release: &Release) {
        let is = |it: &&mut Seen| it.release.as_ref() == Some(release);
        if let Some(seen) = self.releases.iter_mut().find(is) {
            seen.beat += 1;
        }
    }

    /// Returns the tables of a release whose rows have to be written again.
    pub(super) fn wanted<'a>(&self, release: &'a Release) -> Vec<&'a String> {
        let tables = release.iter().filter(|(table, definition)| {
            let filled = self.tables.get(*table);
            let fits = |it: &Filled| it.covers(definition) && it.number == Some(definition.number);
            !definition.views.is_empty() && !filled.is_some_and(fits)
        });
        tables.map(|(table, _)| table).collect()
    }

    /// Ends the current pass: all records of its table show the rows of this definition.
    pub(super) fn finish(&mut self, definition: &Definition, done: Timestamp) {
        if let Some(pass) = self.pass.take() {
            let last = Last {
                began: pass.began,
                done,
                records: pass.records,
            };
            let filled = Filled {
                last: Some(last),
                ..Filled::by(definition)
            };
            self.tables.insert(pass.table, filled);
        }
    }

    pub(super) fn write(&self) -> Write {
        Write {
            key: key(),
            body: Some(encode(self)),
            due_at: None,
            expires_at: None,
        }
    }
}

/// Returns the tables among `tables` whose rows are incomplete: a release has other rows than the
/// one that wrote them, and their rebuild is not done.
pub(crate) async fn pending(store: &ServiceStore, tables: &[Derived]) -> Result<BTreeSet<Name>> {
    let stored = store.load(&key()).await?;
    // What cannot be decoded is reported with the record.
    let state: State =
        stored.map_or_else(State::default, |it| decode(&it.body).unwrap_or_default());
    let named = |it: &Derived| (it.table.as_str().to_owned(), it.definition.clone());
    let release: Release = tables.iter().map(named).collect();
    let wanted = state.wanted(&release);
    Ok(wanted.into_iter().map(|it| Name::intern(it)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(number: u32, columns: &[&str]) -> Definition {
        let columns = columns.iter().map(|&it| it.to_owned()).collect();
        Definition {
            number,
            views: [("books".to_owned(), columns)].into(),
            projections: BTreeMap::new(),
        }
    }

    fn release(number: u32, columns: &[&str]) -> Release {
        [("book".to_owned(), definition(number, columns))].into()
    }

    fn filled(release: &Release) -> State {
        let mut state = State::default();
        let found = release
            .iter()
            .map(|(table, it)| (table.clone(), Filled::by(it)));
        state.join(release, &found.collect());
        state
    }

    #[test]
    fn a_new_column_or_number_is_wanted_and_a_column_less_is_not() {
        let old = release(0, &["title", "author"]);
        for (new, wanted) in [
            (release(0, &["title", "author"]), 0),
            (release(0, &["title"]), 0),
            (release(0, &["title", "author", "year"]), 1),
            (release(1, &["title", "author"]), 1),
        ] {
            let mut state = filled(&old);
            state.join(&new, &BTreeMap::new());
            assert_eq!(state.wanted(&new).len(), wanted, "{new:?}");
        }
    }

    #[test]
    fn a_release_that_lacks_a_column_makes_it_incomplete() {
        let (new, old) = (release(0, &["title", "year"]), release(0, &["title"]));
        let mut state = filled(&new);
        assert!(state.wanted(&new).is_empty());
        state.join(&old, &BTreeMap::new());
        assert_eq!(state.wanted(&new), ["book"]);
        assert!(state.wanted(&old).is_empty());
        assert!(!state.is_only(&new));
    }

    #[test]
    fn a_release_without_a_projection_ends_its_walk() {
        let with = |version: Option<u32>| {
            let mut release = release(0, &[]);
            let book = release.get_mut("book").unwrap();
            let named = version.map(|it| ("by_year".to_owned(), it));
            book.projections = named.into_iter().collect();
            release
        };
        for (other, followed) in [(Some(1), true), (Some(2), false), (None, false)] {
            let mut state = filled(&with(Some(1)));
            let complete = Followed {
                version: 1,
                complete: true,
            };
            state.projections.insert("by_year".into(), Some(complete));
            state.join(&with(other), &BTreeMap::new());
            assert_eq!(
                state.projections["by_year"].is_some(),
                followed,
                "{other:?}"
            );
        }
    }

    #[test]
    fn the_releases_are_bounded() {
        let mut state = State::default();
        for number in 0..20 {
            state.join(&release(number, &[]), &BTreeMap::new());
        }
        assert_eq!(state.releases.len(), RELEASES_MAX);
        assert!(state.has(&release(19, &[])));
    }

    #[test]
    fn the_stored_form_does_not_change() {
        let mut state = filled(&release(2, &["title"]));
        state.pass = Some(Pass {
            table: "book".into(),
            holder: Uuid::nil(),
            position: Some("7".into()),
            records: 64,
            began: Timestamp::from_micros(0),
            failure: None,
        });
        let stored = r#"{"releases":[{"release":{"book":{"number":2,"views":{"books":["title"]}}},"beat":0}],"tables":{"book":{"views":{"books":["title"]},"number":2}},"pass":{"table":"book","holder":"00000000-0000-0000-0000-000000000000","position":"7","records":64,"began":"1970-01-01T00:00:00.000000Z"}}"#;
        assert_eq!(encode(&state), stored.as_bytes());
    }
}
