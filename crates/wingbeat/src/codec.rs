//! JSON of messages and stored records.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::{Envelope, Error, Message, Propagation, Result, Runtime, RuntimeExt as _};

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

/// Returns the envelope in which a program outside of the system publishes a message: with an id
/// and a correlation of its own, without a cause and without a signature.
///
/// For tests and benchmarks that publish through a [`Transport`](crate::ports::Transport). In a
/// service, handlers return the messages to publish.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::ports::published_by;
/// use wingbeat::{Event, JsonSchema, TokioRuntime, schemars};
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "till.sold", version = 1, key = item)]
/// struct Sold {
///     item: String,
/// }
///
/// let sold = Sold { item: "egg".into() };
/// let envelope = published_by("till", &sold, &*TokioRuntime::new());
/// assert_eq!((&*envelope.kind, &*envelope.key), ("till.sold.v1", "egg"));
/// ```
pub fn published_by<M: Message>(
    source: &'static str,
    message: &M,
    runtime: &dyn Runtime,
) -> Envelope {
    let id = runtime.id();
    Envelope {
        id: id.into(),
        source: source.into(),
        kind: M::NAME.into(),
        role: M::KIND,
        key: message.key(),
        time: runtime.now(),
        correlation: id.into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Propagation::default(),
        signature: None,
        dialog: None,
        body: encode(message),
    }
}
