//! The durable ledger. One writer thread commits operations in batches, and replies after the
//! commit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// The most operations per commit.
const BATCH_MAX: usize = 512;
/// The most operations that wait for the writer.
const QUEUE: usize = 4_096;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -8192;
    CREATE TABLE IF NOT EXISTS card(order_id BLOB PRIMARY KEY, token TEXT NOT NULL, amount INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS operation(key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS ledger(id INTEGER PRIMARY KEY, order_id BLOB NOT NULL, kind TEXT NOT NULL, amount INTEGER NOT NULL, at INTEGER NOT NULL, key TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS ledger_order ON ledger(order_id);
";

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The order.
    pub order_id: Uuid,
    /// `authorize`, `capture`, `void` or `refund`.
    pub kind: String,
    /// The amount in cents.
    pub amount_minor: i64,
    /// The time, in RFC 3339.
    pub at: String,
    /// The idempotency key of the request.
    pub idempotency_key: String,
}

/// The counters of the writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The number of commits, each with one fsync.
    pub commits: u64,
    /// The number of committed operations.
    pub operations: u64,
}

/// An operation to be booked.
pub(crate) struct Booking {
    pub(crate) key: String,
    pub(crate) kind: &'static str,
    pub(crate) order_id: Uuid,
    pub(crate) amount: i64,
    pub(crate) token: String,
    pub(crate) declined: bool,
}

/// The outcome of a booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Booked {
    /// The recorded reply as JSON, of this or of an earlier request.
    Answer(String),
    /// The key was used for a different request.
    KeyReused,
    /// The ledger cannot be written.
    Unavailable,
}

type Job = (Booking, oneshot::Sender<Booked>);

/// Restricts the ledger to its owner. SQLite gives new files beside it the same mode.
fn keep_private(path: &Path) {
    #[cfg(unix)]
    for ending in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        let file = Path::new(&file);
        let mode = std::fs::Permissions::from_mode(0o600);
        if file.exists()
            && let Err(why) = std::fs::set_permissions(file, mode)
        {
            tracing::warn!("other users may read {}: {why}", file.display());
        }
    }
}

/// A handle to the ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    jobs: mpsc::Sender<Job>,
    path: Arc<Path>,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        keep_private(path);
        connection.execute_batch(SCHEMA)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let counts = Arc::<(AtomicU64, AtomicU64)>::default();
        let writer = Writer {
            connection,
            queue,
            counts: Arc::clone(&counts),
        };
        std::thread::spawn(move || writer.run());
        Ok(Self {
            jobs,
            path: path.into(),
            counts,
        })
    }

    pub(crate) async fn book(&self, booking: Booking) -> Booked {
        let (answer, booked) = oneshot::channel();
        if self.jobs.send((booking, answer)).await.is_err() {
            return Booked::Unavailable;
        }
        booked.await.unwrap_or(Booked::Unavailable)
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            commits: read(&self.counts.0),
            operations: read(&self.counts.1),
        }
    }

    /// Runs a read on a connection of its own and a blocking thread; `None` if it fails.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let path = Arc::clone(&self.path);
        let read = move || work(&Connection::open(path)?).inspect_err(exit_if_damaged);
        tokio::task::spawn_blocking(read).await.ok()?.ok()
    }
}

/// The orders whose entries are wanted: all without a bound.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    /// Only this order.
    pub(crate) order: Option<Uuid>,
    /// Orders after this one.
    pub(crate) beyond: Option<Uuid>,
    /// Orders up to this one.
    pub(crate) through: Option<Uuid>,
}

/// Returns the entries after `after` of these orders.
pub(crate) fn entries(
    connection: &Connection,
    range: Range,
    after: i64,
    limit: i64,
) -> rusqlite::Result<Vec<(i64, Entry)>> {
    let bytes = |id: Uuid| id.as_bytes().to_vec();
    let (orders, low, high) = match range {
        Range {
            order: Some(id), ..
        } => ("WHERE order_id = ?2 AND ?3 IS NULL", Some(bytes(id)), None),
        Range {
            beyond: None,
            through: None,
            ..
        } => ("WHERE ?2 IS NULL AND ?3 IS NULL", None, None),
        // Without the hint SQLite reads all entries, since they are in the wanted order.
        Range {
            beyond, through, ..
        } => (
            "INDEXED BY ledger_order WHERE order_id > ?2 AND order_id <= ?3",
            Some(beyond.map_or_else(Vec::new, bytes)),
            Some(through.map_or_else(|| vec![0xff; 17], bytes)),
        ),
    };
    let sql = format!(
        "SELECT id, order_id, kind, amount, at, key FROM ledger {orders} AND id > ?1 ORDER BY id LIMIT ?4"
    );
    let mut select = connection.prepare(&sql)?;
    let rows = select.query_map(params![after, low, high, limit], |row| {
        let order: Vec<u8> = row.get(1)?;
        let entry = Entry {
            order_id: Uuid::from_slice(&order).unwrap_or_default(),
            kind: row.get(2)?,
            amount_minor: row.get(3)?,
            at: time(row.get(4)?),
            idempotency_key: row.get(5)?,
        };
        Ok((row.get(0)?, entry))
    })?;
    rows.collect()
}

