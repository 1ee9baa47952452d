//! Opens the files: pragmas, tables and layout versions.

use std::path::Path;
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use wingbeat_core::{Error, Result};

use crate::fault::{Cause, Fault};
use crate::private::private_file;

/// The layout that this release writes, stored in `user_version`.
const LAYOUT: i64 = 3;
/// Pages in the write-ahead log before a checkpoint: about 16 MB. Fewer pages reduce throughput,
/// more cause pauses (measured: 1,000 pages cost 20 %, 16,000 pages pause for 50 ms).
const CHECKPOINT_PAGES: u32 = 4_000;
/// The size to which a checkpoint truncates the log.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// The longest wait for another program that has locked the file.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest wait for readers before the log is emptied. Nothing is committed meanwhile.
const EMPTY_LOG_WAIT_MAX: Duration = Duration::from_millis(20);
/// The store prepares about forty distinct statements.
const STATEMENTS_CACHED: usize = 64;
/// Maximum size of a row; the store refuses a unit with a larger one.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// Size of each reader's page cache.
const READER_CACHE_BYTES: usize = 4 << 20;

// The inbox's key begins with the id, which sorts by time: new rows go to the right edge of the
// tree. `inbox.at` and `journal.at` are set only if the id does not contain the time; see
// `writer::retain`. `packed` is the number of the dictionary with which a body is compressed, or
// NULL; the columns of a view's row are compressed together with its body.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS names(id INTEGER PRIMARY KEY, space INTEGER NOT NULL,
    parent INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE(space, parent, name));
