//! Settings of a program: its own beside those of Wingbeat.
//!
//! A flag overrides the environment, which overrides the file that `WINGBEAT_<KEY>_FILE` names,
//! which overrides `wingbeat.toml`.

mod error;
mod field;
mod file;
mod lookup;
mod otlp;
mod overload;
mod urls;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::tls::TlsFiles;

use crate::bodies::RETENTION;
use crate::overload::Watermarks;
use crate::recording::Recording;

pub use error::SettingsError;
pub(crate) use field::{Field, OURS};
pub(crate) use lookup::Sources;
pub use otlp::Otlp;

use file::File;
use lookup::Lookup;
use urls::Address;

/// The settings of a program: those of Wingbeat, and its [own](Self::own).
///
/// Every setting has a flag `--<key>`, a variable `WINGBEAT_<KEY>`, a variable
/// `WINGBEAT_<KEY>_FILE` that names a file to read the value from, and a key `<key>` in
/// `wingbeat.toml`. `--help` lists all of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings<S = ()> {
    /// The public address.
    pub listen: SocketAddr,
    /// The address of the operator's port: `/metrics`, `/healthz`, `/readyz`, `/ops`.
    pub ops_listen: SocketAddr,
    /// The token that `/ops` requires from callers of other machines; `None` refuses them.
    pub ops_token: Option<Secret>,
    /// The data directory of the embedded store.
    pub data: PathBuf,
    /// The place for large bodies of messages.
    pub bodies: BodyPlace,
    /// The size in bytes above which a body is kept apart from its message.
    pub bodies_above: usize,
    /// The time for which bodies are kept.
    pub bodies_keep: Duration,
    /// The stories that services record for replays; `None` to record none.
    pub recording: Option<Recording>,
    /// The delay between reporting not ready and closing the port; requests are answered meanwhile.
    /// Choose more than a load balancer needs to notice.
    pub drain_delay: Duration,
    /// The readings at which requests are refused; see [`overload`](crate::overload).
    pub watermarks: Watermarks,
    /// The memory of the process, in bytes; `None` for the limit of its control group.
    pub memory_limit: Option<u64>,
    /// The log filter, such as `info` or `wingbeat=debug,info`.
    pub log: String,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// The OpenTelemetry collectors that receive spans, metrics and log records.
    pub otlp: Otlp,
    /// The authorities and the client certificate of connections with TLS.
    pub tls: TlsFiles,
    /// The servers to run on; `None` for the embedded store and broker.
    pub servers: Option<Servers>,
    /// The keys for signatures of services; `None` if commands are not signed.
    pub trust: Option<TrustFiles>,
    /// The addresses of services that run elsewhere (`WINGBEAT_URL_<SERVICE>`), replicas separated
    /// by commas.
    pub upstreams: BTreeMap<String, String>,
    /// The program's own settings.
    pub own: S,
    /// The URLs among the settings, with their origins.
    pub(crate) urls: Vec<Address>,
}

/// The program's own settings: a struct that derives `Clone`, `Default`, `Deserialize` and
/// `JsonSchema`.
///
/// The struct is flat. Fields are texts, numbers, booleans (`on`, `off`), addresses, unit enums,
/// [`Duration`]s (`500ms`, `2s`, `24h`), and options of these. Mark the struct `#[serde(default)]`,
/// so that unset fields keep their defaults. The doc comment of a field is its help text. Three
/// schema extensions: `#[schemars(extend("x-env" = "NAME"))]` names another variable, `"x-secret" =
/// true` makes a setting that is never a flag nor a key of the file, `"x-value" = "URL"` names the
/// value in the help text.
///
/// ```
/// use std::time::Duration;
/// use serde::Deserialize;
/// use wingbeat::JsonSchema;
///
/// #[derive(Clone, Deserialize, JsonSchema)]
/// #[serde(default)]
/// struct Bookings {
///     /// The time for which a room is reserved without payment
///     hold_for: Duration,
/// }
///
/// impl Default for Bookings {
///     fn default() -> Self {
///         Self { hold_for: Duration::from_secs(900) }
///     }
/// }
/// # fn check<S: wingbeat::run::OwnSettings>() {}
/// # check::<Bookings>();
/// ```
pub trait OwnSettings:
    Clone + Default + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
}

impl<S> OwnSettings for S where
    S: Clone + Default + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
}

/// The URLs of RabbitMQ, PostgreSQL and Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// `amqps://…` or `amqp://…`
    pub broker: String,
    /// `postgres://…`
    pub store: String,
    /// `rediss://…` or `redis://…`
    pub cache: String,
    /// Certificates and key for connections with TLS, as far as the URLs name none.
    pub tls: TlsFiles,
}

/// The keys for signatures of services; see [`trust`](crate::trust).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFiles {
    /// The private keys of the services that run here: a PEM file, a directory of files
    /// `<service>.key`, or PEM text.
    pub signing_key: Option<Secret>,
    /// The directory with the public keys of all services, `<service>.pub`.
    pub trusted_keys: PathBuf,
    /// Handle commands without a signature, while not every process signs.
    pub accept_unsigned: bool,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Servers") // The URLs contain passwords.
    }
}

