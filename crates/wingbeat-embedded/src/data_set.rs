//! The files of a data directory that belong together: the store, the cache, and files of others
//! that the program adds.
//!
//! All of them carry one number, in the header of the SQLite file (`application_id`). The file
//! `wingbeat.files` lists them. So a file that was lost, emptied or copied from another directory
//! is noticed, instead of starting as if the program had never run.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use wingbeat_core::{Error, Result};

use crate::private::private_file;

const LIST: &str = "wingbeat.files";

/// The consequence of the loss of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The file contains data that exist nowhere else. The program must not start without it.
    Fatal,
    /// The file can be created again.
    Acceptable,
}

/// The files of a directory, as one set.
pub(crate) struct DataSet {
    directory: PathBuf,
    /// The number that all files carry.
    id: i32,
    /// The store was created now, so no other file can have data.
    is_new: bool,
    names: Mutex<Vec<String>>,
}

impl DataSet {
    /// Checks that the store belongs to its directory, before it is opened.
    pub(crate) fn of_store(directory: &Path, store: &str) -> Result<Self> {
        let list = read_list(directory)?;
        let file = directory.join(store);
        private_file(&file).map_err(|e| unreadable(&file, &e))?;
        let connection = Connection::open(&file).map_err(|e| unreadable(&file, &e))?;
        let is_new = is_empty(&connection).map_err(|e| unreadable(&file, &e))?;
        if is_new {
            let listed = list.as_ref().is_some_and(|list| list.has(store));
            if listed || has_other_data(directory, store) {
                return Err(lost(&file));
            }
        }
        let found = id_of(&connection).map_err(|e| unreadable(&file, &e))?;
        let listed = list.as_ref().map(|list| list.id);
        let id = match (found, listed) {
            (0, Some(listed)) => listed,
            (0, None) => new_id(),
            (found, Some(listed)) if found != listed => return Err(foreign(&file)),
            (found, _) => found,
        };
        if found == 0 {
            set_id(&connection, id).map_err(|e| unreadable(&file, &e))?;
        }
        let data_set = Self {
            directory: directory.to_owned(),
            id,
            is_new,
            names: Mutex::new(list.map(|list| list.names).unwrap_or_default()),
        };
        data_set.add(store)?;
        Ok(data_set)
    }

    /// Checks that a SQLite file of the directory belongs to the store, and adds it otherwise.
    pub(crate) fn admit(&self, name: &str, loss: Loss) -> Result<()> {
        let file = self.directory.join(name);
        private_file(&file).map_err(|e| unreadable(&file, &e))?;
        let open = || -> rusqlite::Result<(bool, i32, Connection)> {
            let connection = Connection::open(&file)?;
            Ok((is_empty(&connection)?, id_of(&connection)?, connection))
        };
        let (is_empty, found, connection) = open().map_err(|e| unreadable(&file, &e))?;
        if is_empty && loss == Loss::Fatal && self.has(name) {
            return Err(lost(&file));
        }
        match found {
            0 if is_empty || !self.is_new => {
                set_id(&connection, self.id).map_err(|e| unreadable(&file, &e))?;
            }
            found if found == self.id => {}
            _ => return Err(foreign(&file)),
        }
        drop(connection);
        self.add(name)
    }

    fn has(&self, name: &str) -> bool {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().any(|known| known == name)
    }

    /// Lists a file.
    fn add(&self, name: &str) -> Result<()> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let is_listed = names.iter().any(|known| known == name);
        if is_listed && self.directory.join(LIST).exists() {
            return Ok(());
        }
        if !is_listed {
            names.push(name.to_owned());
        }
        let text = format!("{:08x}\n{}\n", self.id, names.join("\n"));
        write_list(&self.directory, &text).map_err(|error| {
            let list = self.directory.join(LIST);
            let message = format!("cannot write {}: {error}", list.display());
            Error::reject("data_unreadable", message)
        })
    }
}

/// The content of the list.
struct List {
    id: i32,
    names: Vec<String>,
}

impl List {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        Some(Self {
            id: i32::from_str_radix(lines.next()?, 16).ok()?,
            names: lines.map(str::to_owned).collect(),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

fn read_list(directory: &Path) -> Result<Option<List>> {
    let path = directory.join(LIST);
    match fs::read_to_string(&path) {
        // An empty list was not yet written when the machine failed.
        Ok(text) => {
            private_file(&path).map_err(|e| unreadable(&path, &e))?;
            Ok(List::parse(&text))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            Err(Error::reject("data_unreadable", message))
        }
    }
}

/// Replaces the list. A crash leaves the old one or the new one.
fn write_list(directory: &Path, text: &str) -> std::io::Result<()> {
    let new = directory.join(format!("{LIST}.new"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, directory.join(LIST))
}

/// Returns whether another database of the directory has content.
fn has_other_data(directory: &Path, store: &str) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "db"))
        .filter(|entry| entry.file_name() != store)
        .any(|entry| entry.metadata().is_ok_and(|it| it.len() > 0))
}

/// Returns whether a database has no tables: it was created now, or emptied.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(count == 0)
}

fn id_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn set_id(connection: &Connection, id: i32) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", id)
}

/// Returns a positive number that no other directory is likely to have.
fn new_id() -> i32 {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), LIST);
    (random as i32 & i32::MAX).max(1)
}

fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> Error {
    let message = format!("cannot open {}: {error}", file.display());
    Error::reject("data_unreadable", message)
}

fn lost(file: &Path) -> Error {
    let message = format!(
        "{} is empty or missing, but its directory has data that belong to it: \
         restore the whole directory from a backup, or choose another directory",
        file.display()
    );
    Error::reject("data_lost", message)
}

fn foreign(file: &Path) -> Error {
    let message = format!(
        "{} does not belong to the other files of its directory: \
         restore the whole directory from one backup",
        file.display()
    );
    Error::reject("data_mixed", message)
}
