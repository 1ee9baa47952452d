//! Looks up settings in their sources, and parses Wingbeat's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::tls::TlsFiles;

use super::error::SettingsError;
use super::file::File;
use super::{BodyPlace, LogFormat, Secret, Servers, TrustFiles};
use crate::BaseUrl;
use crate::recording::Recording;

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
    /// Returns whether the value is empty, or consists of white space.
    pub(super) fn is_blank(&self) -> bool {
        self.value.trim().is_empty()
    }

    /// Returns the fault of a value that is blank.
    pub(super) fn blank(self) -> SettingsError {
        SettingsError::InvalidSecret {
            origin: self.origin,
            expected: "a non-empty text".into(),
        }
    }

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
    /// Returns a setting of Wingbeat's own. None of them has a meaning without a value: a blank
    /// token, key or directory of keys would keep nobody out.
    pub(super) fn ours(&self, key: &str) -> Result<Option<Found>, SettingsError> {
        match self.find(key, &format!("WINGBEAT_{}", key.to_ascii_uppercase()))? {
            Some(found) if found.is_blank() => Err(found.blank()),
            found => Ok(found),
        }
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

    pub(super) fn variable(&self, name: &str) -> Result<Option<String>, SettingsError> {
        let value = self.sources.env.get(OsStr::new(name));
        let text = |value: &OsString| value.to_str().map(str::to_owned);
        value
            .map(|value| text(value).ok_or_else(|| SettingsError::NotUtf8(name.into())))
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, SettingsError> {
        Ok(self.ours(key)?.map(|found| found.value))
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

    /// Returns the place for large bodies.
    pub(super) fn bodies(&self) -> Result<BodyPlace, SettingsError> {
        Ok(match self.text("bodies")?.as_deref() {
            None | Some("store") => BodyPlace::Store,
            Some("off") => BodyPlace::Off,
            Some(path) => BodyPlace::Directory(path.into()),
        })
    }

    /// Returns the size above which a body is kept apart.
    pub(super) fn bodies_above(&self) -> Result<usize, SettingsError> {
        let Some(found) = self.ours("bodies_above")? else {
            return Ok(BODY_MAX);
        };
        let size = size(&found.value).filter(|it| (1..=BODY_MAX).contains(it));
        size.ok_or_else(|| found.invalid("a size such as 256KiB, at most 1MiB"))
    }

    /// Returns the time for which bodies are kept.
    pub(super) fn bodies_keep(&self, default: Duration) -> Result<Duration, SettingsError> {
        let Some(found) = self.ours("bodies_keep")? else {
            return Ok(default);
        };
        let time = duration(&found.value).filter(|it| *it >= BODIES_KEEP_MIN);
        time.ok_or_else(|| found.invalid("a time such as 720h, at least 192h"))
    }

    /// Returns what services record; `None` for nothing.
    pub(super) fn recording(&self) -> Result<Option<Recording>, SettingsError> {
        let keep = match self.ours("record_keep")? {
            None => Recording::KEEP,
            Some(found) => duration(&found.value)
                .filter(|it| !it.is_zero())
                .ok_or_else(|| found.invalid("a time such as 24h"))?,
        };
        match self.ours("record")? {
            None => Ok(None),
            Some(found) if found.value == "off" => Ok(None),
            Some(found) => {
                let share = found.value.parse::<f64>().ok();
                let share = share.filter(|share| (0.0..=1.0).contains(share));
                let share = share.ok_or_else(|| found.invalid("a number from 0 to 1, or off"))?;
                Ok(Some(Recording::share(share).keep(keep)))
            }
        }
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, SettingsError> {
        match self.ours("log_format")? {
            None => Ok(LogFormat::Text),
            Some(found) if found.value == "text" => Ok(LogFormat::Text),
            Some(found) if found.value == "json" => Ok(LogFormat::Json),
            Some(found) => Err(found.invalid("text or json")),
        }
    }

    pub(super) fn servers(
        &self,
        tls: &TlsFiles,
        faults: &mut Vec<SettingsError>,
    ) -> Option<Servers> {
        let all = [
            ("broker", "--broker"),
            ("store", "--store"),
            ("cache", "--cache"),
        ];
        let (mut urls, mut missing) = (Vec::new(), Vec::new());
        let count = faults.len();
        for (key, flag) in all {
            match self.ours(key) {
                Ok(Some(found)) => urls.push(found),
                Ok(None) => missing.push(flag),
                Err(why) => faults.push(why),
            }
        }
        let origin = urls.first()?.origin.clone();
        if !cfg!(feature = "servers") {
            let feature = "servers";
            faults.push(SettingsError::NotBuilt { origin, feature });
        } else if !missing.is_empty() {
            faults.push(SettingsError::Incomplete(missing));
        }
        if faults.len() > count {
            return None;
        }
        let mut urls = urls.into_iter().map(|found| found.value);
        Some(Servers {
            broker: urls.next()?,
            store: urls.next()?,
            cache: urls.next()?,
            tls: tls.clone(),
        })
    }

    /// Returns whether the URL of a server is set, right or wrong.
    pub(super) fn has_servers(&self) -> bool {
        let mut keys = ["broker", "store", "cache"].into_iter();
        keys.any(|key| !matches!(self.ours(key), Ok(None)))
    }

    /// Returns the certificates and the key for TLS, and the origin of one of them.
    pub(super) fn tls(&self, faults: &mut Vec<SettingsError>) -> (TlsFiles, Option<String>) {
        let mut origin = None;
        let [ca, certificate, key] = ["tls_ca", "tls_cert", "tls_key"].map(|key| {
            let found = self.ours(key);
            let found = found.map_err(|why| faults.push(why)).ok().flatten()?;
            origin.get_or_insert(found.origin);
            Some(found.value)
        });
        if !cfg!(feature = "https")
            && let Some(origin) = origin.take()
        {
            let feature = "https";
            faults.push(SettingsError::NotBuilt { origin, feature });
        }
        let tls = TlsFiles {
            ca,
            certificate,
            key,
        };
        (tls, origin)
    }

    /// Returns the keys for signatures.
    pub(super) fn trust(&self, faults: &mut Vec<SettingsError>) -> Option<TrustFiles> {
        let [signing, trusted, unsigned] = ["signing_key", "trusted_keys", "unsigned"].map(|key| {
            let found = self.ours(key);
            found.map_err(|why| faults.push(why)).ok().flatten()
        });
        let origin = [&trusted, &signing, &unsigned].into_iter().flatten().next();
        let origin = origin?.origin.clone();
        if !cfg!(feature = "signing") {
            let feature = "signing";
            faults.push(SettingsError::NotBuilt { origin, feature });
            return None;
        }
        let in_flag = |found: &&Found| found.origin.starts_with("--") && is_pem(&found.value);
        if let Some(found) = signing.as_ref().filter(in_flag) {
            faults.push(SettingsError::SecretFlag(found.origin.clone()));
        }
        let accept_unsigned = match unsigned {
            Some(found) if found.value == "accept" => true,
            Some(found) if found.value != "refuse" => {
                faults.push(found.invalid("accept or refuse"));
                false
            }
            _ => false,
        };
        let Some(trusted) = trusted else {
            let needs = "--trusted-keys";
            faults.push(SettingsError::Without { origin, needs });
            return None;
        };
        Some(TrustFiles {
            signing_key: signing.map(|found| Secret(found.value)),
            trusted_keys: trusted.value.into(),
            accept_unsigned,
        })
    }

    /// Returns the addresses of services. A variable that is not UTF-8 is wrong, not absent.
    pub(super) fn upstreams(&self, faults: &mut Vec<SettingsError>) -> BTreeMap<String, String> {
        let mut upstreams = BTreeMap::new();
        for (name, urls) in &self.sources.env {
            let name = name.to_string_lossy();
            let Some(service) = name.strip_prefix(UPSTREAM) else {
                continue;
            };
            let Some(urls) = urls.to_str() else {
                faults.push(SettingsError::NotUtf8(name.into_owned()));
                continue;
            };
            let replicas: Result<Vec<BaseUrl>, String> =
                urls.split(',').map(|url| url.trim().parse()).collect();
            match replicas {
                Ok(replicas) => {
                    let replicas: Vec<&str> = replicas.iter().map(BaseUrl::as_str).collect();
                    upstreams.insert(service.to_ascii_lowercase(), replicas.join(","));
                }
                Err(why) => faults.push(SettingsError::InvalidSecret {
                    origin: name.into_owned(),
                    expected: format!(
                        "a URL such as http://host:8080, or several separated by commas: {why}"
                    ),
                }),
            }
        }
        upstreams
    }
}

/// Returns whether a value is a key and not the path of one.
fn is_pem(value: &str) -> bool {
    value.trim_start().starts_with("-----BEGIN")
}

/// Returns whether a URL asks for TLS, or leaves it to the certificates that are set.
pub(super) fn uses_tls(servers: &Servers) -> bool {
    let without = ["sslmode=disable", "sslmode=prefer"];
    servers.broker.starts_with("amqps:")
        || ["rediss", "valkeys"]
            .iter()
            .any(|it| servers.cache.starts_with(it))
        || !without.iter().any(|it| servers.store.contains(it))
}

/// The least time for which bodies are kept: a delivery may wait seven days for a release that
/// knows it.
const BODIES_KEEP_MIN: Duration = Duration::from_secs(8 * 24 * 3600);

/// The form of a duration, for errors.
pub(super) const A_DURATION: &str = "a time such as 500ms, 2s or 24h";

/// `500ms`, `2s`, `24h`, or the ISO 8601 form.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let signed = jiff::SignedDuration::from_str(text).ok()?;
    Duration::try_from(signed).ok()
}

/// `4096`, `256KiB` or `1MiB`.
fn size(text: &str) -> Option<usize> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("", 1)];
    let mut found = units.into_iter().filter_map(|(unit, factor)| {
        let number: usize = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(factor)
    });
    found.next()
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
