//! The settings' file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Error, KEYS};

/// A flat `wingbeat.toml`.
#[derive(Default)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) values: BTreeMap<String, String>,
}

impl File {
    pub(super) fn read(file: Option<PathBuf>) -> Result<Self, Error> {
        let default = Path::new("wingbeat.toml");
        let path = match &file {
            Some(path) => path,
            None if default.is_file() => default,
            None => return Ok(Self::default()),
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|why| Error::File(name.clone(), why.to_string()))?;
        let table: toml::Table = toml::from_str(&text).map_err(|why| {
            let line = why.message().lines().next().unwrap_or_default().to_owned();
            Error::File(name.clone(), line)
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if !KEYS.contains(&key.as_str()) {
                return Err(Error::Unknown(name, key, KEYS.join(", ")));
            }
            let value = match value {
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            values.insert(key, value);
        }
        Ok(Self { name, values })
    }
}
