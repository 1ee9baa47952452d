//! Limits the SQL of services: they may do everything with their own tables and nothing with the
//! framework's.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use wingbeat_core::{Error, Result};

use crate::config::Config;
use crate::fault::failed;

/// The framework's tables. Tables of later releases begin with [`RESERVED_PREFIX`].
const FRAMEWORK_TABLES: [&str; 10] = [
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
const RESERVED_PREFIX: &str = "wb_";
/// Instructions of SQLite's virtual machine between two checks of the timeout. They take a fraction
/// of a millisecond.
const TIMEOUT_CHECK_INSTRUCTIONS: i32 = 10_000;

/// Access rights of the SQL that is being prepared and run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// The framework's SQL: everything.
    Everything,
    /// A service's statement: the rows of its own tables.
    OwnRows,
    /// [`Config::tables`]: a service's own tables and their rows.
    OwnTables,
}

const ACCESSES: [Access; 3] = [Access::Everything, Access::OwnRows, Access::OwnTables];

/// Authorizes the SQL on the writer's connection and interrupts statements that time out.
pub(crate) struct Guard {
    access: AtomicU8,
    deadline: Mutex<Option<Instant>>,
    timeout: Duration,
}

impl Guard {
    /// Installs the guard on the connection, then runs [`Config::tables`].
    pub(crate) fn install(connection: &mut Connection, config: &Config) -> Result<Arc<Self>> {
        let guard = Arc::new(Self {
            access: AtomicU8::new(Access::Everything as u8),
            deadline: Mutex::default(),
            timeout: config.statement_timeout,
        });
        guard.set_hooks(connection).map_err(|e| failed(&e))?;
        guard.create_tables(connection, &config.tables)?;
        Ok(guard)
    }

    fn set_hooks(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let guard = Arc::clone(self);
        let authorize = move |context: AuthContext<'_>| {
            if is_allowed(guard.access(), &context.action) {
                Authorization::Allow
            } else {
                Authorization::Deny
            }
        };
        connection.authorizer(Some(authorize))?;
        let guard = Arc::clone(self);
        let interrupt = move || guard.is_timed_out();
        connection.progress_handler(TIMEOUT_CHECK_INSTRUCTIONS, Some(interrupt))
    }

    /// Runs the SQL in one transaction.
    fn create_tables(&self, connection: &Connection, sql: &str) -> Result<()> {
        if sql.trim().is_empty() {
            return Ok(());
        }
        let create = || {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            self.with_access(Access::OwnTables, || connection.execute_batch(sql))?;
            connection.execute_batch("COMMIT")
        };
        create().map_err(|error: rusqlite::Error| {
            if !connection.is_autocommit() {
                // The first error is the one to report.
                let _ = connection.execute_batch("ROLLBACK");
            }
            Error::reject(
                "tables_invalid",
                format!("`Config::tables` failed: {error}"),
            )
        })
    }

    /// Runs a service's statement on the rows of its own tables. SQLite interrupts it when it times
    /// out.
    pub(crate) fn run_statement<T>(&self, run: impl FnOnce() -> T) -> T {
        self.set_deadline(Some(Instant::now() + self.timeout));
        let result = self.with_access(Access::OwnRows, run);
        self.set_deadline(None);
        result
    }

    fn with_access<T>(&self, access: Access, run: impl FnOnce() -> T) -> T {
        self.access.store(access as u8, Ordering::SeqCst);
        let result = run();
        self.access
            .store(Access::Everything as u8, Ordering::SeqCst);
        result
    }

    fn access(&self) -> Access {
        ACCESSES[usize::from(self.access.load(Ordering::SeqCst))]
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn is_timed_out(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| Instant::now() > deadline)
    }
}

fn is_allowed(access: Access, action: &AuthAction<'_>) -> bool {
    match access {
        Access::Everything => true,
        Access::OwnRows => is_allowed_on_rows(action),
        Access::OwnTables => is_allowed_on_rows(action) || is_allowed_on_tables(action),
    }
}

fn is_allowed_on_rows(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => *function_name != "load_extension",
        AuthAction::Read { table_name, .. } => !is_framework(table_name),
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => !is_framework(table_name) && !is_catalog(table_name),
        _ => false,
    }
}

/// Allows DDL. SQLite implements it by writing to its catalog, so that is allowed too: nothing but
/// DDL can reach the catalog.
fn is_allowed_on_tables(action: &AuthAction<'_>) -> bool {
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
        | AuthAction::AlterTable { table_name, .. } => !is_framework(table_name),
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => {
            !is_framework(view_name)
        }
        AuthAction::Reindex { .. } => true,
        _ => false,
    }
}

fn is_framework(table: &str) -> bool {
    let table = table.to_ascii_lowercase();
    FRAMEWORK_TABLES.contains(&table.as_str()) || table.starts_with(RESERVED_PREFIX)
}

fn is_catalog(table: &str) -> bool {
    table.to_ascii_lowercase().starts_with("sqlite_")
}
