//! Names as small numbers.

use std::sync::{PoisonError, RwLock};

use rusqlite::{Connection, params};
use wingbeat_core::{HashMap, Name};

/// What a name names. The numbers stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    Service = 1,
    /// Of a service.
    Table = 2,
    /// Of a service.
    View = 3,
    /// Of a view.
    Column = 4,
    Queue = 5,
    /// A publisher, as seen by a queue.
    Source = 6,
    /// Of a service.
    Counter = 7,
}

/// The parent of names that have none, and the inbox scope of units that settle no message.
pub(crate) const NONE: u32 = 0;

/// All names of the file. New ones are numbered in memory and written with the next commit.
#[derive(Debug, Default)]
pub(crate) struct Names(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<(u8, u32), HashMap<Box<str>, u32>>,
    /// By id: the name and its parent. Ids are dense, from 1.
    entries: Vec<(u8, u32, Box<str>)>,
    /// How many of the entries are in the file.
    written: usize,
}

impl Names {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut inner = Inner::default();
        let mut statement =
            connection.prepare("SELECT id, space, parent, name FROM names ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = inner.add(row.get(1)?, row.get(2)?, &row.get::<_, String>(3)?);
            debug_assert_eq!(id, row.get::<_, u32>(0)?, "ids are dense");
        }
        inner.written = inner.entries.len();
        Ok(Self(RwLock::new(inner)))
    }

    /// The number, if the name is known.
    pub(crate) fn find(&self, space: Space, parent: u32, name: &str) -> Option<u32> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .find(space as u8, parent, name)
    }

    /// The number; a new one if need be. Only the writer calls this.
    pub(crate) fn number(&self, space: Space, parent: u32, name: &str) -> u32 {
        if let Some(id) = self.find(space, parent, name) {
            return id;
        }
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .add(space as u8, parent, name)
    }

    pub(crate) fn find_table(&self, service: Name, table: Name) -> Option<u32> {
        self.find_under(service, Space::Table, table)
    }

    /// A name of a service.
    pub(crate) fn find_under(&self, service: Name, space: Space, name: Name) -> Option<u32> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let service = inner.find(Space::Service as u8, NONE, service.as_str())?;
        inner.find(space as u8, service, name.as_str())
    }

    /// The number of a name of a service.
    pub(crate) fn number_under(&self, service: Name, space: Space, name: Name) -> u32 {
        match self.find_under(service, space, name) {
            Some(id) => id,
            None => self.number(
                space,
                self.number(Space::Service, NONE, service.as_str()),
                name.as_str(),
            ),
        }
    }

    /// The name behind a number.
    pub(crate) fn name(&self, id: u32) -> Option<Name> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .map(|(_, _, name)| Name::intern(name))
    }

    /// The parent's number and the name.
    pub(crate) fn parent(&self, id: u32) -> Option<u32> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .map(|(_, parent, _)| *parent)
    }

    /// The numbers and names of one kind under one parent.
    pub(crate) fn under(&self, space: Space, parent: u32) -> Vec<(u32, Name)> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = inner.ids.get(&(space as u8, parent));
        let mut found: Vec<_> = found
            .into_iter()
            .flatten()
            .map(|(name, id)| (*id, Name::intern(name)))
            .collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    /// The tables of these services.
    pub(crate) fn tables(&self, services: &[Name]) -> Vec<u32> {
        let mut tables: Vec<u32> = services
            .iter()
            .filter_map(|service| self.find(Space::Service, NONE, service.as_str()))
            .flat_map(|service| self.under(Space::Table, service))
            .map(|(id, _)| id)
            .collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// Writes what is new; `wrote` afterwards, once it is committed.
    pub(crate) fn write_new(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (at, (space, parent, name)) in inner.entries.iter().enumerate().skip(inner.written) {
            connection
                .prepare_cached(
                    "INSERT INTO names(id, space, parent, name) VALUES(?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    i64::try_from(at + 1).unwrap_or(i64::MAX),
                    space,
                    parent,
                    name
                ])?;
        }
        Ok(inner.entries.len())
    }

    /// The first `count` names are durable.
    pub(crate) fn wrote(&self, count: usize) {
        if self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .written
            != count
        {
            self.0
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .written = count;
        }
    }
}

impl Inner {
    fn find(&self, space: u8, parent: u32, name: &str) -> Option<u32> {
        self.ids.get(&(space, parent))?.get(name).copied()
    }

    fn entry(&self, id: u32) -> Option<&(u8, u32, Box<str>)> {
        self.entries.get((id as usize).checked_sub(1)?)
    }

    fn add(&mut self, space: u8, parent: u32, name: &str) -> u32 {
        self.entries.push((space, parent, name.into()));
        let id = u32::try_from(self.entries.len()).expect("names are few");
        self.ids
            .entry((space, parent))
            .or_default()
            .insert(name.into(), id);
        id
    }
}
