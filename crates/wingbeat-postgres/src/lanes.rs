//! Numbers for advisory locks. All programs that work on one schema have to agree on them.

use wingbeat_core::Key;

/// Lanes of a schema. Few enough that a commit cannot exhaust the server's table of locks.
const LANES: u32 = 1024;

/// A stable number for a text (FNV-1a).
fn number(parts: [&str; 2]) -> u32 {
    let bytes = parts.into_iter().flat_map(str::bytes);
    bytes.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Tells the locks of one schema from another's.
pub(crate) fn namespace(schema: &str) -> i32 {
    i32::from_ne_bytes(number([schema, ""]).to_ne_bytes())
}

/// The lane of a row that may not be there.
fn lane(table: &str, id: &str) -> i32 {
    i32::try_from(number([table, id]) % LANES).unwrap_or_default()
}

/// The lanes of a call.
#[derive(Default)]
pub(crate) struct Lanes(Vec<i32>);

impl Lanes {
    pub(crate) fn guard(&mut self, key: &Key) {
        self.0.push(lane(key.table.as_str(), &key.id));
    }

    pub(crate) fn guard_row(&mut self, view: &str, key: &str) {
        self.0.push(lane(view, key));
    }

    /// Each once, in the order in which all take them.
    pub(crate) fn sorted(mut self) -> Vec<i32> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use wingbeat_core::Name;

    use super::*;

    /// Programs of two releases work on one schema while a service is rolled: they must lock alike.
    #[test]
    fn lanes_stay_what_they_are() {
        let mut lanes = Lanes::default();
        lanes.guard(&Key::new(Name::new("order"), "17"));
        lanes.guard(&Key::new(Name::new("order"), "17"));
        lanes.guard_row("orders", "17");
        assert_eq!(lanes.sorted(), [511, 624]);
        assert_eq!(namespace("\"orders\""), 1_226_985_898);
    }
}
