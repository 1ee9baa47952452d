//! The contracts of a release: what it sends, and what it stores.
//!
//! A release has to get along with the release before it: consumers of its messages are older, and
//! so are the messages in its queues, the timers that come due and the records in its store.
//! [`Contracts`] are the documents and schemas of both, derived from the code. Keep them in the
//! repository, and compare the code with them in a test:
//!
//! ```
//! # use wingbeat::{App, Service};
//! # fn hotel() -> App { App::new().service(Service::new("rooms")) }
//! # let directory = tempfile::tempdir().unwrap();
//! # let directory = directory.path();
//! # let info = wingbeat::describe::Info::new("The hotel", "1");
//! # wingbeat::contracts::Contracts::of(&hotel(), &info).write(directory).unwrap();
//! // #[test]
//! fn older_releases_understand_this_one() {
//! #   let directory = tempfile::tempdir().unwrap();
//! #   let directory = directory.path();
//! #   let info = wingbeat::describe::Info::new("The hotel", "1");
//! #   wingbeat::contracts::Contracts::of(&hotel(), &info).write(directory).unwrap();
//!     wingbeat::contracts::assert_kept(&hotel(), directory); // "contracts"
//! }
//! # older_releases_understand_this_one();
//! ```
//!
//! `<program> contracts contracts` writes the files. It refuses to replace them after a change that
//! breaks something, unless `--accept` is set; `docs/evolution.md` says when that is right.
//!
//! # Rules
//!
//! | Data | Written by | Read by |
//! |---|---|---|
//! | messages | the new release | subscriptions of the old one |
//! | messages in queues, parked or dead-lettered | the old release | the new one |
//! | events, entities, views, states of sagas, timers, calls | the old release | the new one |
//! | the same, during a rolling upgrade | the new release | replicas of the old one |
//!
//! A reader is taken to read as serde does: it ignores unknown fields, unless its type denies them,
//! and does without fields that have a default. Events that have another number of
//! [`upcasts`](crate::Aggregate::upcasts) are read by them. Snapshots whose schema has changed are
//! not read at all: both releases fold the histories again.

mod compare;
mod comparison;
mod files;
mod fit;
mod misfit;
mod schema;

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wingbeat_core::SchemaOf;

use crate::describe::{Info, System};

pub use comparison::{Break, Comparison};
pub(crate) use fit::misfit;

/// The file of the HTTP routes.
const OPENAPI: &str = "openapi.json";
/// The file of the messages.
const ASYNCAPI: &str = "asyncapi.json";
/// The directory of the schemas of messages.
const MESSAGES: &str = "messages";
/// The directory of the schemas of stored data, with one directory for each service.
const STORED: &str = "stored";

/// The documents and schemas of a release, as files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contracts {
    /// The content of each file, by its path. The schemas are those of readers.
    files: BTreeMap<String, Value>,
    /// The schemas of what this release writes, by the same path. A field with a default may be
    /// absent for a reader, and is always written.
    written: BTreeMap<String, Value>,
    /// Stored data without a schema.
    undescribed: Vec<Break>,
}

impl Contracts {
    /// Returns the contracts of a system. An `&App` converts into one.
    #[must_use]
    pub fn of(system: impl Into<System>, info: &Info) -> Self {
        files::of(&system.into(), info)
    }

    /// Reads the contracts that a directory contains.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or is not JSON.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut read = Self::default();
        for path in paths(directory)? {
            let content = fs::read(directory.join(&path))?;
            let content = serde_json::from_slice(&content).map_err(|why| {
                let text = format!("{path} is not JSON: {why}");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            read.files.insert(path, content);
        }
        Ok(read)
    }

    /// Writes the files, and removes schemas that no longer exist. Returns the number of files.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<usize> {
        fs::create_dir_all(directory)?;
        for path in paths(directory)? {
            if !self.files.contains_key(&path) {
                fs::remove_file(directory.join(path))?;
            }
        }
        for (path, content) in &self.files {
            let file = directory.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(file, format!("{content:#}\n"))?;
        }
        Ok(self.files.len())
    }

