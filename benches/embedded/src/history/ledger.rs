//! Copies of the bookings in the provider's ledger.

use std::path::Path;

use rusqlite::{Connection, params};

use super::copies::Renaming;

pub(super) fn multiply(file: &Path, renaming: &Renaming, copies: usize) {
    let mut connection = Connection::open(file).expect("the ledger can be opened");
    let order = |id: Vec<u8>, copy: usize| {
        let id: [u8; 16] = id.try_into().expect("16 bytes");
        renaming.id(id, copy)
    };
    let cards: Vec<(Vec<u8>, String, i64, String)> = read(
        &connection,
        "SELECT order_id, token, amount, state FROM card",
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    );
    let entries: Vec<(Vec<u8>, String, i64, i64, String)> = read(
        &connection,
        "SELECT order_id, kind, amount, at, key FROM ledger",
        |row| {
            let (id, kind, amount) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((id, kind, amount, row.get(3)?, row.get(4)?))
        },
    );
    for copy in (1..=copies).rev() {
        let transaction = connection.transaction().expect("a transaction");
        for (id, token, amount, state) in &cards {
            let sql = "INSERT INTO card(order_id, token, amount, state) VALUES(?1, ?2, ?3, ?4)";
            let id = order(id.clone(), copy);
            let mut insert = transaction.prepare_cached(sql).expect("SQL");
            insert
                .execute(params![id, token, amount, state])
                .expect("a new card");
        }
        for (id, kind, amount, at, key) in &entries {
            let sql = "INSERT INTO ledger(order_id, kind, amount, at, key)
                VALUES(?1, ?2, ?3, ?4, ?5)";
            let (id, key) = (order(id.clone(), copy), renaming.text(key, copy));
            let mut insert = transaction.prepare_cached(sql).expect("SQL");
            insert
                .execute(params![id, kind, amount, at, key])
                .expect("a new entry");
        }
        transaction.commit().expect("it commits");
    }
}

fn read<T>(
    connection: &Connection,
    sql: &str,
    row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = connection.prepare(sql).expect("SQL");
    let rows = statement.query_map([], row).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("rows")
}
