//! Strict URLs of servers.

use std::fmt;
use std::net::Ipv6Addr;

/// A part of a URL that cannot be used. The text names the part and contains no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl(String);

impl InvalidUrl {
    /// Creates the error. `text` continues a sentence that begins with the name of the URL.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidUrl {}

type Result<T> = std::result::Result<T, InvalidUrl>;

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(InvalidUrl::new(text))
}

/// One host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, an address without brackets, or the path of a Unix socket.
    pub name: String,
    /// The port, if the URL has one.
    pub port: Option<u16>,
}

impl Host {
    /// Returns whether this is the path of a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.name.starts_with('/')
    }

    /// Parses `name`, `name:port`, `[address]:port` or a percent-encoded path.
    ///
    /// # Errors
    ///
    /// The text is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let Some((address, port)) = rest.split_once(']') else {
                    return invalid("has an IPv6 address without a closing bracket");
                };
                if address.parse::<Ipv6Addr>().is_err() {
                    return invalid("has brackets around something that is no IPv6 address");
                }
                (address.to_owned(), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (decode(name, "host")?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return invalid("has something other than a port after an IPv6 address"),
            Some(port) if port.contains(':') => {
                return invalid("has an IPv6 address without brackets, or two ports for a host");
            }
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return invalid("has a port that is no number up to 65535"),
                Ok(port) => Some(port),
            },
        };
        let is_character = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if name.is_empty() {
            return invalid("has no host");
        }
        if !name.starts_with('/') && !name.chars().all(is_character) {
            return invalid("has a host that is no name: write other letters in Punycode");
        }
        Ok(Self { name, port })
    }
}

/// A parsed URL `scheme://user:password@host:port,host:port/path?name=value&…`.
///
/// An adapter takes what it supports and then calls [`finish`](Self::finish), so nothing is
/// ignored.
///
/// ```
/// use wingbeat_connect::ServerUrl;
///
/// let mut url = ServerUrl::parse("amqp://shop:s%2Fcret@[::1]:5672/%2F?heartbeat=5")?;
/// assert_eq!(url.password.as_deref(), Some("s/cret"));
/// assert_eq!(url.hosts[0].name, "::1");
/// assert_eq!(url.path, ["/"]);
/// assert_eq!(url.take("heartbeat").as_deref(), Some("5"));
/// url.finish(&["heartbeat"])?;
/// # Ok::<(), wingbeat_connect::InvalidUrl>(())
/// ```
#[derive(Clone)]
pub struct ServerUrl {
    /// The scheme.
    pub scheme: String,
    /// The user, decoded. An empty one is none.
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<String>,
    /// The hosts; empty if the URL has none.
    pub hosts: Vec<Host>,
    /// The decoded segments of the path; empty if the URL has no `/` after the hosts.
    pub path: Vec<String>,
    query: Vec<(String, String)>,
}

impl ServerUrl {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// A part of the URL that is malformed, or a fragment.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return invalid("has no scheme");
        };
        let is_hidden = |c: char| c.is_control() || c.is_whitespace();
        if text.contains(is_hidden) {
            return invalid("has a space or a control character: percent-encode it");
        }
        if rest.contains('#') {
            return invalid("has a fragment: percent-encode `#` as %23");
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if rest.contains('@') {
            // A password that is not encoded: the parts after it may be secret.
            return invalid(
                "has an `@` after the host: percent-encode `/`, `?` and `@` of the user name and \
                 the password as %2F, %3F and %40",
            );
        }
        let (user, password, hosts) = parse_authority(authority)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = match path.strip_prefix('/') {
            Some(path) => path.split('/').map(|it| decode(it, "path")).collect(),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            user,
            password,
            hosts,
            path: path?,
            query: parse_query(query)?,
        })
    }

    /// Removes a query parameter and returns its decoded value.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.query.iter().position(|(it, _)| it == name)?;
        Some(self.query.remove(at).1)
    }

    /// Removes a query parameter and parses its value.
    ///
    /// # Errors
    ///
    /// The value is not of the form that `expected` describes.
    pub fn take_parsed<T: std::str::FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => invalid(format!("has a parameter `{name}` that is not {expected}")),
        }
    }

    /// Checks that every query parameter was taken. `known` are the supported ones, for the
    /// message.
    ///
    /// # Errors
    ///
    /// The name of a parameter that is not supported.
    pub fn finish(&self, known: &[&str]) -> Result<()> {
        let Some((name, _)) = self.query.first() else {
            return Ok(());
        };
        let known = known.join(", ");
        invalid(format!(
            "has the parameter `{name}`, which is not supported; there are: {known}"
        ))
    }
}

type Authority = (Option<String>, Option<String>, Vec<Host>);

fn parse_authority(text: &str) -> Result<Authority> {
    let (credentials, hosts) = match text.rsplit_once('@') {
        Some((credentials, hosts)) => (Some(credentials), hosts),
        None => (None, text),
    };
    let (user, password) = match credentials.map(|it| it.split_once(':').unwrap_or((it, ""))) {
        Some((user, password)) => (
            Some(decode(user, "user name")?),
            Some(decode(password, "password")?),
        ),
        None => (None, None),
    };
    let hosts = match hosts {
        "" => Ok(Vec::new()),
        hosts => hosts.split(',').map(Host::parse).collect(),
    };
    let given = |part: Option<String>| part.filter(|it| !it.is_empty());
    Ok((given(user), given(password), hosts?))
}

