//! The URL of the broker: every part works, or is refused by its name.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use wingbeat_connect::{Host, InvalidUrl, Protection, ServerUrl, Tls, TlsFiles, Verify};
use wingbeat_core::{Error, Result};

use crate::Config;

/// The query parameters that are supported, with the meaning that RabbitMQ's clients give them.
const PARAMETERS: [&str; 10] = [
    "auth_mechanism",
    "cacertfile",
    "certfile",
    "channel_max",
    "connection_timeout",
    "frame_max",
    "heartbeat",
    "keyfile",
    "server_name_indication",
    "verify",
];
/// The smallest limit of frames that AMQP 0-9-1 allows.
const FRAME_MAX_MIN: u32 = 4096;
/// The longest name of a virtual host.
const VHOST_MAX: usize = 255;

/// The parsed URL.
pub(crate) struct Address {
    /// Everything but the hosts and TLS.
    pub(crate) uri: AMQPUri,
    /// The nodes of the cluster, tried in turn.
    pub(crate) hosts: Vec<Host>,
    pub(crate) default_port: u16,
    /// `None` if the connections are not encrypted.
    pub(crate) tls: Option<Tls>,
    pub(crate) protection: Protection,
    /// The time limit for connecting to one host.
    pub(crate) connect_timeout: Duration,
}

impl Address {
    /// Parses the URL of a configuration.
    pub(crate) fn parse(config: &Config) -> Result<Self> {
        let mut url = ServerUrl::parse(&config.url).map_err(|why| invalid(&why))?;
        let scheme: AMQPScheme = match url.scheme.as_str() {
            "amqp" => AMQPScheme::AMQP,
            "amqps" => AMQPScheme::AMQPS,
            _ => return Err(invalid(&InvalidUrl::new("has a scheme that is not amqp"))),
        };
        let security = security(&mut url, &scheme).map_err(|why| invalid(&why))?;
        let default_port = scheme.default_port();
        let (uri, connect_timeout) =
            parse(&mut url, scheme, config).map_err(|why| invalid(&why))?;
        let (tls, protection) = match security {
            None => (None, Protection::Plaintext),
            Some(Security {
                files,
                verify,
                server_name,
            }) => {
                let tls = Tls::new(files.or(&config.tls), verify)?;
                let tls = match server_name {
                    Some(name) => tls.with_server_name(&name)?,
                    None => tls,
                };
                (Some(tls), Protection::Tls(verify))
            }
        };
        Ok(Self {
            uri,
            hosts: url.hosts,
            default_port,
            tls,
            protection,
            connect_timeout,
        })
    }
}

fn invalid(why: &InvalidUrl) -> Error {
    let text = format!("the broker's URL {why} (amqps://user:password@host:port/vhost)");
    Error::reject("broker_url_invalid", text)
}

/// The parts of the URL that concern TLS.
struct Security {
    files: TlsFiles,
    verify: Verify,
    server_name: Option<String>,
}

/// Takes the parameters of TLS. Returns `None` without TLS.
fn security(
    url: &mut ServerUrl,
    scheme: &AMQPScheme,
) -> std::result::Result<Option<Security>, InvalidUrl> {
    let files = TlsFiles {
        ca: url.take("cacertfile"),
        certificate: url.take("certfile"),
        key: url.take("keyfile"),
    };
    let (verify, server_name) = (url.take("verify"), url.take("server_name_indication"));
    if *scheme == AMQPScheme::AMQP {
        let asks = !files.is_empty() || verify.is_some() || server_name.is_some();
        return if asks {
            Err(InvalidUrl::new(
                "has parameters of TLS and the scheme amqp: write amqps",
            ))
        } else {
            Ok(None)
        };
    }
    let verify = match verify.as_deref() {
        None | Some("verify_peer") => Verify::Full,
        Some("verify_none") => Verify::Nothing,
        Some(_) => {
            let text = "has a parameter `verify` that is not verify_peer or verify_none";
            return Err(InvalidUrl::new(text));
        }
    };
    if server_name.as_deref() == Some("disable") {
        let text = "has server_name_indication=disable: give the name of the certificate instead";
        return Err(InvalidUrl::new(text));
    }
    Ok(Some(Security {
        files,
        verify,
        server_name,
    }))
}

fn parse(
    url: &mut ServerUrl,
    scheme: AMQPScheme,
    config: &Config,
) -> std::result::Result<(AMQPUri, Duration), InvalidUrl> {
    let refuse = |text: &str| Err(InvalidUrl::new(text));
    if url.hosts.is_empty() {
        return refuse("has no host");
    }
    if url.hosts.iter().any(Host::is_unix) {
        return refuse("has the path of a Unix socket, which RabbitMQ does not have");
    }
    let mut uri = AMQPUri {
        scheme,
        vhost: vhost(url)?,
        ..AMQPUri::default()
    };
    uri.query.auth_mechanism = match url.take("auth_mechanism").as_deref() {
        None => None,
        Some("plain" | "PLAIN") => Some(SASLMechanism::Plain),
        Some("amqplain" | "AMQPLAIN") => Some(SASLMechanism::AMQPlain),
        Some("external" | "EXTERNAL") => Some(SASLMechanism::External),
        Some(_) => {
            return refuse("has an auth_mechanism that is not plain, amqplain or external");
        }
    };
    let external = uri.query.auth_mechanism == Some(SASLMechanism::External);
    uri.authority.userinfo = match (url.user.clone(), url.password.clone()) {
        (Some(username), Some(password)) => AMQPUserInfo { username, password },
        (None, None) => AMQPUserInfo::default(),
        (Some(username), None) if external => AMQPUserInfo {
            username,
            password: String::new(),
        },
        (Some(_), None) => return refuse("has a user without a password"),
        (None, Some(_)) => return refuse("has a password without a user"),
    };
    let seconds = url.take_parsed("heartbeat", "a number of seconds")?;
    let seconds = seconds.unwrap_or_else(|| {
        let seconds = config.heartbeat.as_secs().max(1);
        u16::try_from(seconds).unwrap_or(u16::MAX)
    });
    uri.query.heartbeat = Some(seconds);
    uri.query.frame_max = url.take_parsed("frame_max", "a number of bytes")?;
    if uri.query.frame_max.is_some_and(|it| it < FRAME_MAX_MIN) {
        return refuse("has a frame_max below 4096 bytes");
    }
    uri.query.channel_max = url.take_parsed("channel_max", "a number up to 65535")?;
    let timeout = url.take_parsed("connection_timeout", "a number of milliseconds")?;
    let timeout = timeout.map_or(config.connect_timeout, Duration::from_millis);
    url.finish(&PARAMETERS)?;
    Ok((uri, timeout))
}