/// A secret setting. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The place for bodies that are too large for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyPlace {
    /// Beside the embedded store, or in PostgreSQL.
    Store,
    /// Nowhere: such messages are refused.
    Off,
    /// A directory that all processes share.
    Directory(PathBuf),
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl<S: OwnSettings> Settings<S> {
    /// Reads all settings from their sources.
    ///
    /// # Errors
    ///
    /// The first one that is wrong, in one line without secrets.
    pub(crate) fn read(sources: &Sources) -> Result<Self, SettingsError> {
        let (settings, faults) = Self::read_all(sources);
        faults.into_iter().next().map_or(Ok(settings), Err)
    }

    /// Reads all settings from their sources, and returns all that are wrong. Those have their
    /// defaults.
    pub(crate) fn read_all(sources: &Sources) -> (Self, Vec<SettingsError>) {
        let own = Field::of::<S>();
        let known = OURS.iter().chain(&own);
        let (file, faults) = File::read(sources.file.as_deref(), known);
        let look = Lookup {
            sources,
            file: &file,
        };
        let mut faults = Faults(faults);
        let (tls, tls_origin) = look.tls(&mut faults.0);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut settings = Self {
            listen: faults.or(local(8080), |it| look.address("listen", it)),
            ops_listen: faults.or(local(9464), |it| look.address("ops_listen", it)),
            ops_token: faults.or(None, |_| look.text("ops_token")).map(Secret),
            data: faults
                .or(None, |_| look.text("data"))
                .unwrap_or("./data".into())
                .into(),
            bodies: faults.or(BodyPlace::Store, |_| look.bodies()),
            bodies_above: faults.or(BODY_MAX, |_| look.bodies_above()),
            bodies_keep: faults.or(RETENTION, |it| look.bodies_keep(it)),
            recording: faults.or(None, |_| look.recording()),
            drain_delay: faults.or(Duration::ZERO, |it| look.duration("drain_delay", it)),
            watermarks: look.watermarks(&mut faults.0),
            memory_limit: faults.or(None, |_| look.memory_limit()),
            log: faults
                .or(None, |_| look.text("log"))
                .unwrap_or("info".into()),
            log_format: faults.or(LogFormat::Text, |_| look.log_format()),
            otlp: look.otlp(&mut faults.0),
            servers: look.servers(&tls, &mut faults.0),
            tls,
            trust: look.trust(&mut faults.0),
            upstreams: look.upstreams(&mut faults.0),
            own: value::deserialize(&own, &look, &mut faults.0),
            urls: Vec::new(),
        };
        settings.urls = urls::gather(&settings.upstreams, &own, &look);
        if !settings.uses_tls(&look) {
            faults.0.extend(tls_origin.map(SettingsError::TlsUnused));
        }
        faults
            .0
            .extend(urls::not_built(&settings.urls, cfg!(feature = "https")));
        (settings, faults.0)
    }

    /// Returns whether a connection may use TLS. Servers whose URLs are wrong may.
    fn uses_tls(&self, look: &Lookup<'_>) -> bool {
        let by_servers = match &self.servers {
            Some(servers) => lookup::uses_tls(servers),
            None => look.has_servers(),
        };
        by_servers || self.urls.iter().any(|it| it.may_use_tls)
    }
}

/// The settings of the command `migrate`.
#[cfg_attr(
    not(feature = "servers"),
    allow(dead_code, reason = "there is no server to migrate")
)]
pub(crate) struct MigrateSettings {
    /// The URL of PostgreSQL.
    pub(crate) store: String,
    /// The roles that get privileges to write.
    pub(crate) grant_to: Vec<String>,
    /// The roles that get privileges to read.
    pub(crate) grant_read_to: Vec<String>,
}

impl MigrateSettings {
    /// Reads the settings, with those of the program, of which the servers need not be complete.
    /// Returns all that are wrong.
    pub(crate) fn read_all<S: OwnSettings>(
        sources: &Sources,
    ) -> Result<(Settings<S>, Self), Vec<SettingsError>> {
        let (settings, faults) = Settings::read_all(sources);
        let faults = faults.into_iter();
        let mut faults: Vec<_> = faults
            .filter(|it| !matches!(it, SettingsError::Incomplete(_)))
            .collect();
        let own = Field::of::<S>();
        let (file, _) = File::read(sources.file.as_deref(), OURS.iter().chain(&own));
        let look = Lookup {
            sources,
            file: &file,
        };
        let mut text = |key: &str| match look.text(key) {
            Ok(found) => found,
            // Those of the program have reported it.
            Err(why) if faults.contains(&why) => None,
            Err(why) => {
                faults.push(why);
                None
            }
        };
        let mut roles = |key: &str| -> Vec<String> {
            let found = text(key).unwrap_or_default();
            let roles = found.split(',').map(str::trim);
            roles
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let (grant_to, grant_read_to) = (roles("grant_to"), roles("grant_read_to"));
        let store = text("store");
        let Some(store) = store else {
            faults.push(SettingsError::Missing("--store".into()));
            return Err(faults);
        };
        let migrate = Self {
            store,
            grant_to,
            grant_read_to,
        };
        if faults.is_empty() {
            Ok((settings, migrate))
        } else {
            Err(faults)
        }
    }
}

/// The settings that are wrong.
struct Faults(Vec<SettingsError>);

impl Faults {
    /// Returns the value that was read; the default if it is wrong.
    fn or<T: Clone>(&mut self, default: T, read: impl FnOnce(T) -> Result<T, SettingsError>) -> T {
        read(default.clone()).unwrap_or_else(|why| {
            self.0.push(why);
            default
        })
    }
}

/// The defaults.
impl<S: OwnSettings> Default for Settings<S> {
    fn default() -> Self {
        let nothing = Sources {
            file: Some("/dev/null".into()),
            ..Sources::default()
        };
        Self::read(&nothing).expect("the defaults are right")
    }
}

#[cfg(test)]
mod tests;
