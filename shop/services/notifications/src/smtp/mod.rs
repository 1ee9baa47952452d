//! Mails by SMTP (RFC 5321), with lettre.
//!
//! A mail is accepted by the server at least once: if a connection breaks after the mail was sent
//! and before the server replied, the mail is sent again. All attempts have the same `Message-ID`,
//! by which mail servers and readers recognise the repetition.
#![allow(
    clippy::disallowed_methods,
    reason = "the adapter to a real mail server; simulations use the mailbox"
)]

mod message;
mod server;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, Identity, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use thiserror::Error;
use wingbeat::Failure;
use wingbeat::tls::{self, TlsFiles};

pub use message::{Addressed, message_id};
pub use server::{Security, Sender, SmtpServer};

/// The time limit of a connection attempt.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The time within which an idle connection must answer.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);
/// Connections that are kept for further mails.
const IDLE_MAX: usize = 8;

/// A client of a mail server. Clones share its connections.
#[derive(Clone)]
pub struct Smtp(Arc<Client>);

struct Client {
    server: SmtpServer,
    sender: Sender,
    files: TlsFiles,
    /// The last parameters that could be read from the files.
    tls: Mutex<Option<TlsParameters>>,
    hello: ClientId,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

/// The reason why a mail was not sent. The texts do not contain the recipient.
#[derive(Debug, Error, Failure)]
pub enum MailError {
    /// The mail server cannot be used, or the connection broke. Whether it has taken the mail may
    /// be unknown.
    #[error("the mail server cannot be used: {0}")]
    #[failure(retry)]
    MailUnavailable(String),
    /// The server refused the mail temporarily.
    #[error("the mail server refused the mail temporarily: {0}")]
    #[failure(retry)]
    MailDelayed(String),
    /// The server refused the mail permanently, or the address is not valid.
    #[error("the mail is refused permanently: {0}")]
    #[failure(reject)]
    MailRefused(String),
}

impl Smtp {
    /// Creates a client. It connects when it sends the first mail.
    ///
    /// # Errors
    ///
    /// `tls_invalid` if a file of the TLS settings cannot be used.
    pub fn new(server: SmtpServer, sender: Sender, files: &TlsFiles) -> wingbeat::Result<Self> {
        let tls = match server.security {
            Security::Off => None,
            Security::StartTls | Security::Implicit => Some(parameters(&server.host, files)?),
        };
        Ok(Self(Arc::new(Client {
            server,
            sender,
            files: files.clone(),
            tls: Mutex::new(tls),
            hello: ClientId::default(),
            idle: Mutex::default(),
        })))
    }

    /// Sends a mail.
    pub(crate) async fn send(&self, mail: &Addressed<'_>) -> Result<(), MailError> {
        let (envelope, content) = message::write(&self.0.sender.0, mail)?;
        let mut connection = self.0.connection().await?;
        // Dropping this future closes the connection: only whole conversations give it back.
        let sent = connection.send(&envelope, &content).await;
        match sent {
            Ok(_) => {
                self.0.keep(connection);
                Ok(())
            }
            Err(why) => Err(refusal(&why)),
        }
    }
}

impl Client {
    fn idle(&self) -> MutexGuard<'_, Vec<AsyncSmtpConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    /// Returns a connection that is alive: an idle one, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, MailError> {
        loop {
            let Some(mut connection) = self.idle().pop() else {
                return self.connect().await;
            };
            let alive = tokio::time::timeout(ALIVE_WITHIN, connection.test_connected()).await;
            if alive == Ok(true) {
                return Ok(connection);
            }
        }
    }

    /// Returns the TLS of a new connection. Renewed certificates are used at once; while a file
    /// cannot be read, the old ones are.
    fn tls(&self) -> Option<TlsParameters> {
        let mut last = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some() && tls::has_paths(&self.files) {
            match parameters(&self.server.host, &self.files) {
                Ok(renewed) => *last = Some(renewed),
                Err(why) => {
                    tracing::error!(code = why.code(), "{why}; the old certificates are used");
                }
            }
        }
        last.clone()
    }