CREATE TABLE IF NOT EXISTS inbox(id BLOB NOT NULL, scope INTEGER NOT NULL, unit BLOB, at INTEGER,
    PRIMARY KEY(id, scope)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inbox_at ON inbox(at) WHERE at IS NOT NULL;
CREATE TABLE IF NOT EXISTS record(tbl INTEGER NOT NULL, id NOT NULL, version INTEGER NOT NULL,
    body BLOB NOT NULL, due_at INTEGER, expires_at INTEGER, packed INTEGER,
    PRIMARY KEY(tbl, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_due ON record(tbl, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_expires ON record(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS history(tbl INTEGER NOT NULL, id NOT NULL, seq INTEGER NOT NULL,
    at INTEGER NOT NULL, body BLOB NOT NULL, packed INTEGER,
    PRIMARY KEY(tbl, id, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS view_row(view INTEGER NOT NULL, key TEXT NOT NULL, columns BLOB NOT NULL,
    body BLOB NOT NULL, packed INTEGER, PRIMARY KEY(view, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS view_index(col INTEGER NOT NULL, value BLOB NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY(col, value, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS journal(corr BLOB NOT NULL, svc INTEGER NOT NULL, place INTEGER NOT NULL,
    body BLOB NOT NULL, at INTEGER, packed INTEGER, PRIMARY KEY(corr, svc, place)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS journal_at ON journal(at) WHERE at IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters(svc INTEGER NOT NULL, name INTEGER NOT NULL,
    value INTEGER NOT NULL, PRIMARY KEY(svc, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wb_dictionary(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL,
    name INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS probe(id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
";

/// The change from layout 1 to 2. The place of an entry is its time in microseconds.
const FROM_LAYOUT_1: &str = "
ALTER TABLE journal ADD COLUMN at INTEGER;
UPDATE journal SET at = place WHERE substr(hex(corr), 13, 1) <> '7'
    OR hex(corr) > printf('%012X', place / 1000 + 86400000);
";

/// The change from layout 2 to 3. Bodies that are stored stay as they are.
const FROM_LAYOUT_2: &str = "
ALTER TABLE record ADD COLUMN packed INTEGER;
ALTER TABLE history ADD COLUMN packed INTEGER;
ALTER TABLE view_row ADD COLUMN packed INTEGER;
ALTER TABLE journal ADD COLUMN packed INTEGER;
";

const CACHE_TABLES: &str = "
CREATE TABLE IF NOT EXISTS entry(key TEXT PRIMARY KEY, value BLOB NOT NULL,
    expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_expires ON entry(expires_at);
";

/// Opens the connection that writes, and creates the tables.
pub(crate) fn open_writer(file: &Path, page_cache_bytes: usize) -> Result<Connection> {
    private_file(file).map_err(|e| unreadable(file, &e))?;
    let connection = Connection::open(file).map_err(|e| unreadable(file, &e))?;
    prepare(&connection, "FULL", page_cache_bytes).map_err(|e| unreadable(file, &e))?;
    let most = i32::try_from(VALUE_BYTES_MAX).unwrap_or(i32::MAX);
    connection
        .set_limit(Limit::SQLITE_LIMIT_LENGTH, most)
        .map_err(|e| unopened(file, &e))?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| unopened(file, &e))?;
    if found > LAYOUT {
        return Err(newer(file, found));
    }
    let change = match found {
        1 => format!("{FROM_LAYOUT_1} {FROM_LAYOUT_2}"),
        2 => FROM_LAYOUT_2.to_owned(),
        _ => String::new(),
    };
    connection
        .execute_batch(&format!(
            "BEGIN IMMEDIATE; {change} {TABLES} PRAGMA user_version={LAYOUT}; COMMIT"
        ))
        .map_err(|e| unopened(file, &e))?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(file: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|e| unopened(file, &e))?;
    prepare(&connection, "FULL", READER_CACHE_BYTES).map_err(|e| unopened(file, &e))?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(|e| unopened(file, &e))?;
    Ok(connection)
}

/// Prepares a connection that inspects the file, which this process has opened for reading only.
/// The layout must be the one of this release.
pub(crate) fn prepare_to_inspect(connection: &Connection, file: &Path) -> Result<()> {
    let prepare = || {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        connection.busy_timeout(BUSY_WAIT_MAX)?;
        let kibibytes = i64::try_from(READER_CACHE_BYTES / 1024).unwrap_or(i64::MAX);
        connection.pragma_update(None, "cache_size", -kibibytes)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    let found = prepare().map_err(|e| unopened(file, &e))?;
    if found > LAYOUT {
        return Err(newer(file, found));
    }
    if found < LAYOUT {
        let text = format!(
            "{} has layout {found}: start this release once, which changes it to {LAYOUT}",
            file.display()
        );
        return Err(Error::reject("data_unreadable", text));
    }
    Ok(())
}

/// Opens the cache's file. It does not fsync every write: losing the last sessions in a power
/// failure is acceptable.
pub(crate) fn open_cache(file: &Path) -> Result<Connection> {
    private_file(file).map_err(|e| unreadable(file, &e))?;
    let connection = Connection::open(file).map_err(|e| unreadable(file, &e))?;
    prepare(&connection, "NORMAL", READER_CACHE_BYTES).map_err(|e| unreadable(file, &e))?;
    connection
        .execute_batch(CACHE_TABLES)
        .map_err(|e| unopened(file, &e))?;
    Ok(connection)
}

fn prepare(
    connection: &Connection,
    synchronous: &str,
    page_cache_bytes: usize,
) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.busy_timeout(BUSY_WAIT_MAX)?;
    connection.pragma_update(None, "page_size", 4096)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(
        None,
        "cache_size",
        -(i64::try_from(page_cache_bytes / 1024).unwrap_or(i64::MAX)),
    )?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(
        None,
        "journal_size_limit",
        i64::try_from(LOG_BYTES_MAX).unwrap_or(i64::MAX),
    )?;
    // Erased personal data must not remain in free pages. The cost is too small to measure.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Converts an error while a file is being opened. A damaged file is permanent.
pub(crate) fn unopened(file: &Path, error: &rusqlite::Error) -> Error {
    let fault = Fault::of(error);
    match fault.cause {
        Cause::Corrupt => unreadable(file, error),
        _ => fault.to_error(),
    }
}

fn newer(file: &Path, found: i64) -> Error {
    let message = format!(
        "{} has layout {found}, but this release supports layouts up to {LAYOUT}: \
         run the release that wrote it, or a newer one",
        file.display()
    );
    Error::reject("data_newer", message)
}

fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::reject(
        "data_unreadable",
        format!("cannot open {}: {error}", file.display()),
    )
}

/// Copies the log into the file and empties it, so that it contains no deleted data. Skips that
/// while a reader needs the log.
pub(crate) fn empty_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(EMPTY_LOG_WAIT_MAX)?;
    let result = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY_WAIT_MAX)?;
    result
}
