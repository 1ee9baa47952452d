//! The URL of the database: every part works, or is refused by its name.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation, TargetSessionAttrs};
use wingbeat_connect::{Host, InvalidUrl, Protection, ServerUrl, Tls, TlsFiles, Verify};
use wingbeat_core::{Error, Result};

use crate::config::Config;

/// The query parameters that are supported, with the meaning that libpq gives them.
const PARAMETERS: [&str; 20] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
const SECONDS: &str = "a number of seconds";
const DEFAULT_PORT: u16 = 5432;

/// The parsed URL.
pub(crate) struct Address {
    /// Everything but the hosts.
    pub(crate) server: tokio_postgres::Config,
    /// The hosts, tried in this order.
    pub(crate) hosts: Vec<Host>,
    /// `None` if the connections are not encrypted.
    pub(crate) tls: Option<Tls>,
    pub(crate) protection: Protection,
    pub(crate) connect_timeout: Duration,
}

impl Address {
    /// Parses the URL of a configuration.
    pub(crate) fn parse(config: &Config) -> Result<Self> {
        let (mut url, parsed) = parse(config).map_err(|why| invalid(&why))?;
        let Parsed {
            mut server,
            hosts,
            mode,
            files,
            connect_timeout,
        } = parsed;
        let tls = match mode {
            Mode::Plaintext => None,
            Mode::Prefer => Some(Verify::Nothing),
            Mode::Tls(verify) => Some(verify),
        };
        let tls = tls.map(|verify| Tls::new(files, verify)).transpose()?;
        let tls = match url.take("sslnegotiation").as_deref() {
            None | Some("postgres") => tls,
            Some("direct") if matches!(mode, Mode::Tls(_)) => {
                server.ssl_negotiation(SslNegotiation::Direct);
                tls.map(|tls| tls.with_protocol("postgresql"))
            }
            Some(_) => {
                let text = "has an sslnegotiation that is not postgres, or direct with TLS";
                return Err(invalid(&InvalidUrl::new(text)));
            }
        };
        url.finish(&PARAMETERS).map_err(|why| invalid(&why))?;
        let (ssl_mode, protection) = match mode {
            Mode::Plaintext => (SslMode::Disable, Protection::Plaintext),
            Mode::Prefer => (SslMode::Prefer, Protection::Opportunistic),
            Mode::Tls(verify) => (SslMode::Require, Protection::Tls(verify)),
        };
        server.ssl_mode(ssl_mode);
        Ok(Self {
            server,
            hosts,
            tls,
            protection,
            connect_timeout,
        })
    }

    /// Returns the hosts without credentials, for messages.
    pub(crate) fn text(&self) -> String {
        let text = |host: &Host| {
            let port = host.port.unwrap_or(DEFAULT_PORT);
            match (host.is_unix(), host.name.contains(':')) {
                (true, _) => host.name.clone(),
                (_, true) => format!("[{}]:{port}", host.name),
                (_, false) => format!("{}:{port}", host.name),
            }
        };
        let hosts: Vec<String> = self.hosts.iter().map(text).collect();
        hosts.join(",")
    }

    /// Returns the configuration for one of the hosts.
    pub(crate) fn at(server: &tokio_postgres::Config, host: &Host) -> tokio_postgres::Config {
        let mut server = server.clone();
        if host.is_unix() {
            server.host_path(PathBuf::from(&host.name));
        } else {
            server.host(&host.name);
        }
        server.port(host.port.unwrap_or(DEFAULT_PORT));
        server
    }
}

fn invalid(why: &InvalidUrl) -> Error {
    let text = format!(
        "the store's URL {why} (postgres://user:password@host:port/database?sslmode=verify-full)"
    );
    Error::reject("store_url_invalid", text)
}

/// The encryption that a URL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plaintext,
    /// TLS if the server offers it, without verification.
    Prefer,
    Tls(Verify),
}