fn vhost(url: &ServerUrl) -> std::result::Result<String, InvalidUrl> {
    let text = match url.path.as_slice() {
        [] => return Ok("/".into()),
        [name] if name.is_empty() => {
            "has an empty virtual host: leave out the last `/`, or write %2F for the default one"
        }
        [name] if name.len() > VHOST_MAX => "has a virtual host of more than 255 bytes",
        [name] => return Ok(name.clone()),
        _ => "has a `/` in the name of the virtual host: write it as %2F",
    };
    Err(InvalidUrl::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Address> {
        Address::parse(&Config::new(url))
    }

    #[test]
    fn every_part_of_a_url_works() {
        let text = "amqp://us%40er:p%2Fw@a:1,[::1],b/v%2Fh?heartbeat=5&frame_max=8192\
                    &channel_max=100&connection_timeout=1500&auth_mechanism=amqplain";
        let Address {
            uri,
            hosts,
            default_port,
            tls,
            connect_timeout,
            ..
        } = parsed(text).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|it| (it.name.as_str(), it.port)).collect();
        assert_eq!(hosts, [("a", Some(1)), ("::1", None), ("b", None)]);
        assert_eq!(uri.authority.userinfo.username, "us@er");
        assert_eq!(uri.authority.userinfo.password, "p/w");
        assert_eq!(uri.vhost, "v/h");
        assert_eq!(uri.query.heartbeat, Some(5));
        assert_eq!(uri.query.frame_max, Some(8192));
        assert_eq!(uri.query.channel_max, Some(100));
        assert_eq!(uri.query.auth_mechanism, Some(SASLMechanism::AMQPlain));
        assert_eq!(connect_timeout, Duration::from_millis(1500));
        assert!(tls.is_none() && default_port == 5672);
    }

    #[test]
    fn absent_parts_have_the_defaults_of_rabbitmq() {
        let address = parsed("amqp://host").unwrap();
        assert_eq!(address.uri.vhost, "/");
        assert_eq!(address.uri.authority.userinfo, AMQPUserInfo::default());
        assert_eq!(address.uri.query.heartbeat, Some(15));
        let address = parsed("amqps://host/%2F?verify=verify_none").unwrap();
        assert_eq!(
            (address.uri.vhost.as_str(), address.default_port),
            ("/", 5671)
        );
        assert_eq!(address.protection, Protection::Tls(Verify::Nothing));
    }

    #[test]
    fn what_does_not_work_is_refused_by_name() {
        let cases = [
            ("http://u:s3cret@h", "scheme"),
            ("u:s3cret@h", "scheme"),
            ("amqp://u:s3cret@", "no host"),
            ("amqp://u:s3cret@%2Frun%2Frabbit", "Unix socket"),
            ("amqp://u:s3cret@h/", "empty virtual host"),
            ("amqp://u:s3cret@h/a/b", "virtual host"),
            ("amqp://u:s3cret@h#f", "fragment"),
            ("amqp://s3cret@h", "without a password"),
            ("amqp://:s3cret@h", "without a user"),
            ("amqp://u:s3cret@h?heartbeat=often", "`heartbeat`"),
            ("amqp://u:s3cret@h?heartbeat=70000", "`heartbeat`"),
            ("amqp://u:s3cret@h?frame_max=100", "frame_max"),
            ("amqp://u:s3cret@h?channel_max=-1", "`channel_max`"),
            (
                "amqp://u:s3cret@h?connection_timeout=5s",
                "`connection_timeout`",
            ),
            (
                "amqp://u:s3cret@h?auth_mechanism=anonymous",
                "auth_mechanism",
            ),
            ("amqp://u:s3cret@h?cacertfile=x", "amqps"),
            ("amqp://u:s3cret@h?verify=verify_none", "amqps"),
            ("amqps://u:s3cret@h?verify=maybe", "`verify`"),
            (
                "amqps://u:s3cret@h?server_name_indication=disable",
                "server_name_indication",
            ),
            (
                "amqps://u:s3cret@h?fail_if_no_peer_cert=true",
                "`fail_if_no_peer_cert`",
            ),
            ("amqps://u:s3cret@h?password=x", "`password`"),
            ("amqps://u:s3cret@h?depth=2", "`depth`"),
        ];
        for (url, expected) in cases {
            let Err(why) = parsed(url) else {
                panic!("{url} was accepted");
            };
            let text = why.to_string();
            assert_eq!(why.code(), "broker_url_invalid", "{url}: {text}");
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("s3cret"), "{url}: {text}");
        }
        for url in [
            "amqps://h?cacertfile=/nowhere.pem",
            "amqps://h?verify=verify_none&keyfile=/n",
        ] {
            assert_eq!(parsed(url).err().map(|it| it.code()), Some("tls_invalid"));
        }
    }
}
