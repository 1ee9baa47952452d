//! Numbers of advisory locks. All processes that work on one schema must compute the same numbers.

use wingbeat_core::Key;

/// Number of lanes of a schema. Few enough that a commit cannot exhaust the server's lock table.
const LANES: u32 = 1024;

/// Returns a stable hash of two texts (FNV-1a).
fn hash(parts: [&str; 2]) -> u32 {
    let bytes = parts.into_iter().flat_map(str::bytes);
    bytes.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Returns the number that separates the advisory locks of one schema from those of other schemas.
pub(crate) fn lock_namespace(schema: &str) -> i32 {
    i32::from_ne_bytes(hash([schema, ""]).to_ne_bytes())
}

/// Returns the lane of a row.
fn lane(table: &str, id: &str) -> i32 {
    i32::try_from(hash([table, id]) % LANES).unwrap_or_default()
}

/// The advisory locks of a call. Each lane stands for rows that may be absent, which PostgreSQL
/// cannot lock.
#[derive(Default)]
pub(super) struct Lanes(Vec<i32>);

impl Lanes {
    /// Adds the lane of a record.
    pub(super) fn add(&mut self, key: &Key) {
        self.0.push(lane(key.table.as_str(), &key.id));
    }

    /// Adds the lane of a view's row.
    pub(super) fn add_row(&mut self, view: &str, key: &str) {
        self.0.push(lane(view, key));
    }

    /// Returns each lane once, in the order in which all processes lock them.
    pub(super) fn sorted(mut self) -> Vec<i32> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use wingbeat_core::Name;

    use super::*;

    /// During a rolling upgrade, processes of two releases work on one schema and must take the
    /// same locks.
    #[test]
    fn lanes_are_the_same_in_every_release() {
        let mut lanes = Lanes::default();
        lanes.add(&Key::new(Name::new("order"), "17"));
        lanes.add(&Key::new(Name::new("order"), "17"));
        lanes.add_row("orders", "17");
        assert_eq!(lanes.sorted(), [511, 624]);
        assert_eq!(lock_namespace("\"orders\""), 1_226_985_898);
    }
}
