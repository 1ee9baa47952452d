//! Trust between services: signatures on commands, and the keys that make and verify them.
//!
//! A command changes the data of another service: it refunds an order, or sends a mail. Without
//! signatures, any client that may write to the broker can send one. With
//! [`App::signed`](crate::App::signed) each service signs its commands with a key of its own, and
//! the receiver hands a command to its handler only if the signature is one of a service that sends
//! this command. Any other command becomes a dead letter with the reason `forged`.
//!
//! Events are not signed. They state what their publisher has done and ask for nothing. The
//! permissions of the broker keep others from publishing under their names (`docs/security.md`).

#[cfg(feature = "signing")]
mod ed25519;
#[cfg(feature = "signing")]
mod pair;
#[cfg(feature = "signing")]
mod pem_files;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wingbeat_core::{Envelope, Name, Signatures, sabotage};

use crate::describe::ServiceDescription;

#[cfg(feature = "signing")]
pub use ed25519::Ed25519;
#[cfg(all(feature = "signing", feature = "host"))]
pub(crate) use pem_files::NewKey;
pub use request::{CALLER_HEADER, RequestText};

/// The reason of dead letters that are commands without a valid signature.
pub(crate) const FORGED: &str = "forged";

/// The keys of a system, and the treatment of commands without a signature.
///
/// ```
/// # #[cfg(feature = "signing")]
/// # {
/// use std::sync::Arc;
/// use wingbeat::trust::{Ed25519, Trust};
/// use wingbeat::{App, Service};
///
/// let keys = Ed25519::generated(["orders", "payments"]);
/// let app = App::new()
///     .service(Service::new("orders"))
///     .service(Service::new("payments"))
///     .signed(Trust::new(Arc::new(keys)));
/// # assert!(app.check().is_ok());
/// # }
/// ```
#[derive(Clone)]
pub struct Trust {
    signatures: Arc<dyn Signatures>,
    accept_unsigned: bool,
}

impl Trust {
    /// Signs commands, and refuses those without a valid signature.
    #[must_use]
    pub fn new(signatures: Arc<dyn Signatures>) -> Self {
        Self {
            signatures,
            accept_unsigned: false,
        }
    }

    /// Sets whether commands without any signature are handled: for the time in which not every
    /// process signs yet, and queues contain commands of earlier releases. An invalid signature is
    /// refused all the same.
    #[must_use]
    pub fn with_accept_unsigned(self, accept_unsigned: bool) -> Self {
        Self {
            accept_unsigned,
            ..self
        }
    }

    /// Returns the keys.
    #[must_use]
    pub fn signatures(&self) -> &Arc<dyn Signatures> {
        &self.signatures
    }
}

/// Signs and verifies the commands of a system.
pub(crate) struct Commands {
    trust: Trust,
    /// The services of the system.
    family: Arc<BTreeSet<&'static str>>,
    /// Systems of other owners.
    outside: BTreeSet<String>,
    /// The services that send a command, by type. Types are absent whose senders declare nothing.
    senders: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// The admission of a command to its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It has a valid signature.
    Signed,
    /// It has no signature, and those are accepted.
    Unsigned,
}

impl Commands {
    pub(crate) fn new(
        trust: Trust,
        family: Arc<BTreeSet<&'static str>>,
        outside: BTreeSet<String>,
    ) -> Self {
        Self {
            trust,
            family,
            outside,
            senders: BTreeMap::new(),
        }
    }

    /// Adds the commands that a service sends, as its wiring declares them: those to others, and
    /// internal ones, which it sends to itself.
    pub(crate) fn describe(&mut self, service: &ServiceDescription) {
        for command in service.commands() {
            let senders = self.senders.entry(command.name).or_default();
            senders.insert(service.name.as_str());
        }
    }

    /// Adds a sender of a command that the runtime sends.
    pub(crate) fn allow(&mut self, command: Name, sender: &'static str) {
        let senders = self.senders.entry(command.as_str()).or_default();
        senders.insert(sender);
    }

    /// Signs a command of a service of this process.
    pub(crate) fn sign(&self, service: Name, command: &mut Envelope) {
        let text = command.signed_text();
        command.signature = self.trust.signatures.sign(service, &text);
    }

    /// Returns whether a command may be handled.
    ///
    /// # Errors
    ///
    /// The reason why it is `forged`.
    pub(crate) fn admit(&self, command: &Envelope) -> Result<Admitted, String> {
        if sabotage::lacks(sabotage::SIGNATURES) {
            return Ok(Admitted::Signed);
        }
        let (source, kind) = (&*command.source, &*command.kind);
        let Some(signature) = &command.signature else {
            return if self.trust.accept_unsigned {
                Ok(Admitted::Unsigned)
            } else {
                Err(format!(
                    "the command has no signature; its source is `{source}`"
                ))
            };
        };
        if !self.may_send(source, kind) {
            return Err(format!("`{source}` is not a sender of `{kind}`"));
        }
        let text = command.signed_text();
        if !self.trust.signatures.verifies(source, &text, signature) {
            return Err(format!("the signature is not one of `{source}`"));
        }
        Ok(Admitted::Signed)
    }

    /// Returns whether a source may send a type: a service whose wiring declares it, any service if
    /// none declares it, or a system of another owner.
    fn may_send(&self, source: &str, kind: &str) -> bool {
        if self.outside.contains(source) && !self.family.contains(source) {
            return true;
        }
        let declared = self.senders.get(kind);
        declared.map_or_else(
            || self.family.contains(source),
            |senders| senders.contains(source),
        )
    }
}
