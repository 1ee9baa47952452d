//! Looks up settings in their sources, and parses Wingbeat's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use wingbeat_core::tls::TlsFiles;

use super::error::SettingsError;
use super::file::File;
use super::{LogFormat, Servers};

/// The prefix of variables that hold the address of a service.
pub(super) const UPSTREAM: &str = "WINGBEAT_URL_";

/// The sources of settings.
#[derive(Default)]
pub(crate) struct Sources {
    /// The flags that were given, by key.
    pub(crate) flags: BTreeMap<String, String>,
    /// The environment.
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// The file; `None` for `./wingbeat.toml` if it exists.
    pub(crate) file: Option<PathBuf>,
}

/// A value and its origin.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) origin: String,
    pub(super) value: String,
}

impl Found {
    pub(super) fn invalid(self, expected: impl Into<String>) -> SettingsError {
        SettingsError::Invalid {
            origin: self.origin,
            value: self.value,
            expected: expected.into(),
        }
    }
}

/// The lookup in all sources. The first source that has a value wins.
pub(super) struct Lookup<'a> {
    pub(super) sources: &'a Sources,
    pub(super) file: &'a File,
}

impl Lookup<'_> {
    fn ours(&self, key: &str) -> Result<Option<Found>, SettingsError> {
        self.find(key, &format!("WINGBEAT_{}", key.to_ascii_uppercase()))
    }

    /// Returns the value for a key and its variable.
    pub(super) fn find(&self, key: &str, variable: &str) -> Result<Option<Found>, SettingsError> {
        if let Some(value) = self.sources.flags.get(key) {
            return Ok(Some(Found {
                origin: format!("--{}", key.replace('_', "-")),
                value: value.clone(),
            }));
        }
        if let Some(value) = self.variable(variable)? {
            return Ok(Some(Found {
                origin: variable.into(),
                value,
            }));
        }
        let origin = format!("{variable}_FILE");
        if let Some(path) = self.variable(&origin)? {
            let text = std::fs::read_to_string(&path)
                .map_err(|why| SettingsError::File(format!("{origin}: {path}"), why.to_string()))?;
            let value = text.trim_end_matches(['\r', '\n']).to_owned();
            return Ok(Some(Found { origin, value }));
        }
        let value = self.file.values.get(key).cloned();
        Ok(value.map(|value| Found {
            origin: format!("`{key}` in {}", self.file.name),
            value,
        }))
    }

    fn variable(&self, name: &str) -> Result<Option<String>, SettingsError> {
        let value = self.sources.env.get(OsStr::new(name));
        let text = |value: &OsString| value.to_str().map(str::to_owned);
        value
            .map(|value| text(value).ok_or_else(|| SettingsError::NotUtf8(name.into())))
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, SettingsError> {
        match self.ours(key)? {
            Some(found) if found.value.is_empty() => Err(found.invalid("a text that is not empty")),
            found => Ok(found.map(|found| found.value)),
        }
    }

    pub(super) fn address(
        &self,
        key: &str,
        default: SocketAddr,
    ) -> Result<SocketAddr, SettingsError> {
        let Some(found) = self.ours(key)? else {
            return Ok(default);
        };
        address(&found.value).ok_or_else(|| found.invalid("an address such as 127.0.0.1:8080"))
    }

    pub(super) fn duration(&self, key: &str, default: Duration) -> Result<Duration, SettingsError> {
        let Some(found) = self.ours(key)? else {
            return Ok(default);
        };
        duration(&found.value).ok_or_else(|| found.invalid(A_DURATION))
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, SettingsError> {
        match self.ours("log_format")? {
            None => Ok(LogFormat::Text),
            Some(found) if found.value == "text" => Ok(LogFormat::Text),
            Some(found) if found.value == "json" => Ok(LogFormat::Json),
            Some(found) => Err(found.invalid("text or json")),
        }
    }

    pub(super) fn servers(&self) -> Result<Option<Servers>, SettingsError> {
        let broker = self.ours("broker")?;
        let (store, cache) = (self.ours("store")?, self.ours("cache")?);
        let first = broker.as_ref().or(store.as_ref()).or(cache.as_ref());
        let Some(first) = first else {
            return Ok(None);
        };
        if !cfg!(feature = "servers") {
            return Err(SettingsError::NotBuilt {
                origin: first.origin.clone(),
                feature: "servers",
            });
        }
        let required = |found: Option<Found>, flag| {
            found
                .map(|found| found.value)
                .ok_or(SettingsError::Incomplete(flag))
        };
        Ok(Some(Servers {
            broker: required(broker, "--broker")?,
            store: required(store, "--store")?,
            cache: required(cache, "--cache")?,
        }))
    }

    pub(super) fn tls(&self) -> Result<TlsFiles, SettingsError> {
        let path = |key| Ok(self.text(key)?.map(PathBuf::from));
        let (ca, certificate, key) = (path("tls_ca")?, path("tls_cert")?, path("tls_key")?);
        if certificate.is_some() != key.is_some() {
            return Err(SettingsError::Missing(
                "--tls-cert and --tls-key go together; one of them".into(),
            ));
        }
        let files = TlsFiles {
            ca,
            certificate,
            key,
        };
        if files != TlsFiles::default() && !cfg!(feature = "https") {
            return Err(SettingsError::NotBuilt {
                origin: "--tls-ca, --tls-cert, --tls-key".into(),
                feature: "https",
            });
        }
        Ok(files)
    }

    pub(super) fn otlp(&self) -> Result<Option<Found>, SettingsError> {
        match self.ours("otlp")? {
            Some(found) if !cfg!(feature = "otlp") => Err(SettingsError::NotBuilt {
                origin: found.origin,
                feature: "otlp",
            }),
            found => Ok(found),
        }
    }

    /// The base URLs of services, separated by commas.
    pub(super) fn upstreams(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        let names = self.sources.env.keys().filter_map(|name| name.to_str());
        let services = names.filter_map(|name| Some((name, name.strip_prefix(UPSTREAM)?)));
        let mut upstreams = BTreeMap::new();
        for (name, service) in services {
            let urls = self.variable(name)?.unwrap_or_default();
            upstreams.insert(service.to_ascii_lowercase(), urls);
        }
        Ok(upstreams)
    }
}

/// The form of a duration, for errors.
pub(super) const A_DURATION: &str = "a time such as 500ms, 2s or 24h";

/// `500ms`, `2s`, `24h`, or the ISO 8601 form.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let signed = jiff::SignedDuration::from_str(text).ok()?;
    Duration::try_from(signed).ok()
}

/// `8080`, `:8080`, `localhost:8080`, or a whole address.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("localhost").unwrap_or(text);
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => Some(SocketAddr::from(([127, 0, 0, 1], port))),
        Err(_) => text.parse().ok(),
    }
}
