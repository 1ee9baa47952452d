//! JSON in and out.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::{Error, Message, Result};

/// Decodes JSON: a message body, or a stored record.
///
/// # Errors
///
/// `undecodable` (reject) if it is not the JSON of a `T`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|why| {
        let text = format!("the body does not fit its type: {why}");
        Error::reject("undecodable", text)
    })
}

/// Encodes a value of ours as JSON.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Bytes {
    serde_json::to_vec(value)
        .expect("our own types have string keys and so always encode")
        .into()
}

/// Encodes the body of a message, as it travels.
pub fn encode_body<M: Message>(message: &M) -> Bytes {
    encode(message)
}