struct Parsed {
    server: tokio_postgres::Config,
    hosts: Vec<Host>,
    mode: Mode,
    files: TlsFiles,
    connect_timeout: Duration,
}

fn parse(config: &Config) -> std::result::Result<(ServerUrl, Parsed), InvalidUrl> {
    let mut url = ServerUrl::parse(&config.url)?;
    if !["postgres", "postgresql"].contains(&url.scheme.as_str()) {
        return Err(InvalidUrl::new("has a scheme that is not postgres"));
    }
    let hosts = hosts(&mut url)?;
    let mut server = tokio_postgres::Config::new();
    credentials(&mut url, &mut server)?;
    let connect_timeout = url.take_parsed("connect_timeout", SECONDS)?;
    let connect_timeout = connect_timeout.map_or(config.connect_timeout, Duration::from_secs);
    server.connect_timeout(connect_timeout);
    session(&mut url, &mut server)?;
    keepalive(&mut url, &mut server, config)?;
    let own = TlsFiles {
        ca: url.take("sslrootcert"),
        certificate: url.take("sslcert"),
        key: url.take("sslkey"),
    };
    let is_unix = hosts.iter().any(Host::is_unix);
    let mode = mode(url.take("sslmode").as_deref(), &own, &config.tls, is_unix)?;
    let parsed = Parsed {
        server,
        hosts,
        mode,
        files: own.or(&config.tls),
        connect_timeout,
    };
    Ok((url, parsed))
}

/// Returns the hosts of the URL, or those of its parameters `host` and `port`.
fn hosts(url: &mut ServerUrl) -> std::result::Result<Vec<Host>, InvalidUrl> {
    let (names, ports) = (url.take("host"), url.take("port"));
    let hosts = match (url.hosts.is_empty(), names) {
        (false, None) => url.hosts.clone(),
        (false, Some(_)) => return Err(InvalidUrl::new("has its hosts twice")),
        (true, None) => return Err(InvalidUrl::new("has no host")),
        (true, Some(names)) => {
            let hosts: std::result::Result<Vec<_>, _> = names.split(',').map(Host::parse).collect();
            hosts?
        }
    };
    let Some(ports) = ports else {
        return Ok(hosts);
    };
    let wrong = || InvalidUrl::new("has a parameter `port` that is not one port for each host");
    let ports: Vec<&str> = ports.split(',').collect();
    if ports.len() != hosts.len() || hosts.iter().any(|host| host.port.is_some()) {
        return Err(wrong());
    }
    let with_port = |(host, port): (Host, &str)| {
        let port: std::result::Result<u16, _> = port.parse();
        let port = Some(port.map_err(|_| wrong())?);
        Ok(Host { port, ..host })
    };
    hosts.into_iter().zip(ports).map(with_port).collect()
}

fn credentials(
    url: &mut ServerUrl,
    server: &mut tokio_postgres::Config,
) -> std::result::Result<(), InvalidUrl> {
    let database = match url.path.as_slice() {
        [] => None,
        [name] => Some(name.clone()).filter(|name| !name.is_empty()),
        _ => {
            let text = "has a `/` in the name of the database: write it as %2F";
            return Err(InvalidUrl::new(text));
        }
    };
    let (user, password) = (url.user.clone(), url.password.clone());
    let once = |part: Option<String>, parameter: Option<String>, what: &str| {
        if part.is_some() && parameter.is_some() {
            return Err(InvalidUrl::new(format!("has its {what} twice")));
        }
        Ok(part.or(parameter))
    };
    if let Some(user) = once(user, url.take("user"), "user")? {
        server.user(user);
    }
    if let Some(password) = once(password, url.take("password"), "password")? {
        server.password(password);
    }
    if let Some(database) = once(database, url.take("dbname"), "database")? {
        server.dbname(database);
    }
    Ok(())
}