    /// Connects and signs in. A refusal here is about the server or the password, not about a mail.
    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let unavailable = |why: SmtpError| MailError::MailUnavailable(causes(&why));
        let (implicit, upgrade) = match self.server.security {
            Security::Implicit => (self.tls(), None),
            Security::StartTls => (None, self.tls()),
            Security::Off => (None, None),
        };
        let address = (self.server.host.as_str(), self.server.port);
        let within = Some(CONNECT_WITHIN);
        let connected =
            AsyncSmtpConnection::connect_tokio1(address, within, &self.hello, implicit, None).await;
        let mut connection = connected.map_err(unavailable)?;
        if let Some(tls) = upgrade {
            if !connection.can_starttls() {
                let text = "it offers no STARTTLS, and mails are not sent without TLS";
                return Err(MailError::MailUnavailable(text.into()));
            }
            let upgraded = connection.starttls(tls, &self.hello).await;
            upgraded.map_err(unavailable)?;
        }
        if let Some((user, password)) = &self.server.login {
            let credentials = Credentials::new(user.clone(), password.clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let welcome = connection.auth(&mechanisms, &credentials).await;
            welcome.map_err(unavailable)?;
        }
        Ok(connection)
    }
}

/// The TLS of the connections: the authorities and the client certificate of the settings.
fn parameters(host: &str, files: &TlsFiles) -> wingbeat::Result<TlsParameters> {
    let invalid = |why: SmtpError| {
        let text = "the TLS settings cannot be used for the mail server";
        wingbeat::Error::reject("tls_invalid", text).because(why)
    };
    let mut builder =
        TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for root in tls::roots(files)? {
        let root = Certificate::from_der(root.to_vec()).map_err(invalid)?;
        builder = builder.add_root_certificate(root);
    }
    if let (Some((chain, _)), Some(key)) = (tls::identity(files)?, &files.key) {
        let [certificate] = &chain[..] else {
            let text = "mails are sent without intermediate certificates: --tls-cert must contain one certificate";
            return Err(wingbeat::Error::reject("tls_invalid", text));
        };
        // Despite its name, the first argument is taken as DER.
        let identity = Identity::from_pem(certificate, &tls::pem(key, "key")?);
        let identity = identity.map_err(invalid)?;
        builder = builder.identify_with(identity);
    }
    builder.build().map_err(invalid)
}

/// Maps the refusal of one mail. Replies repeat the recipient's address, so only their codes are
/// kept.
fn refusal(why: &SmtpError) -> MailError {
    let text = match why.status() {
        Some(code) => format!("{code}{}", enhanced(why)),
        None => causes(why),
    };
    let code = why.status().map(u16::from);
    match code {
        // About the session: sign-in required or failed (RFC 4954), closing (RFC 5321, 3.8).
        Some(421 | 530 | 534 | 535 | 538) => MailError::MailUnavailable(text),
        Some(400..500) => MailError::MailDelayed(text),
        Some(500..) => MailError::MailRefused(text),
        // The client itself refuses an address that the server cannot take.
        _ if why.is_client() => MailError::MailRefused(text),
        _ => MailError::MailUnavailable(text),
    }
}

/// Returns the enhanced status code (RFC 3463) at the begin of a reply, after a space.
fn enhanced(why: &SmtpError) -> String {
    let text = std::error::Error::source(why)
        .map(ToString::to_string)
        .unwrap_or_default();
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let parts: Vec<&str> = first.split('.').collect();
    if parts.len() == 3 && first.len() <= 11 && parts.into_iter().all(is_number) {
        format!(" {first}")
    } else {
        String::new()
    }
}

/// Returns an error and its causes in one line.
fn causes(why: &SmtpError) -> String {
    crate::domain::one_line(&wingbeat::causes(why))
}
