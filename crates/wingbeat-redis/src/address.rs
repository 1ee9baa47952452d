//! The URL of the cache: every part works, or is refused by its name.

use redis::RedisConnectionInfo;
use wingbeat_connect::{Host, InvalidUrl, Protection, ServerUrl, Tls, TlsFiles, Verify};
use wingbeat_core::{Error, Result};

/// The query parameters that are supported.
const PARAMETERS: [&str; 8] = [
    "db",
    "master",
    "sentinel_password",
    "sentinel_user",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_keyfile",
];
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The parsed URL.
pub(crate) struct Address {
    /// The user, the password and the database.
    pub(crate) login: RedisConnectionInfo,
    /// The servers, or the sentinels. They are tried in turn.
    pub(crate) hosts: Vec<Host>,
    pub(crate) default_port: u16,
    /// `None` if the hosts are the servers themselves.
    pub(crate) sentinel: Option<Sentinel>,
    /// `None` if the connections are not encrypted.
    pub(crate) tls: Option<Tls>,
    pub(crate) protection: Protection,
}

/// The settings of requests to sentinels.
pub(crate) struct Sentinel {
    /// The name of the master.
    pub(crate) master: String,
    pub(crate) login: RedisConnectionInfo,
}

/// The kind of a URL, by its scheme.
struct Scheme {
    tls: bool,
    sentinel: bool,
    unix: bool,
}

impl Scheme {
    fn parse(text: &str) -> std::result::Result<Self, InvalidUrl> {
        let (tls, sentinel, unix) = match text {
            "redis" | "valkey" => (false, false, false),
            "rediss" | "valkeys" => (true, false, false),
            "redis-sentinel" | "redis+sentinel" => (false, true, false),
            "rediss-sentinel" | "rediss+sentinel" => (true, true, false),
            "unix" | "redis+unix" | "valkey+unix" => (false, false, true),
            _ if text.contains("cluster") => {
                let text = "is one of a Redis Cluster, which is not supported: use one instance, \
                            or Redis Sentinel";
                return Err(InvalidUrl::new(text));
            }
            _ => return Err(InvalidUrl::new("has a scheme that is not redis")),
        };
        Ok(Self {
            tls,
            sentinel,
            unix,
        })
    }
}

impl Address {
    /// Parses a URL. `defaults` are the files of TLS that it does not name.
    pub(crate) fn parse(url: &str, defaults: &TlsFiles) -> Result<Self> {
        let (mut address, files) = parse(url).map_err(|why| {
            let text = format!("the cache's URL {why} (rediss://user:password@host:port/database)");
            Error::reject("cache_url_invalid", text)
        })?;
        if let Protection::Tls(verify) = address.protection {
            address.tls = Some(Tls::new(files.or(defaults), verify)?);
        }
        Ok(address)
    }
}

type Parsed<T> = std::result::Result<T, InvalidUrl>;

fn parse(text: &str) -> Parsed<(Address, TlsFiles)> {
    let mut url = ServerUrl::parse(text)?;
    let scheme = Scheme::parse(&url.scheme)?;
    let files = TlsFiles {
        ca: url.take("ssl_ca_certs"),
        certificate: url.take("ssl_certfile"),
        key: url.take("ssl_keyfile"),
    };
    let verify = url.take("ssl_cert_reqs");
    let protection = if scheme.tls {
        match verify.as_deref() {
            None | Some("required") => Protection::Tls(Verify::Full),
            Some("none") => Protection::Tls(Verify::Nothing),
            Some(_) => {
                return refuse("has a parameter `ssl_cert_reqs` that is not required or none");
            }
        }
    } else if files.is_empty() && verify.is_none() {
        Protection::Plaintext
    } else {
        return refuse("has parameters of TLS and a scheme without TLS: write rediss");
    };
    let (hosts, database) = hosts(&mut url, &scheme)?;
    let login = login(url.user.as_deref(), url.password.as_deref(), "")?.set_db(database);
    let sentinel = sentinel(&mut url, &scheme)?;
    url.finish(&PARAMETERS)?;
    let address = Address {
        login,
        hosts,
        default_port: if scheme.sentinel {
            SENTINEL_PORT
        } else {
            REDIS_PORT
        },
        sentinel,
        tls: None,
        protection,
    };
    Ok((address, files))
}

fn refuse<T>(text: &str) -> Parsed<T> {
    Err(InvalidUrl::new(text))
}

/// Returns the hosts and the number of the database.
fn hosts(url: &mut ServerUrl, scheme: &Scheme) -> Parsed<(Vec<Host>, i64)> {
    let wrong = "has a database that is not a number";
    let number = |text: &str| match text.parse() {
        Ok(number) if number >= 0 => Ok(number),
        Ok(_) | Err(_) => refuse(wrong),
    };
    let parameter = url.take("db").as_deref().map(number).transpose()?;
    if scheme.unix {
        let path = format!("/{}", url.path.join("/"));
        if !url.hosts.is_empty() || path == "/" {
            return refuse("is not of the form redis+unix:///path/of/the/socket?db=0");
        }
        let host = Host {
            name: path,
            port: None,
        };
        return Ok((vec![host], parameter.unwrap_or(0)));
    }
    if url.hosts.is_empty() {
        return refuse("has no host");
    }
    if url.hosts.iter().any(Host::is_unix) {
        return refuse("has the path of a Unix socket: write redis+unix:///path");
    }
    let database = match (url.path.as_slice(), parameter) {
        ([], number) => number.unwrap_or(0),
        ([name], number) if name.is_empty() => number.unwrap_or(0),
        ([name], None) => number(name)?,
        ([_], Some(_)) => return refuse("has its database twice"),
        _ => return refuse(wrong),
    };
    Ok((url.hosts.clone(), database))
}

