//! The disk that PostgreSQL needs for orders.

use std::time::Duration;

use wingbeat_servers::Postgres;

use crate::table::Table;

/// The pause between two readings of the log's position.
const PAUSE: Duration = Duration::from_secs(2);
/// The log that services write in a pause while they have nothing to do: looks for due work.
const IDLE_BYTES: u64 = 64 << 10;
/// The largest tables that are printed.
const SHOWN: usize = 12;

/// The position in the write-ahead log and the size of all tables before a run.
pub(crate) struct Disk {
    log: u64,
    tables: u64,
}

impl Disk {
    pub(crate) fn of(store: &Postgres) -> Self {
        store.sql("VACUUM FULL");
        Self {
            log: log(store),
            tables: tables(store),
        }
    }

    /// Waits until the services have nothing to do, and adds the bytes for each order. Space that
    /// deleted rows have left is not counted: later rows use it.
    pub(crate) async fn add(self, store: &Postgres, orders: u64, table: &mut Table, what: &str) {
        let mut before = log(store);
        loop {
            tokio::time::sleep(PAUSE).await;
            let now = log(store);
            if now - before < IDLE_BYTES {
                break;
            }
            before = now;
        }
        let kib = |bytes: u64| bytes as f64 / 1024.0 / orders as f64;
        let written = log(store) - self.log;
        table.add(what, "wingbeat", "KiB of log per order", kib(written));
        let unpacked = tables(store).saturating_sub(self.tables);
        store.sql("VACUUM FULL");
        let kept = tables(store).saturating_sub(self.tables);
        table.add(what, "wingbeat", "KiB of tables per order", kib(kept));
        println!(
            "  {orders} orders; {:.1} KiB of tables per order before VACUUM FULL",
            kib(unpacked)
        );
        for line in store.sql(LARGEST).lines().take(SHOWN) {
            if let Some((bytes, name)) = line.split_once('|') {
                let bytes: u64 = bytes.trim().parse().unwrap_or_default();
                println!("    {:.2} KiB per order: {}", kib(bytes), name.trim());
            }
        }
    }
}

/// The tables with their indexes, the largest first.
const LARGEST: &str = "SELECT pg_total_relation_size(c.oid) || '|' || n.nspname || '.' || c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY pg_total_relation_size(c.oid) DESC";

fn log(store: &Postgres) -> u64 {
    number(
        store,
        "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint",
    )
}

fn tables(store: &Postgres) -> u64 {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')";
    number(store, sql)
}

fn number(store: &Postgres, sql: &str) -> u64 {
    store.sql(sql).trim().parse().expect("a number")
}
