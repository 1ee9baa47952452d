//! Settings: a flag wins over the environment, that over a file it names, that over `wingbeat.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What can be set. Every field has a flag or not, a variable `WINGBEAT_<FIELD>`, one that names a file
/// to read it from, `WINGBEAT_<FIELD>_FILE`, and the key `<field>` in `wingbeat.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The public address.
    pub listen: SocketAddr,
    /// The address of `/metrics`.
    pub ops_listen: SocketAddr,
    /// The data directory.
    pub data: PathBuf,
    /// Off for load tests.
    pub rate_limits: bool,
    /// From a shipment's creation to its dispatch.
    pub shipping_dispatch_after: Duration,
    /// From its dispatch to its delivery.
    pub shipping_deliver_after: Duration,
    /// An unanswered command of the checkout is sent again after so long.
    pub checkout_resend_after: Duration,
    /// An authorization unanswered for so long sets `payment_delayed`.
    pub checkout_delayed_after: Duration,
    /// The longest wait for an authorization.
    pub checkout_payment_timeout: Duration,
    /// How long placing an order waits for the caller's cart to arrive.
    pub checkout_cart_wait: Duration,
    /// How long goods are held at first.
    pub inventory_hold_for: Duration,
    /// How long goods are held from an extension on.
    pub inventory_extend_for: Duration,
    /// How long catalogue reads are cached at most.
    pub catalog_cached_for: Duration,
    /// The memory that hashing a password takes, in KiB.
    pub password_memory_kib: u32,
    /// How many times hashing a password goes over that memory.
    pub password_passes: u32,
    /// What is logged: a filter such as `info` or `wingbeat=debug,info`.
    pub log: String,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// The collector that spans are sent to (OTLP over HTTP); `None` for nobody.
    pub otlp: Option<String>,
    /// The servers to run on; `None` for the data directory.
    pub servers: Option<Servers>,
    /// The payment provider; `None` for the stand-in.
    pub provider: Option<String>,
    /// Whether the stand-ins and `/dev` are there, for services that run by themselves.
    pub dev: bool,
    /// Where the other services are (`WINGBEAT_URL_<SERVICE>`), replicas separated by commas.
    pub upstreams: BTreeMap<String, String>,
    /// The admin's password (`SHOP_ADMIN_PASSWORD`); `None` for the one in the data directory.
    pub admin_password: Option<String>,
}

