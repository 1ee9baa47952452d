use std::collections::BTreeMap;
use std::path::Path;

use super::error::SettingsError;
use super::field::Field;

/// A flat `wingbeat.toml`.
#[derive(Default)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) values: BTreeMap<String, String>,
}

impl File {
    /// Reads the file: `path`, else `./wingbeat.toml` if it exists.
    pub(super) fn read<'a>(
        path: Option<&Path>,
        known: impl Iterator<Item = &'a Field>,
    ) -> Result<Self, SettingsError> {
        let default = Path::new("wingbeat.toml");
        let path = match path {
            Some(path) => path,
            None if default.is_file() => default,
            None => return Ok(Self::default()),
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|why| SettingsError::File(name.clone(), why.to_string()))?;
        let table: toml::Table = toml::from_str(&text).map_err(|why| {
            let line = why.message().lines().next().unwrap_or_default().to_owned();
            SettingsError::File(name.clone(), line)
        })?;
        let known = known.filter(|field| !field.secret);
        let known: Vec<&str> = known.map(|field| field.key.as_str()).collect();
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if !known.contains(&key.as_str()) {
                return Err(SettingsError::Unknown {
                    file: name,
                    key,
                    known: known.join(", "),
                });
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