fn parse_query(text: &str) -> Result<Vec<(String, String)>> {
    let mut query: Vec<(String, String)> = Vec::new();
    for parameter in text.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_word) {
            return invalid("has a parameter whose name is not a word");
        }
        if value.is_empty() {
            return invalid(format!("has the parameter `{name}` without a value"));
        }
        if query.iter().any(|(it, _)| it == name) {
            return invalid(format!("has the parameter `{name}` twice"));
        }
        query.push((name.to_owned(), decode(value, name)?));
    }
    Ok(query)
}

/// Decodes the percent-encoding of a part.
fn decode(text: &str, part: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return invalid(format!(
                "has a `%` in its {part} that begins no encoded byte: write it as %25"
            ));
        };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => invalid(format!("has a {part} that is not UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match ServerUrl::parse(text) {
            Ok(_) => panic!("{text} was parsed"),
            Err(why) => why.to_string(),
        }
    }

    fn host(name: &str, port: Option<u16>) -> Host {
        let name = name.to_owned();
        Host { name, port }
    }

    #[test]
    fn every_part_is_returned_decoded() {
        let text =
            "pg://us%3Aer:p%40%2F%20%C3%A4@a:1,[2001:db8::1]:2,b,%2Frun%2Fpg/d%2Fb?x=1%262&y=%25";
        let mut url = ServerUrl::parse(text).unwrap();
        assert_eq!(url.scheme, "pg");
        assert_eq!(url.user.as_deref(), Some("us:er"));
        assert_eq!(url.password.as_deref(), Some("p@/ ä"));
        let hosts = [
            host("a", Some(1)),
            host("2001:db8::1", Some(2)),
            host("b", None),
            host("/run/pg", None),
        ];
        assert_eq!(url.hosts, hosts);
        assert_eq!(url.path, ["d/b"]);
        assert_eq!(url.take("x").as_deref(), Some("1&2"));
        assert_eq!(
            url.finish(&[]).unwrap_err().to_string(),
            "has the parameter `y`, which is not supported; there are: "
        );
        assert_eq!(url.take("y").as_deref(), Some("%"));
        assert_eq!(url.finish(&[]), Ok(()));
    }

    #[test]
    fn absent_parts_are_absent() {
        let url = ServerUrl::parse("redis://host").unwrap();
        assert_eq!((url.user, url.password, url.path.len()), (None, None, 0));
        let url = ServerUrl::parse("redis://:secret@host/").unwrap();
        assert_eq!((url.user, url.password), (None, Some("secret".into())));
        assert_eq!(url.path, [""]);
        let url = ServerUrl::parse("postgres:///db").unwrap();
        assert_eq!((url.hosts, url.path), (vec![], vec!["db".to_owned()]));
        let url = ServerUrl::parse("redis://p@ss:s3cret@host").unwrap();
        assert_eq!(url.user.as_deref(), Some("p@ss"));
    }

    #[test]
    fn malformed_parts_are_refused_without_secrets() {
        let cases = [
            ("host:1", "scheme"),
            ("a://u:s3cret@host /x", "space"),
            ("a://u:s3cret@ho\nst/x", "control"),
            ("a://u:s3#cret@host/x", "fragment"),
            ("a://host/x#frag", "fragment"),
            ("a://u:s3/cret@host/x", "percent-encode"),
            ("a://u:s3?cret@host/x", "percent-encode"),
            ("a://u:s3%cret@host/x", "password"),
            ("a://u:s3%ffcret@host/x", "password"),
            ("a://u%00:s3cret@host/x", "user name"),
            ("a://u:s3cret@host,/x", "no host"),
            ("a://u:s3cret@host:/x", "port"),
            ("a://u:s3cret@host:0/x", "port"),
            ("a://u:s3cret@host:65536/x", "port"),
            ("a://u:s3cret@host:5x/x", "port"),
            ("a://u:s3cret@::1/x", "brackets"),
            ("a://u:s3cret@[::1/x", "bracket"),
            ("a://u:s3cret@[host]/x", "brackets"),
            ("a://u:s3cret@[::1]5/x", "port"),
            ("a://u:s3cret@h\u{f6}st/x", "Punycode"),
            ("a://u:s3cret@host/%zz", "path"),
            ("a://u:s3cret@host/x?=1", "word"),
            ("a://u:s3cret@host/x?a", "without a value"),
            ("a://u:s3cret@host/x?a=", "without a value"),
            ("a://u:s3cret@host/x?a=1&a=2", "twice"),
            ("a://u:s3cret@host/x?a=%f", "%25"),
        ];
        for (text, expected) in cases {
            let why = refused(text);
            assert!(why.contains(expected), "{text}: {why}");
            assert!(
                !why.contains("s3") && !why.contains("cret"),
                "{text}: {why}"
            );
        }
    }
}