/// Returns the recorded reply of an operation.
pub(crate) fn recorded(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT answer FROM operation WHERE key = ?1",
            [key],
            |row| row.get(0),
        )
        .optional()
}

/// Returns the token of the card that pays an order.
pub(crate) fn token(connection: &Connection, order: Uuid) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT token FROM card WHERE order_id = ?1",
            [order.as_bytes().as_slice()],
            |row| row.get(0),
        )
        .optional()
}

struct Writer {
    connection: Connection,
    queue: mpsc::Receiver<Job>,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(job) = self.queue.try_recv()
            {
                batch.push(job);
            }
            let (bookings, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let booked = self.commit(&bookings).unwrap_or_else(|why| {
                exit_if_damaged(&why);
                tracing::error!("cannot write the ledger of the payment provider: {why}");
                vec![Booked::Unavailable; bookings.len()]
            });
            self.counts.0.fetch_add(1, Ordering::Relaxed);
            self.counts
                .1
                .fetch_add(bookings.len() as u64, Ordering::Relaxed);
            for (answer, booked) in answers.into_iter().zip(booked) {
                let _ = answer.send(booked); // The client has disconnected; the reply is recorded.
            }
        }
    }

    fn commit(&mut self, bookings: &[Booking]) -> rusqlite::Result<Vec<Booked>> {
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let booked = bookings
            .iter()
            .map(|booking| book(&transaction, booking))
            .collect::<rusqlite::Result<_>>()?;
        transaction.commit()?;
        Ok(booked)
    }
}

fn book(connection: &Connection, booking: &Booking) -> rusqlite::Result<Booked> {
    let request = format!(
        "{} {} {} {}",
        booking.kind, booking.order_id, booking.amount, booking.token
    );
    let mut known =
        connection.prepare_cached("SELECT request, answer FROM operation WHERE key = ?1")?;
    let earlier: Option<(String, String)> = known
        .query_row([&booking.key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((earlier, answer)) = earlier {
        return Ok(if earlier == request {
            Booked::Answer(answer)
        } else {
            Booked::KeyReused
        });
    }
    let order = booking.order_id.as_bytes().as_slice();
    let mut card =
        connection.prepare_cached("SELECT amount, state FROM card WHERE order_id = ?1")?;
    let card: Option<(i64, String)> = card
        .query_row([order], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (status, amount) = decide(booking, card.as_ref());
    if matches!(status, "authorized" | "captured" | "voided" | "refunded") {
        let mut put = connection.prepare_cached(
            "INSERT INTO card(order_id, token, amount, state) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT(order_id) DO UPDATE SET state = excluded.state",
        )?;
        put.execute(params![order, booking.token, amount, status])?;
        let mut effect = connection.prepare_cached(
            "INSERT INTO ledger(order_id, kind, amount, at, key) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        effect.execute(params![order, booking.kind, amount, now(), booking.key])?;
    }
    let answer = serde_json::json!({ "status": status, "order_id": booking.order_id }).to_string();
    let mut record = connection
        .prepare_cached("INSERT INTO operation(key, request, answer) VALUES (?1, ?2, ?3)")?;
    record.execute(params![booking.key, request, answer])?;
    Ok(Booked::Answer(answer))
}

/// Returns the status of the reply and the amount moved. A second capture with another key is
/// booked again, because a provider cannot know that the client lost its key.
fn decide(booking: &Booking, card: Option<&(i64, String)>) -> (&'static str, i64) {
    let held = card.map_or(0, |(amount, _)| *amount);
    let state = card.map_or("", |(_, state)| state.as_str());
    match booking.kind {
        "authorize" if booking.declined => ("declined", 0),
        "authorize" => ("authorized", booking.amount),
        "capture" if matches!(state, "authorized" | "captured") && booking.amount <= held => {
            ("captured", booking.amount)
        }
        "void" if state == "authorized" => ("voided", held),
        "refund" if state == "captured" && booking.amount <= held => ("refunded", booking.amount),
        _ => ("refused", 0),
    }
}

/// Ends the process with exit code 2 if the ledger is damaged. No later attempt could succeed, and
/// a further write could destroy more.
fn exit_if_damaged(error: &rusqlite::Error) {
    let code = error.sqlite_error_code();
    if matches!(
        code,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    ) {
        eprintln!(
            "the ledger of the payment provider is damaged ({error}): stop using it and restore a \
             backup"
        );
        std::process::exit(2);
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| micros.to_string(), |time| time.to_string())
}
