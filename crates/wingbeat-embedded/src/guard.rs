//! What SQL of a service's own may do: everything with its rows, nothing with ours.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, Authorization};
use wingbeat_core::{Error, Result};

use crate::Config;
use crate::fault::failed;

/// Our tables in the file. Those of later releases begin with [`RESERVED`].
const OURS: [&str; 10] = [
    "names",
    "inbox",
    "record",
    "history",
    "view_row",
    "view_index",
    "queue",
    "journal",
    "counters",
    "probe",
];
const RESERVED: &str = "wb_";
/// Steps of SQLite's machine between two looks at the clock: a fraction of a millisecond.
const STEPS: i32 = 10_000;

/// Whose SQL is being prepared and run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    /// A service's, on the rows of its tables.
    Rows,
    /// A service's, on its tables.
    Tables,
}

const ALL: [Whose; 3] = [Whose::Ours, Whose::Rows, Whose::Tables];

/// Watches the connection that writes.
pub(crate) struct Guard {
    whose: AtomicU8,
    until: Mutex<Option<Instant>>,
    timeout: Duration,
}

impl Guard {
    /// Watches from now on, and makes the tables of the service.
    pub(crate) fn watch(connection: &Connection, config: &Config) -> Result<Arc<Self>> {
        let guard = Arc::new(Self {
            whose: AtomicU8::new(Whose::Ours as u8),
            until: Mutex::default(),
            timeout: config.statement_timeout,
        });
        guard.set_up(connection).map_err(|e| failed(&e))?;
        guard.make_tables(connection, &config.tables)?;
        Ok(guard)
    }

    fn set_up(self: &Arc<Self>, connection: &Connection) -> rusqlite::Result<()> {
        let judge = Arc::clone(self);
        connection.authorizer(Some(
            move |asked: rusqlite::hooks::AuthContext<'_>| match may(judge.whose(), &asked.action) {
                true => Authorization::Allow,
                false => Authorization::Deny,
            },
        ))?;
        let clock = Arc::clone(self);
        connection.progress_handler(STEPS, Some(move || clock.is_late()))
    }

    /// All or none.
    fn make_tables(&self, connection: &Connection, sql: &str) -> Result<()> {
        let make = || {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            self.during(Whose::Tables, || connection.execute_batch(sql))?;
            connection.execute_batch("COMMIT")
        };
        if sql.trim().is_empty() {
            return Ok(());
        }
        make().map_err(|error: rusqlite::Error| {
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
            Error::reject("tables_invalid", format!("`Config::tables` fails: {error}"))
        })
    }

    /// Runs a statement of a service on rows of its tables; it is interrupted when it takes too long.
    pub(crate) fn rows<T>(&self, work: impl FnOnce() -> T) -> T {
        self.set_until(Some(Instant::now() + self.timeout));
        let done = self.during(Whose::Rows, work);
        self.set_until(None);
        done
    }

    fn during<T>(&self, whose: Whose, work: impl FnOnce() -> T) -> T {
        self.whose.store(whose as u8, Ordering::SeqCst);
        let done = work();
        self.whose.store(Whose::Ours as u8, Ordering::SeqCst);
        done
    }

    fn whose(&self) -> Whose {
        ALL[usize::from(self.whose.load(Ordering::SeqCst))]
    }

    fn set_until(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_late(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() > until)
    }
}

/// Whether this is allowed to them.
fn may(whose: Whose, action: &AuthAction<'_>) -> bool {
    match whose {
        Whose::Ours => true,
        Whose::Rows => may_rows(action),
        Whose::Tables => may_rows(action) || may_tables(action),
    }
}

fn may_rows(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => *function_name != "load_extension",
        AuthAction::Read { table_name, .. } => !is_ours(table_name),
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => !is_ours(table_name) && !is_catalog(table_name),
        _ => false,
    }
}

/// Beyond rows. Whoever makes a table writes to SQLite's catalog; nobody can without making one.
fn may_tables(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => is_catalog(table_name),
        AuthAction::CreateTable { table_name }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTable { table_name }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::AlterTable { table_name, .. } => !is_ours(table_name),
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => {
            !is_ours(view_name)
        }
        AuthAction::Reindex { .. } => true,
        _ => false,
    }
}

fn is_ours(table: &str) -> bool {
    let table = table.to_ascii_lowercase();
    OURS.contains(&table.as_str()) || table.starts_with(RESERVED)
}

fn is_catalog(table: &str) -> bool {
    table.to_ascii_lowercase().starts_with("sqlite_")
}
