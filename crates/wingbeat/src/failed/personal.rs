//! Failed deliveries of messages with personal data: their bodies are stored encrypted, under the
//! key of the subject that the message's key names.

use serde::{Deserialize, Serialize};
use wingbeat_core::{Envelope, Error, Result};

use crate::state::{Personal, Subjects};
use crate::unit::Scope;
use crate::{decode, encode};

/// The body of a message.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Text(String),
    /// In hexadecimal, because it is not UTF-8.
    Bytes(String),
}

/// Returns the encrypted body, if the envelope has one. Nothing else has this form: a body that
/// imitates it cannot be decrypted and becomes a dead letter.
fn encrypted(envelope: &Envelope) -> Option<Personal<Body>> {
    let body = decode::<Personal<Body>>(&envelope.body).ok()?;
    body.is_encrypted().then_some(body)
}

/// Returns whether the body of a message is encrypted.
pub(super) fn is_encrypted(envelope: &Envelope) -> bool {
    encrypted(envelope).is_some()
}

/// Encrypts the body for a parked delivery or a dead letter. The body of an erased subject is
/// dropped.
pub(crate) async fn encrypt(scope: &Scope, envelope: &Envelope) -> Result<Envelope> {
    if encrypted(envelope).is_some() {
        return Ok(envelope.clone());
    }
    let body = match std::str::from_utf8(&envelope.body) {
        Ok(text) => Body::Text(text.to_owned()),
        Err(_) => Body::Bytes(hex::encode(&envelope.body)),
    };
    let body = Subjects::of(scope).encrypt(&envelope.key, &body).await?;
    Ok(Envelope {
        body: encode(&body),
        ..envelope.clone()
    })
}

/// Decrypts the body of a delivery that was parked; `None` if the subject was erased meanwhile.
pub(crate) async fn decrypt(scope: &Scope, envelope: &Envelope) -> Result<Option<Envelope>> {
    let Some(body) = encrypted(envelope) else {
        return Ok(Some(envelope.clone()));
    };
    let body = Subjects::of(scope).decrypt(&envelope.key, &body).await?;
    let body = match body {
        None => return Ok(None),
        Some(Body::Text(text)) => text.into_bytes(),
        Some(Body::Bytes(hex)) => hex::decode(hex)
            .map_err(|_| Error::reject("undecodable", "a parked body cannot be read"))?,
    };
    Ok(Some(Envelope {
        body: body.into(),
        ..envelope.clone()
    }))
}
