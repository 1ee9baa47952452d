//! The settings of the mail server: its URL, and the sender of mails.

use std::fmt;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use wingbeat::network::names_loopback;
use wingbeat::tls::{Host, Protection, ServerUrl, warn_if_exposed};
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
    /// Logs a warning if mails can be read on the way to the server.
    pub async fn warn_if_exposed(&self) {
        if self.security == Security::Off {
            let (name, port) = (self.host.clone(), Some(self.port));
            let hosts = [Host { name, port }];
            warn_if_exposed("the mail server", &hosts, Protection::Plaintext).await;
        }
    }
}

impl std::str::FromStr for SmtpServer {
    type Err = String;

    /// Parses a URL. The error contains no part of it that may be secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let in_url = |why| format!("the URL {why}");
        let mut url = ServerUrl::parse(text).map_err(in_url)?;
        let implicit = match url.scheme.as_str() {
            "smtp" => false,
            "smtps" => true,
            _ => return refused("the scheme is neither smtp nor smtps"),
        };
        let security = security(url.take("tls").as_deref(), implicit)?;
        url.finish(&["tls"]).map_err(in_url)?;
        if url.path.iter().any(|segment| !segment.is_empty()) || url.path.len() > 1 {
            return refused("a path is not supported");
        }
        let [host] = &url.hosts[..] else {
            return refused("one host is expected");
        };
        if host.is_unix() {
            return refused("the path of a socket is not supported");
        }
        let login = match (url.user, url.password) {
            (None, None) => None,
            (None, Some(_)) => return refused("there is a password without a user"),
            (Some(_), None) => return refused("there is a user without a password"),
            (Some(user), Some(password)) => Some((user, password)),
        };
        if login.is_some() && security == Security::Off && !names_loopback(&host.name) {
            return refused("a password needs TLS: leave out tls=off");
        }
        let default = match security {
            Security::StartTls => 587,
            Security::Implicit => 465,
            Security::Off => 25,
        };
        Ok(Self {
            host: host.name.clone(),
            port: host.port.unwrap_or(default),
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

/// `tls` is the parameter of the URL.
fn security(tls: Option<&str>, implicit: bool) -> Result<Security, String> {
    match tls {
        None | Some("required") if implicit => Ok(Security::Implicit),
        None | Some("required") => Ok(Security::StartTls),
        Some("off") if implicit => refused("smtps:// is TLS: tls=off contradicts it"),
        Some("off") => Ok(Security::Off),
        Some(_) => refused("the parameter tls is neither required nor off"),
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
        for (url, part) in [
            ("", "scheme"),
            ("mail.example.com:587", "scheme"),
            ("http://a", "scheme"),
            ("smtp://", "host"),
            ("smtp://a,b", "host"),
            ("smtp://%2Frun%2Fsmtp", "socket"),
            ("smtp://a:99999", "port"),
            ("smtp://a/inbox", "path"),
            ("smtp://a//", "path"),
            ("smtp://a#x", "fragment"),
            ("smtp://a?tls=opportunistic", "tls"),
            ("smtp://a?tls=off&tls=required", "twice"),
            ("smtp://a?timeout=5", "timeout"),
            ("smtps://a?tls=off", "contradicts"),
            ("smtp://user@a", "password"),
            ("smtp://:s3cret@a", "user"),
            ("smtp://user:s3cret%ff@a", "password"),
            ("smtp://user:s3cret%00@a", "password"),
            ("smtp://user:s3cret@mail.example.com?tls=off", "TLS"),
        ] {
            let why = url.parse::<SmtpServer>().expect_err(url);
            assert!(why.contains(part), "{url}: {why}");
            assert!(!why.contains("s3cret"), "{url}: {why}");
        }
        let server = parsed("smtp://user:s3cret@a");
        assert!(!format!("{server:?}").contains("s3cret"));
    }

    #[test]
    fn a_sender_is_an_address_without_further_headers() {
        let sender = Sender::try_from("Ops <ops@example.com>".to_owned());
        assert_eq!(sender.map(String::from), Ok("Ops <ops@example.com>".into()));
        assert!(Sender::try_from("a@b.example\r\nBcc: c@d.example".to_owned()).is_err());
        assert!(Sender::try_from("shop".to_owned()).is_err());
    }
}
