use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::error::SettingsError;
use super::field::Field;

/// A flat `wingbeat.toml`.
#[derive(Default)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) values: BTreeMap<String, String>,
}

impl File {
    /// Reads the file: `path`, else `./wingbeat.toml` if it exists. Returns also what is wrong with
    /// it.
    pub(super) fn read<'a>(
        path: Option<&Path>,
        known: impl Iterator<Item = &'a Field>,
    ) -> (Self, Vec<SettingsError>) {
        let default = Path::new("wingbeat.toml");
        let path = match path {
            Some(path) => path,
            None if default.is_file() => default,
            None => return (Self::default(), Vec::new()),
        };
        let name = path.display().to_string();
        let table = match table(path) {
            Ok(table) => table,
            Err(why) => {
                let why = SettingsError::File(name.clone(), why);
                return (
                    Self {
                        name,
                        ..Self::default()
                    },
                    vec![why],
                );
            }
        };
        let known = known.filter(|field| !field.secret);
        let known: Vec<&str> = known.map(|field| field.key.as_str()).collect();
        let (mut values, mut faults) = (BTreeMap::new(), Vec::new());
        for (key, value) in table {
            if !known.contains(&key.as_str()) {
                faults.push(SettingsError::Unknown {
                    file: name.clone(),
                    key,
                    known: known.join(", "),
                });
                continue;
            }
            let value = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            values.insert(key, value);
        }
        (Self { name, values }, faults)
    }
}

fn table(path: &Path) -> Result<BTreeMap<String, Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|why| why.to_string())?;
    basic_toml::from_str(&text).map_err(|why| {
        let text = why.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    })
}