/// RabbitMQ, PostgreSQL and Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// `amqp://…`
    pub broker: String,
    /// `postgres://…`
    pub store: String,
    /// `redis://…`
    pub cache: String,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Servers") // Their URLs hold passwords.
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is wrong with the settings, in one line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A value cannot be read.
    #[error("{source_name}: {value:?} is not {expected}")]
    Invalid {
        /// Which flag, variable or key.
        source_name: String,
        /// What it says.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, String),
    /// One of the servers without the others.
    #[error("--broker, --store and --cache go together; {0} is missing")]
    Incomplete(&'static str),
    /// This program was built without what the setting needs.
    #[error("{0}: this program sends no spans; build it with `--features otlp`")]
    NotBuilt(String),
    /// Nothing is called so.
    #[error("{0} has no setting {1:?}; there are: {2}")]
    Unknown(String, String, String),
}

/// Where settings come from.
#[derive(Default)]
pub struct Sources {
    /// Flags that were given, by key.
    pub flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The file; `None` for `./wingbeat.toml` if there is one.
    pub file: Option<PathBuf>,
}

/// The keys of [`Settings`]; the admin's password has a variable of another name and no key.
const KEYS: [&str; 23] = [
    "listen",
    "ops_listen",
    "data",
    "rate_limits",
    "shipping_dispatch_after",
    "shipping_deliver_after",
    "checkout_resend_after",
    "checkout_delayed_after",
    "checkout_payment_timeout",
    "checkout_cart_wait",
    "inventory_hold_for",
    "inventory_extend_for",
    "catalog_cached_for",
    "password_memory_kib",
    "password_passes",
    "log",
    "log_format",
    "otlp",
    "broker",
    "store",
    "cache",
    "provider",
    "dev",
];

/// Before the name of a service in the environment: where it is.
const UPSTREAM: &str = "WINGBEAT_URL_";

impl Sources {
    /// Reads all settings.
    ///
    /// # Errors
    ///
    /// The first that is wrong.
    pub fn settings(self) -> Result<Settings, Error> {
        let file = Toml::read(self.file.clone())?;
        Settings::of(&Look {
            sources: &self,
            file: &file,
        })
    }
}

/// What holds when nothing is set.
impl Default for Settings {
    fn default() -> Self {
        let nothing = Look {
            sources: &Sources::default(),
            file: &Toml::default(),
        };
        Self::of(&nothing).expect("the defaults are right")
    }
}

impl Settings {
    fn of(look: &Look<'_>) -> Result<Self, Error> {
        Ok(Self {
            listen: look.address("listen", SocketAddr::from(([127, 0, 0, 1], 8080)))?,
            ops_listen: look.address("ops_listen", SocketAddr::from(([127, 0, 0, 1], 9464)))?,
            data: look.text("data", "./data")?.into(),
            rate_limits: look.switch("rate_limits", true)?,
            shipping_dispatch_after: look.time("shipping_dispatch_after", 2)?,
            shipping_deliver_after: look.time("shipping_deliver_after", 2)?,
            checkout_resend_after: look.time("checkout_resend_after", 10)?,
            checkout_delayed_after: look.time("checkout_delayed_after", 10)?,
            checkout_payment_timeout: look.time("checkout_payment_timeout", 24 * 3600)?,
            checkout_cart_wait: look.time("checkout_cart_wait", 2)?,
            inventory_hold_for: look.time("inventory_hold_for", 15 * 60)?,
            inventory_extend_for: look.time("inventory_extend_for", 25 * 3600)?,
            catalog_cached_for: look.time("catalog_cached_for", 2)?,
            password_memory_kib: look.number("password_memory_kib", 19 * 1024)?,
            password_passes: look.number("password_passes", 2)?,
            log: look.text("log", "info")?,
            log_format: look.log_format()?,
            otlp: look.otlp()?,
            servers: look.servers()?,
            provider: look.find("provider")?.map(|(_, url)| url),
            dev: look.switch("dev", false)?,
            upstreams: look.upstreams(),
            admin_password: look
                .variable("SHOP_ADMIN_PASSWORD")?
                .map(|(_, value)| value),
        })
    }
}

struct Look<'a> {
    sources: &'a Sources,
    file: &'a Toml,
}

