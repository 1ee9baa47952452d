//! The settings of the mail server: its URL, and the sender of mails.

use std::fmt;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use wingbeat::tls::is_private_host;
use wingbeat::{JsonSchema, schemars};

/// The TLS of a connection to the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// The connection begins without TLS and must be upgraded with `STARTTLS`.
    StartTls,
    /// TLS from the first byte on.
    Implicit,
    /// No TLS.
    Off,
}

/// A mail server, from its URL.
///
/// - `smtp://user:password@host:587` begins without TLS and requires `STARTTLS`,
/// - `smtps://user:password@host:465` uses TLS from the first byte on,
/// - `smtp://host:25?tls=off` uses none; a user and a password are then allowed only on this machine.
///
/// ```
/// use shop_notifications::smtp::SmtpServer;
///
/// let server: SmtpServer = "smtps://shop:s%40cret@mail.example.com".parse()?;
/// assert_eq!((server.host.as_str(), server.port), ("mail.example.com", 465));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct SmtpServer {
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The TLS of its connections.
    pub security: Security,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpServer({}:{})", self.host, self.port) // Without the password.
    }
}

impl SmtpServer {
    /// Returns whether mails can be read on the way to the server.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.security == Security::Off && !is_private_host(&self.host)
    }
}

impl std::str::FromStr for SmtpServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|why| why.to_string())?;
        let implicit = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return refused("the scheme is neither smtp nor smtps"),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("the host is missing")?;
        let host = match Host::parse(host).map_err(|why| why.to_string())? {
            Host::Domain(name) => name,
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return refused("a path and a fragment are not supported");
        }
        let security = security(&url, implicit)?;
        let login = login(&url)?;
        let is_local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.to_canonical().is_loopback());
        if login.is_some() && security == Security::Off && !is_local {
            return refused("a password needs TLS: leave out tls=off");
        }
        let default = match security {
            Security::StartTls => 587,
            Security::Implicit => 465,
            Security::Off => 25,
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(default),
            security,
            login,
        })
    }
}

impl TryFrom<String> for SmtpServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn refused<T>(why: &str) -> Result<T, String> {
    Err(why.to_owned())
}

fn security(url: &Url, implicit: bool) -> Result<Security, String> {
    let mut security = if implicit {
        Security::Implicit
    } else {
        Security::StartTls
    };
    for (name, value) in url.query_pairs() {
        security = match (name.as_ref(), value.as_ref()) {
            ("tls", "required") => security,
            ("tls", "off") if !implicit => Security::Off,
            ("tls", "off") => return refused("smtps:// is TLS: tls=off contradicts it"),
            ("tls", _) => return refused("the parameter tls is neither required nor off"),
            (other, _) => return Err(format!("there is no parameter {other:?}, only tls")),
        };
    }
    Ok(security)
}

fn login(url: &Url) -> Result<Option<(String, String)>, String> {
    let decoded = |text: &str, part: &str| {
        let text = percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| format!("the {part} is not UTF-8"))?;
        if text.contains('\0') {
            return Err(format!("the {part} contains a NUL"));
        }
        Ok(text.into_owned())
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) => refused("there is a password without a user"),
        (_, None | Some("")) => refused("there is a user without a password"),
        (user, Some(password)) => Ok(Some((
            decoded(user, "user")?,
            decoded(password, "password")?,
        ))),
    }
}

/// The sender of mails, such as `The shop <no-reply@shop.example>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Sender(pub(super) Mailbox);

impl Default for Sender {
    fn default() -> Self {
        let sender = "The shop <no-reply@shop.example>".parse();
        Self(sender.expect("it is an address"))
    }
}

impl TryFrom<String> for Sender {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(char::is_control) {
            return refused("it contains a control character");
        }
        text.parse()
            .map(Self)
            .map_err(|_| "it is not an address".into())
    }
}

impl From<Sender> for String {
    fn from(sender: Sender) -> Self {
        sender.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> SmtpServer {
        url.parse().unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    #[test]
    fn every_part_of_a_url_is_used() {
        let server = parsed("smtp://us%3Aer:p%40s%2Fs+@mail.example.com");
        let login = ("us:er".to_owned(), "p@s/s+".to_owned());
        assert_eq!(server.login, Some(login));
        assert_eq!((server.port, server.security), (587, Security::StartTls));
        let server = parsed("smtps://[2001:db8::1]/");
        assert_eq!((server.host.as_str(), server.port), ("2001:db8::1", 465));
        let server = parsed("smtp://127.0.0.1:2525?tls=off");
        assert_eq!((server.port, server.security), (2525, Security::Off));
        assert_eq!(parsed("smtp://relay?tls=off").port, 25);
        assert_eq!(parsed("smtp://a?tls=required").security, Security::StartTls);
    }

    #[test]
    fn a_url_that_asks_for_something_else_is_refused_without_its_password() {
        for url in [
            "",
            "mail.example.com:587",
            "http://a",
            "smtp://",
            "smtp://a:99999",
            "smtp://a/inbox",
            "smtp://a#x",
            "smtp://a?tls=opportunistic",
            "smtp://a?timeout=5",
            "smtps://a?tls=off",
            "smtp://user@a",
            "smtp://:s3cret@a",
            "smtp://user:s3cret%ff@a",
            "smtp://user:s3cret%00@a",
            "smtp://user:s3cret@mail.example.com?tls=off",
        ] {
            let why = url.parse::<SmtpServer>().expect_err(url);
            assert!(!why.contains("s3cret"), "{url}: {why}");
        }
        let server = parsed("smtp://user:s3cret@a");
        assert!(!format!("{server:?}").contains("s3cret"));
    }

    #[test]
    fn only_a_server_without_tls_outside_of_private_networks_is_exposed() {
        assert!(parsed("smtp://mail.example.com?tls=off").is_exposed());
        assert!(!parsed("smtp://mail.example.com").is_exposed());
        assert!(!parsed("smtp://relay?tls=off").is_exposed());
    }

    #[test]
    fn a_sender_is_an_address_without_further_headers() {
        let sender = Sender::try_from("Ops <ops@example.com>".to_owned());
        assert_eq!(sender.map(String::from), Ok("Ops <ops@example.com>".into()));
        assert!(Sender::try_from("a@b.example\r\nBcc: c@d.example".to_owned()).is_err());
        assert!(Sender::try_from("shop".to_owned()).is_err());
    }
}
