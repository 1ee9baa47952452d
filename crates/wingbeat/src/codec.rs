//! JSON of messages and stored records.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::{Error, Message, Result};

/// Decodes the JSON of a message body or a stored record.
///
/// ```
/// assert_eq!(wingbeat::decode::<Vec<u8>>(b"[1,2]").unwrap(), [1, 2]);
/// assert_eq!(wingbeat::decode::<u8>(b"300").unwrap_err().code(), "undecodable");
/// ```
///
/// # Errors
///
/// `undecodable` (class `Reject`) if `body` is not JSON of a `T`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|why| {
        let text = format!("the JSON does not match its type: {why}");
        Error::reject("undecodable", text)
    })
}

/// Checks that `body` is JSON of a `T`.
pub(crate) fn decodes<T: DeserializeOwned>(body: &[u8]) -> Result<()> {
    decode::<T>(body).map(drop)
}

/// Encodes a value as JSON. Its maps must have string keys.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Bytes {
    serde_json::to_vec(value)
        .expect("our own types have string keys and so always encode")
        .into()
}

/// Encodes a message as the JSON body of its envelope.
pub fn encode_body<M: Message>(message: &M) -> Bytes {
    encode(message)
}
