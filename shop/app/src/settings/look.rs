//! Where a value stands, and what it says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::file::File;
use super::{Error, LogFormat, Servers, Sources};

/// Before the name of a service in the environment: where it is.
const UPSTREAM: &str = "WINGBEAT_URL_";

/// All that is looked through for a value, the first that has it wins.
pub(super) struct Look<'a> {
    pub(super) sources: &'a Sources,
    pub(super) file: &'a File,
}

impl Look<'_> {
    /// The value of a key, and where it stands.
    pub(super) fn find(&self, key: &'static str) -> Result<Option<(String, String)>, Error> {
        if let Some(value) = self.sources.flags.get(key) {
            return Ok(Some((
                format!("--{}", key.replace('_', "-")),
                value.clone(),
            )));
        }
        let variable = format!("WINGBEAT_{}", key.to_ascii_uppercase());
        if let Some(found) = self.variable(&variable)? {
            return Ok(Some(found));
        }
        let value = self.file.values.get(key).cloned();
        Ok(value.map(|value| (format!("`{key}` in {}", self.file.name), value)))
    }

    pub(super) fn variable(&self, name: &str) -> Result<Option<(String, String)>, Error> {
        if let Some(value) = self.sources.env.get(name) {
            return Ok(Some((name.into(), value.clone())));
        }
        let name = format!("{name}_FILE");
        let Some(path) = self.sources.env.get(&name) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|why| Error::File(format!("{name}: {path}"), why.to_string()))?;
        Ok(Some((name, text.trim_end_matches(['\r', '\n']).to_owned())))
    }

    pub(super) fn servers(&self) -> Result<Option<Servers>, Error> {
        let given = |key| Ok(self.find(key)?.map(|(_, url)| url));
        let (broker, store, cache) = (given("broker")?, given("store")?, given("cache")?);
        if broker.is_none() && store.is_none() && cache.is_none() {
            return Ok(None);
        }
        Ok(Some(Servers {
            broker: broker.ok_or(Error::Incomplete("--broker"))?,
            store: store.ok_or(Error::Incomplete("--store"))?,
            cache: cache.ok_or(Error::Incomplete("--cache"))?,
        }))
    }

    pub(super) fn otlp(&self) -> Result<Option<String>, Error> {
        match self.find("otlp")? {
            Some((source_name, _)) if !cfg!(feature = "otlp") => Err(Error::NotBuilt(source_name)),
            found => Ok(found.map(|(_, url)| url)),
        }
    }

    pub(super) fn upstreams(&self) -> BTreeMap<String, String> {
        let named = |(name, url): (&String, &String)| {
            let service = name.strip_prefix(UPSTREAM)?;
            Some((service.to_ascii_lowercase(), url.clone()))
        };
        self.sources.env.iter().filter_map(named).collect()
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        default: T,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let Some((source_name, value)) = self.find(key)? else {
            return Ok(default);
        };
        parse(&value).ok_or(Error::Invalid {
            source_name,
            value,
            expected,
        })
    }

    pub(super) fn text(&self, key: &'static str, default: &str) -> Result<String, Error> {
        let expected = "a text that is not empty";
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.parsed(key, default.into(), expected, given)
    }

    pub(super) fn address(
        &self,
        key: &'static str,
        default: SocketAddr,
    ) -> Result<SocketAddr, Error> {
        let expected = "an address such as 127.0.0.1:8080";
        self.parsed(key, default, expected, address)
    }

    pub(super) fn switch(&self, key: &'static str, default: bool) -> Result<bool, Error> {
        self.parsed(key, default, "on or off", |text| match text {
            "on" | "true" | "1" => Some(true),
            "off" | "false" | "0" => Some(false),
            _ => None,
        })
    }

    pub(super) fn number(&self, key: &'static str, default: u32) -> Result<u32, Error> {
        let expected = "a number from 1";
        let above_zero = |text: &str| text.parse().ok().filter(|number| *number > 0);
        self.parsed(key, default, expected, above_zero)
    }

    pub(super) fn time(&self, key: &'static str, seconds: u64) -> Result<Duration, Error> {
        let expected = "a time such as 500ms, 2s or 24h";
        self.parsed(key, Duration::from_secs(seconds), expected, |text| {
            let time = jiff::SignedDuration::from_str(text).ok()?;
            Duration::try_from(time).ok()
        })
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, Error> {
        let parse = |text: &str| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        self.parsed("log_format", LogFormat::Text, "text or json", parse)
    }
}

/// `8080`, `:8080`, `localhost:8080` and whole addresses.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("localhost").unwrap_or(text);
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => Some(SocketAddr::from(([127, 0, 0, 1], port))),
        Err(_) => text.parse().ok(),
    }
}
