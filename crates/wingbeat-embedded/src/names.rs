//! Interns names: the file refers to each name by a small number.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::{Connection, params};
use wingbeat_core::{HashMap, Name};

use crate::packed::Dictionaries;

/// The kind of a name. The file stores these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    Service = 1,
    /// Its parent is a service.
    Table = 2,
    /// Its parent is a service.
    View = 3,
    /// Its parent is a view.
    Column = 4,
    Queue = 5,
    /// A publisher of messages; its parent is a queue.
    Source = 6,
    /// Its parent is a service.
    Counter = 7,
}

/// The parent of services and queues, and the inbox scope of units that settle no delivery.
pub(crate) const NONE: u32 = 0;

/// All names in the file. New names get their number in memory; the next commit writes them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    inner: RwLock<Inner>,
    /// The dictionaries of compressed bodies, to which rows refer by number, too.
    pub(crate) dictionaries: Dictionaries,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<(u8, u32), HashMap<Box<str>, u32>>,
    /// Kind, parent and name by number. Numbers are dense and start at 1.
    entries: Vec<(u8, u32, Box<str>)>,
    /// The number of entries that are in the file.
    written: usize,
}

impl Names {
    /// Reads all names from the file.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut inner = Inner::default();
        let mut statement =
            connection.prepare("SELECT id, space, parent, name FROM names ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = inner.add(row.get(1)?, row.get(2)?, &row.get::<_, String>(3)?);
            debug_assert_eq!(id, row.get::<_, u32>(0)?, "numbers are dense");
        }
        inner.written = inner.entries.len();
        Ok(Self {
            inner: RwLock::new(inner),
            dictionaries: Dictionaries::read(connection)?,
        })
    }

    /// Returns the number of a name, or `None` if the name is unknown.
    pub(crate) fn find(&self, space: Space, parent: u32, name: &str) -> Option<u32> {
        self.read_lock().find(space as u8, parent, name)
    }

    /// Returns the number of a name and assigns one to a new name. Only the writer calls this.
    pub(crate) fn intern(&self, space: Space, parent: u32, name: &str) -> u32 {
        if let Some(id) = self.find(space, parent, name) {
            return id;
        }
        self.write_lock().add(space as u8, parent, name)
    }

    /// Returns the number of a service.
    pub(crate) fn find_service(&self, service: Name) -> Option<u32> {
        self.find(Space::Service, NONE, service.as_str())
    }

    /// Returns the number of a declared queue.
    pub(crate) fn find_queue(&self, queue: Name) -> Option<u32> {
        self.find(Space::Queue, NONE, queue.as_str())
    }

    /// Returns the inbox scope of a queue's deliveries from one publisher.
    pub(crate) fn find_scope(&self, queue: Name, source: &str) -> Option<u32> {
        self.find(Space::Source, self.find_queue(queue)?, source)
    }

    /// Like [`Names::find_scope`], but assigns a number to a new scope.
    pub(crate) fn intern_scope(&self, queue: Name, source: &str) -> u32 {
        let queue = self.intern(Space::Queue, NONE, queue.as_str());
        self.intern(Space::Source, queue, source)
    }

    /// Returns the number of a service's table.
    pub(crate) fn find_table(&self, service: Name, table: Name) -> Option<u32> {
        self.find_under(service, Space::Table, table)
    }

    /// Returns the number of a name whose parent is a service.
    pub(crate) fn find_under(&self, service: Name, space: Space, name: Name) -> Option<u32> {
        let inner = self.read_lock();
        let service = inner.find(Space::Service as u8, NONE, service.as_str())?;
        inner.find(space as u8, service, name.as_str())
    }

    /// Like [`Names::intern`], for a name whose parent is a service.
    pub(crate) fn intern_under(&self, service: Name, space: Space, name: Name) -> u32 {
        match self.find_under(service, space, name) {
            Some(id) => id,
            None => {
                let service = self.intern(Space::Service, NONE, service.as_str());
                self.intern(space, service, name.as_str())
            }
        }
    }

    /// Returns the name with this number.
    pub(crate) fn name(&self, id: u32) -> Option<Name> {
        self.read_lock()
            .entry(id)
            .map(|(_, _, name)| Name::intern(name))
    }

    /// Returns the number of a name's parent.
    pub(crate) fn parent(&self, id: u32) -> Option<u32> {
        self.read_lock().entry(id).map(|(_, parent, _)| *parent)
    }

    /// Returns the numbers and names of one kind under one parent, by number.
    pub(crate) fn under(&self, space: Space, parent: u32) -> Vec<(u32, Name)> {
        let inner = self.read_lock();
        let found = inner.ids.get(&(space as u8, parent));
        let mut found: Vec<_> = found
            .into_iter()
            .flatten()
            .map(|(name, id)| (*id, Name::intern(name)))
            .collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    /// Returns the numbers of all tables of these services, in order.
    pub(crate) fn tables(&self, services: &[Name]) -> Vec<u32> {
        let mut tables: Vec<u32> = services
            .iter()
            .filter_map(|service| self.find_service(*service))
            .flat_map(|service| self.under(Space::Table, service))
            .map(|(id, _)| id)
            .collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// Writes the new names and returns the number of names. Call [`Names::set_written`] with it
    /// after the commit.
    pub(crate) fn write_new(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let inner = self.read_lock();
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

    /// Notes that the first `count` names are durable.
    pub(crate) fn set_written(&self, count: usize) {
        // New names are rare: most commits need only the read lock.
        if self.read_lock().written != count {
            self.write_lock().written = count;
        }
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
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
