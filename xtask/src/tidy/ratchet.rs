//! The lengths that are over their limit and tolerated, in `xtask/ratchet.toml`. They only shrink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

const PATH: &str = "xtask/ratchet.toml";

const HEADER: &str = "\
# What is longer than its limit, and how long. An entry may shrink and go, never grow.
# Written by `cargo xtask tidy --bless`, which only lowers.
";

/// Lines by file, and by function as `path::Type::name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ratchet {
    pub(super) files: BTreeMap<String, usize>,
    pub(super) functions: BTreeMap<String, usize>,
}

impl Ratchet {
    /// What is recorded; nothing where there is no file.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(PATH);
        if !path.exists() {
            return Ok(Self::default());
        }
        toml::from_str(&fs::read_to_string(&path)?).context(PATH)
    }

    pub(super) fn write(&self, root: &Path) -> anyhow::Result<()> {
        let text = format!("{HEADER}\n{}", toml::to_string(self)?);
        fs::write(root.join(PATH), text).context(PATH)
    }

    /// The same entries, each as low as the code allows by now, without those that are not needed.
    pub(super) fn lowered_to(&self, actual: &Self) -> Self {
        Self {
            files: lower(&self.files, &actual.files),
            functions: lower(&self.functions, &actual.functions),
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

    #[test]
    fn what_is_written_is_read_back() {
        let text = toml::to_string(&files(&[("a/b.rs", 500)])).unwrap();
        assert_eq!(
            toml::from_str::<Ratchet>(&text).unwrap(),
            files(&[("a/b.rs", 500)])
        );
    }
}