fn login(user: Option<&str>, password: Option<&str>, what: &str) -> Parsed<RedisConnectionInfo> {
    let login = RedisConnectionInfo::default();
    match (user, password) {
        (None, None) => Ok(login),
        (None, Some(password)) => Ok(login.set_password(password)),
        (Some(user), Some(password)) => Ok(login.set_username(user).set_password(password)),
        (Some(_), None) => Err(InvalidUrl::new(format!(
            "has a {what}user without a password (a password alone follows a colon, \
             redis://:password@host)"
        ))),
    }
}

fn sentinel(url: &mut ServerUrl, scheme: &Scheme) -> Parsed<Option<Sentinel>> {
    let (user, password) = (url.take("sentinel_user"), url.take("sentinel_password"));
    let master = url.take("master");
    if !scheme.sentinel {
        return if master.is_some() || user.is_some() || password.is_some() {
            refuse("has parameters of Sentinel and another scheme: write redis-sentinel")
        } else {
            Ok(None)
        };
    }
    let Some(master) = master else {
        return refuse("needs the name of the master: redis-sentinel://host?master=name");
    };
    let login = login(user.as_deref(), password.as_deref(), "sentinel_")?;
    Ok(Some(Sentinel { master, login }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Address> {
        Address::parse(url, &TlsFiles::default())
    }

    #[test]
    fn every_part_of_a_url_works() {
        let address = parsed("redis://us%40er:p%2Fw@a:1,[::1],b/7").unwrap();
        let hosts = address.hosts.iter().map(|it| (it.name.as_str(), it.port));
        let hosts: Vec<_> = hosts.collect();
        assert_eq!(hosts, [("a", Some(1)), ("::1", None), ("b", None)]);
        assert_eq!(address.login.username(), Some("us@er"));
        assert_eq!(address.login.password(), Some("p/w"));
        assert_eq!(address.login.db(), 7);
        assert!(address.tls.is_none() && address.default_port == 6379);
        let address = parsed("valkey://:secret@host/?db=3").unwrap();
        assert_eq!(address.login.username(), None);
        assert_eq!(address.login.password(), Some("secret"));
        assert_eq!(address.login.db(), 3);
        let address = parsed("redis+unix:///run/redis/redis.sock?db=2").unwrap();
        assert_eq!(address.hosts[0].name, "/run/redis/redis.sock");
        assert_eq!(address.login.db(), 2);
        let text =
            "redis-sentinel://:s3cret@a,b:1/2?master=shop&sentinel_user=u&sentinel_password=p";
        let address = parsed(text).unwrap();
        let sentinel = address.sentinel.unwrap();
        assert_eq!(
            (address.default_port, sentinel.master.as_str()),
            (26379, "shop")
        );
        assert_eq!(sentinel.login.username(), Some("u"));
        assert_eq!((address.login.db(), sentinel.login.db()), (2, 0));
    }

    #[test]
    fn what_does_not_work_is_refused_by_name() {
        let cases = [
            ("http://u:s3cret@h", "scheme"),
            ("redis-cluster://u:s3cret@h", "Cluster"),
            ("redis://u:s3cret@", "no host"),
            ("redis://u:s3cret@%2Frun%2Fredis", "Unix socket"),
            ("unix://u:s3cret@host/path", "redis+unix"),
            ("redis+unix:///", "redis+unix"),
            ("redis://u:s3cret@h/zero", "database"),
            ("redis://u:s3cret@h/-1", "database"),
            ("redis://u:s3cret@h/1/2", "database"),
            ("redis://u:s3cret@h/1?db=2", "database twice"),
            ("redis://u:s3cret@h#insecure", "fragment"),
            ("redis://s3cret@h", "without a password"),
            ("redis://u:s3cret@h?protocol=resp3", "`protocol`"),
            ("redis://u:s3cret@h?ssl_ca_certs=x", "rediss"),
            ("redis://u:s3cret@h?ssl_cert_reqs=none", "rediss"),
            (
                "rediss://u:s3cret@h?ssl_cert_reqs=optional",
                "`ssl_cert_reqs`",
            ),
            ("redis://u:s3cret@h?master=shop", "redis-sentinel"),
            ("redis-sentinel://u:s3cret@h", "master"),
            (
                "redis-sentinel://h?master=m&sentinel_user=u",
                "sentinel_user",
            ),
        ];
        for (url, expected) in cases {
            let Err(why) = parsed(url) else {
                panic!("{url} was accepted");
            };
            let text = why.to_string();
            assert_eq!(why.code(), "cache_url_invalid", "{url}: {text}");
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("s3cret"), "{url}: {text}");
        }
        let missing = parsed("rediss://h?ssl_ca_certs=/nowhere.pem");
        assert_eq!(missing.err().map(|why| why.code()), Some("tls_invalid"));
    }
}