impl Look<'_> {
    /// The value of a key, and where it stands.
    fn find(&self, key: &'static str) -> Result<Option<(String, String)>, Error> {
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

    fn variable(&self, name: &str) -> Result<Option<(String, String)>, Error> {
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

    fn servers(&self) -> Result<Option<Servers>, Error> {
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

    fn otlp(&self) -> Result<Option<String>, Error> {
        match self.find("otlp")? {
            Some((source_name, _)) if !cfg!(feature = "otlp") => Err(Error::NotBuilt(source_name)),
            found => Ok(found.map(|(_, url)| url)),
        }
    }

    fn upstreams(&self) -> BTreeMap<String, String> {
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

    fn text(&self, key: &'static str, default: &str) -> Result<String, Error> {
        let expected = "a text that is not empty";
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.parsed(key, default.into(), expected, given)
    }

    fn address(&self, key: &'static str, default: SocketAddr) -> Result<SocketAddr, Error> {
        let expected = "an address such as 127.0.0.1:8080";
        self.parsed(key, default, expected, address)
    }

    fn switch(&self, key: &'static str, default: bool) -> Result<bool, Error> {
        self.parsed(key, default, "on or off", |text| match text {
            "on" | "true" | "1" => Some(true),
            "off" | "false" | "0" => Some(false),
            _ => None,
        })
    }

    fn number(&self, key: &'static str, default: u32) -> Result<u32, Error> {
        let expected = "a number from 1";
        let above_zero = |text: &str| text.parse().ok().filter(|number| *number > 0);
        self.parsed(key, default, expected, above_zero)
    }

    fn time(&self, key: &'static str, seconds: u64) -> Result<Duration, Error> {
        let expected = "a time such as 500ms, 2s or 24h";
        self.parsed(key, Duration::from_secs(seconds), expected, |text| {
            let time = jiff::SignedDuration::from_str(text).ok()?;
            Duration::try_from(time).ok()
        })
    }

    fn log_format(&self) -> Result<LogFormat, Error> {
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

/// A flat `wingbeat.toml`.
#[derive(Default)]
struct Toml {
    name: String,
    values: BTreeMap<String, String>,
}

impl Toml {
    fn read(file: Option<PathBuf>) -> Result<Self, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(flags: &[(&'static str, &str)], env: &[(&str, &str)], file: PathBuf) -> Sources {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).into()));
        let env = env
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        Sources {
            flags: flags.collect(),
            env: env.collect(),
            file: Some(file),
        }
    }

    fn file(directory: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = directory.path().join("wingbeat.toml");
        std::fs::write(&path, text).expect("it is written");
        path
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = file(
            &directory,
            "listen = \"127.0.0.1:1\"\nlog = \"debug\"\nops_listen = \"127.0.0.1:3\"",
        );
        let env = [
            ("WINGBEAT_LISTEN", "127.0.0.1:2"),
            ("WINGBEAT_OPS_LISTEN", ":4"),
        ];
        let settings = sources(&[("listen", "0.0.0.0:9")], &env, path).settings();
        let settings = settings.expect("they are right");
        assert_eq!(settings.listen.to_string(), "0.0.0.0:9");
        assert_eq!(settings.ops_listen.to_string(), "127.0.0.1:4");
        assert_eq!(settings.log, "debug");
        assert_eq!(
            settings.checkout_payment_timeout,
            Duration::from_secs(86_400)
        );
    }

    #[test]
    fn a_variable_may_name_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "correct horse\n").expect("it is written");
        let secret = secret.display().to_string();
        let env = [("SHOP_ADMIN_PASSWORD_FILE", secret.as_str())];
        let settings = sources(&[], &env, file(&directory, "")).settings();
        let password = settings.expect("they are right").admin_password;
        assert_eq!(password.as_deref(), Some("correct horse"));
    }

    #[test]
    fn a_collector_is_refused_by_a_program_that_sends_no_spans() {
        let directory = tempfile::tempdir().expect("a directory");
        let env = [("WINGBEAT_OTLP", "http://localhost:4318")];
        let settings = sources(&[], &env, file(&directory, "")).settings();
        let told = settings.map(|settings| settings.otlp);
        if cfg!(feature = "otlp") {
            let told = told.expect("it is right");
            assert_eq!(told.as_deref(), Some("http://localhost:4318"));
        } else {
            let why = told.expect_err("nobody would send them").to_string();
            let expected = "WINGBEAT_OTLP: this program sends no spans";
            assert!(why.starts_with(expected), "{why}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = file(&directory, "");
        let wrong = |flags: &[(&'static str, &str)], env: &[(&str, &str)]| {
            let settings = sources(flags, env, path.clone()).settings();
            settings
                .err()
                .map(|why| why.to_string())
                .unwrap_or_default()
        };
        let flag = wrong(&[("listen", "nowhere")], &[]);
        assert_eq!(
            flag,
            "--listen: \"nowhere\" is not an address such as 127.0.0.1:8080"
        );
        let time = wrong(&[], &[("WINGBEAT_SHIPPING_DISPATCH_AFTER", "soon")]);
        assert!(
            time.starts_with("WINGBEAT_SHIPPING_DISPATCH_AFTER: \"soon\""),
            "{time}"
        );
        let unknown = sources(&[], &[], file(&directory, "lisen = \"x\"")).settings();
        assert!(matches!(unknown, Err(Error::Unknown(..))));
    }
}