/// Reads the parameters of a session.
fn session(
    url: &mut ServerUrl,
    server: &mut tokio_postgres::Config,
) -> std::result::Result<(), InvalidUrl> {
    let name = url.take("application_name");
    server.application_name(name.as_deref().unwrap_or("wingbeat"));
    if let Some(options) = url.take("options") {
        server.options(options);
    }
    match url.take("channel_binding").as_deref() {
        None | Some("prefer") => {}
        Some("require") => drop(server.channel_binding(ChannelBinding::Require)),
        Some("disable") => drop(server.channel_binding(ChannelBinding::Disable)),
        Some(_) => {
            let text = "has a channel_binding that is not disable, prefer or require";
            return Err(InvalidUrl::new(text));
        }
    }
    let attributes = match url.take("target_session_attrs").as_deref() {
        None | Some("read-write") => TargetSessionAttrs::ReadWrite,
        Some("any") => TargetSessionAttrs::Any,
        Some(_) => {
            let text = "has a target_session_attrs that is not read-write or any: the store writes";
            return Err(InvalidUrl::new(text));
        }
    };
    server.target_session_attrs(attributes);
    Ok(())
}

fn keepalive(
    url: &mut ServerUrl,
    server: &mut tokio_postgres::Config,
    config: &Config,
) -> std::result::Result<(), InvalidUrl> {
    match url.take("keepalives").as_deref() {
        None | Some("1") => {}
        Some("0") => drop(server.keepalives(false)),
        Some(_) => return Err(InvalidUrl::new("has keepalives that are not 0 or 1")),
    }
    let idle = url.take_parsed("keepalives_idle", SECONDS)?.unwrap_or(10);
    server.keepalives_idle(Duration::from_secs(idle));
    if let Some(interval) = url.take_parsed("keepalives_interval", SECONDS)? {
        server.keepalives_interval(Duration::from_secs(interval));
    }
    if let Some(retries) = url.take_parsed("keepalives_retries", "a number")? {
        server.keepalives_retries(retries);
    }
    // Milliseconds, as in libpq.
    let timeout = url.take_parsed("tcp_user_timeout", "a number of milliseconds")?;
    let timeout = timeout.map_or(config.statement_timeout, Duration::from_millis);
    server.tcp_user_timeout(timeout);
    Ok(())
}

/// Returns the encryption for a value of `sslmode`. `own` are the files of the URL; `defaults` are
/// those of the settings.
fn mode(
    sslmode: Option<&str>,
    own: &TlsFiles,
    defaults: &TlsFiles,
    is_unix: bool,
) -> std::result::Result<Mode, InvalidUrl> {
    let refuse = |text: &str| Err(InvalidUrl::new(text));
    let files = own.clone().or(defaults);
    let mode = match sslmode {
        None if is_unix && own.is_empty() => Mode::Plaintext,
        None if files.is_empty() => Mode::Prefer,
        // Files alone ask for TLS.
        None | Some("verify-full") => Mode::Tls(Verify::Full),
        Some("disable") if own.is_empty() => Mode::Plaintext,
        Some("prefer") if own.is_empty() => Mode::Prefer,
        Some("disable" | "prefer") => {
            return refuse("has certificates and an sslmode that does not ask for TLS");
        }
        Some("require" | "verify-ca") if own.ca.as_deref() == Some("system") => {
            return refuse("has sslrootcert=system, which needs sslmode=verify-full");
        }
        // As in libpq.
        Some("require") if files.has_own_ca() => Mode::Tls(Verify::Issuer),
        Some("require") => Mode::Tls(Verify::Nothing),
        Some("verify-ca") if files.has_own_ca() => Mode::Tls(Verify::Issuer),
        Some("verify-ca") => {
            return refuse(
                "has sslmode=verify-ca, which needs sslrootcert or the setting `tls_ca`",
            );
        }
        Some(_) => {
            let text = "has an sslmode that is not disable, prefer, require, verify-ca or \
                        verify-full";
            return refuse(text);
        }
    };
    if is_unix && matches!(mode, Mode::Tls(_)) {
        return refuse("asks for TLS on a Unix socket");
    }
    Ok(mode)
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
