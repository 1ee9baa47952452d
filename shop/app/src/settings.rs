//! Settings: a flag wins over the environment, that over a file it names, that over `wingbeat.toml`.

mod file;
mod look;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use file::File;
use look::Look;

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
    /// How long a process that is asked to end says that it is not ready, and still answers, before it takes no more
    /// connections: longer than whoever balances the load takes to look.
    pub drain_delay: Duration,
    /// Whether browsers keep sessions for HTTPS only, for a shop behind a proxy that ends TLS.
    pub secure_cookies: bool,
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
const KEYS: [&str; 25] = [
    "listen",
    "ops_listen",
    "data",
    "drain_delay",
    "secure_cookies",
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

impl Sources {
    /// Reads all settings.
    ///
    /// # Errors
    ///
    /// The first that is wrong.
    pub fn settings(self) -> Result<Settings, Error> {
        let file = File::read(self.file.clone())?;
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
            file: &File::default(),
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
            drain_delay: look.time("drain_delay", 0)?,
            secure_cookies: look.switch("secure_cookies", false)?,
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
