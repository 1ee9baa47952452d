//! Tolerated lengths, packages and circles, in `xtask/ratchet.toml`. They only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

const PATH: &str = "xtask/ratchet.toml";

const HEADER: &str = "\
# Files and functions over their limit with their lines of code, examples with the packages that
# they compile, and circles between modules.
# Entries may shrink or disappear, never grow. `cargo xtask tidy --bless` lowers them.
";

/// The recorded exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ratchet {
    /// Modules that import each other, as `crate::module`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) circles: Vec<BTreeSet<String>>,
    /// Lines by file.
    pub(super) files: BTreeMap<String, usize>,
    /// Lines by function, as `path::Type::name`.
    pub(super) functions: BTreeMap<String, usize>,
    /// Packages by example.
    pub(super) packages: BTreeMap<String, usize>,
}

impl Ratchet {
    /// Reads the recorded exceptions; there are none without the file.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(PATH);
        if !path.exists() {
            return Ok(Self::default());
        }
        toml::from_str(&fs::read_to_string(&path)?).context(PATH)
    }

    pub(super) fn write(&self, root: &Path) -> anyhow::Result<()> {
        let text = format!("{HEADER}\n{}", toml::to_string_pretty(self)?);
        fs::write(root.join(PATH), text).context(PATH)
    }

    /// Returns whether a circle is recorded, or a part of a recorded one.
    pub(super) fn allows_circle(&self, members: &BTreeSet<String>) -> bool {
        self.circles.iter().any(|known| members.is_subset(known))
    }

    /// Returns the entries lowered to what the code needs now, without those that it does not need.
    pub(super) fn lowered_to(&self, actual: &Self) -> Self {
        let known = |circle: &&BTreeSet<String>| self.allows_circle(circle);
        Self {
            circles: actual.circles.iter().filter(known).cloned().collect(),
            files: lower(&self.files, &actual.files),
            functions: lower(&self.functions, &actual.functions),
            packages: lower(&self.packages, &actual.packages),
        }
    }
}

fn lower(
    recorded: &BTreeMap<String, usize>,
    actual: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    let lowered = recorded.iter().filter_map(|(name, length)| {
        let now = actual.get(name)?;
        Some((name.clone(), *length.min(now)))
    });
    lowered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, usize)]) -> Ratchet {
        let files = entries
            .iter()
            .map(|(name, length)| ((*name).to_owned(), *length))
            .collect();
        Ratchet {
            files,
            ..Ratchet::default()
        }
    }

    #[test]
    fn blessing_only_lowers() {
        let recorded = files(&[("shrunk.rs", 500), ("grown.rs", 450), ("gone.rs", 600)]);
        let actual = files(&[("shrunk.rs", 420), ("grown.rs", 470), ("new.rs", 800)]);
        let expected = files(&[("shrunk.rs", 420), ("grown.rs", 450)]);
        assert_eq!(recorded.lowered_to(&actual), expected);
    }

    fn circle(members: &[&str]) -> BTreeSet<String> {
        members.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn blessing_shrinks_a_circle_and_records_no_new_one() {
        let circles = |circles: &[&[&str]]| Ratchet {
            circles: circles.iter().map(|it| circle(it)).collect(),
            ..Ratchet::default()
        };
        let recorded = circles(&[&["a", "b", "c"]]);
        let actual = circles(&[&["a", "b"], &["d", "e"]]);
        assert_eq!(recorded.lowered_to(&actual), circles(&[&["a", "b"]]));
    }

    #[test]
    fn a_written_ratchet_is_read_back() {
        let written = Ratchet {
            circles: vec![circle(&["a", "b"])],
            ..files(&[("a/b.rs", 500)])
        };
        let text = toml::to_string(&written).unwrap();
        assert_eq!(toml::from_str::<Ratchet>(&text).unwrap(), written);
    }
}