    /// Returns the content of a file, such as `messages/orders.order_placed.v1.json`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Value> {
        self.files.get(path)
    }

    /// Returns the schemas of all messages and stored data, by path, without the two documents.
    #[must_use]
    pub fn schemas(&self) -> Vec<Contract> {
        let schemas = self.files.iter().filter(|(path, _)| !is_document(path));
        let schemas = schemas.map(|(path, read)| Contract {
            path: path.clone(),
            read: read.clone(),
            written: self.written.get(path).cloned(),
        });
        schemas.collect()
    }

    /// Returns the stored data without a schema. Changes of it would go unnoticed.
    #[must_use]
    pub fn undescribed(&self) -> &[Break] {
        &self.undescribed
    }

    /// Adds the schemas of a release that runs elsewhere, and its stored data without a schema.
    pub fn extend(
        &mut self,
        schemas: impl IntoIterator<Item = Contract>,
        undescribed: impl IntoIterator<Item = Break>,
    ) {
        for Contract {
            path,
            read,
            written,
        } in schemas
        {
            self.written.extend(written.map(|it| (path.clone(), it)));
            self.files.insert(path, read);
        }
        self.undescribed.extend(undescribed);
    }

    /// Returns these contracts without the two documents, for a comparison of schemas alone.
    #[must_use]
    pub fn without_documents(&self) -> Self {
        let mut schemas = self.clone();
        schemas.files.retain(|path, _| !is_document(path));
        schemas
    }

    /// Compares these contracts with those of the release before.
    #[must_use]
    pub fn compare(&self, older: &Self) -> Comparison {
        compare::compare(self, older)
    }
}

/// The schemas of one message type, or of one kind of stored data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Contract {
    /// The path of its file, such as `messages/orders.order_placed.v1.json`.
    pub path: String,
    /// The schema of what the release can read.
    pub read: Value,
    /// The schema of what it writes; `null` if it is not known.
    pub written: Option<Value>,
}

fn is_document(path: &str) -> bool {
    [OPENAPI, ASYNCAPI].contains(&path)
}

/// Panics with a report if the system breaks the contracts in a directory.
///
/// A change that breaks nothing passes, with a note on stderr if the files are out of date.
///
/// # Panics
///
/// If the directory has no contracts, or a change breaks one of them.
pub fn assert_kept(system: impl Into<System>, directory: impl AsRef<Path>) {
    let directory = directory.as_ref();
    let older = Contracts::read(directory).unwrap_or_else(|why| {
        let at = directory.display();
        panic!("{at}: {why}. Write the contracts with `<program> contracts {at}`.")
    });
    let info = Info::new("", "");
    let comparison = Contracts::of(system, &info).compare(&older);
    assert!(comparison.is_kept(), "{comparison}");
    if !comparison.changes.is_empty() {
        eprintln!("{comparison}");
    }
}

/// Returns a text that changes with the values that a schema allows, and not with comments or names
/// of types.
pub(crate) fn fingerprint(schema: SchemaOf) -> String {
    let schema = files::whole(SchemaSettings::draft2020_12(), |it| schema.schema_in(it));
    let digest = Sha256::digest(schema::canonical(&schema).to_string());
    hex::encode(&digest[..8])
}

/// Returns the paths of the files of contracts below a directory.
fn paths(directory: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for file in [OPENAPI, ASYNCAPI] {
        if directory.join(file).exists() {
            found.push(file.to_owned());
        }
    }
    for folder in [MESSAGES, STORED] {
        if directory.join(folder).exists() {
            walk(directory, folder, &mut found)?;
        }
    }
    if found.is_empty() && !directory.exists() {
        let text = "there are no contracts";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(found)
}

fn walk(directory: &Path, below: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory.join(below))? {
        let entry = entry?;
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(directory, &path, found)?;
        } else if path.ends_with(".json") {
            found.push(path);
        }
    }
    Ok(())
}
