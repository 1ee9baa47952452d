//! Contents of records and messages inside recordings.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The name of the field with bytes that are not JSON, in hexadecimal.
const HEX: &str = "wb.hex";
/// The name of the field in place of a content that is not recorded.
const WITHHELD: &str = "wb.withheld";

/// The content of a record, a row or a message: JSON as it was stored.
///
/// Bytes that are not JSON are `{"wb.hex": "…"}`. A content that is left out is
/// `{"wb.withheld": "reason"}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Body(#[schemars(with = "Value")] Box<RawValue>);

impl Body {
    /// Takes over stored bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let json = std::str::from_utf8(bytes).map(|text| RawValue::from_string(text.to_owned()));
        match json {
            Ok(Ok(raw)) => Self(raw),
            _ => Self::field(HEX, &hex::encode(bytes)),
        }
    }

    /// Takes over a JSON value.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        Self::of(value.to_string().as_bytes())
    }

    /// Stands for a content that is left out for this reason.
    pub(crate) fn withheld(reason: &str) -> Self {
        Self::field(WITHHELD, reason)
    }

    fn field(name: &str, value: &str) -> Self {
        Self::of_value(&serde_json::json!({ name: value }))
    }

    /// Returns whether the content is left out.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        self.value().get(WITHHELD).is_some()
    }

    /// Returns the content as a JSON value.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }

    /// Returns the bytes as they were stored.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let text = self.0.get();
        let bytes = text
            .contains(HEX)
            .then(|| hex::decode(self.value().get(HEX)?.as_str()?).ok())
            .flatten();
        bytes.map_or_else(|| Bytes::copy_from_slice(text.as_bytes()), Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_return_as_they_were() {
        for bytes in [&b"{\"b\":1, \"a\":2}"[..], b"\xff\x00", b"no json", b""] {
            let body = Body::of(bytes);
            let again: Body = serde_json::from_slice(&serde_json::to_vec(&body).unwrap()).unwrap();
            assert_eq!(again.bytes(), bytes);
            assert!(!again.is_withheld());
        }
        assert!(Body::withheld("personal").is_withheld());
    }
}
