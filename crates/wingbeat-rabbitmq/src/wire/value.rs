//! Attributes of a delivery, and their AMQP types.

use lapin::message::Delivery;
use lapin::types::AMQPValue;
use wingbeat_core::Timestamp;

use super::PREFIX;

/// Returns a header by its name.
pub(super) fn plain<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

/// Returns the header of an attribute. The AMQP binding also allows the prefix `cloudEvents_`, for
/// clients that cannot send a colon.
pub(super) fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    let header = plain(delivery, &format!("{PREFIX}{name}"));
    let header = header.or_else(|| plain(delivery, &format!("cloudEvents_{name}")));
    header.filter(|value| !matches!(value, AMQPValue::Void))
}

/// Returns an attribute as text; `None` if it is absent or empty.
pub(super) fn text_of(delivery: &Delivery, name: &str) -> Result<Option<String>, String> {
    let Some(value) = header(delivery, name) else {
        return Ok(None);
    };
    let text = text(value).ok_or_else(|| format!("`{PREFIX}{name}` is not a text"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Converts a value to text. Bytes that are not UTF-8 are refused: with replacement characters, two
/// ids could become equal.
pub(super) fn text(value: &AMQPValue) -> Option<String> {
    let utf_8 = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(match value {
        AMQPValue::LongString(text) => return utf_8(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => return utf_8(bytes.as_slice()),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::Boolean(it) => it.to_string(),
        _ => return None,
    })
}

/// Returns the time of a message: the attribute, a text or an AMQP timestamp; else the AMQP
/// timestamp of the message; `None` if there is neither.
pub(super) fn time_of(delivery: &Delivery) -> Result<Option<Timestamp>, String> {
    let invalid = || format!("`{PREFIX}time` is no time in RFC 3339");
    match header(delivery, "time") {
        Some(AMQPValue::Timestamp(seconds)) => {
            seconds_since(*seconds).ok_or_else(invalid).map(Some)
        }
        Some(value) => {
            let text = text(value).ok_or_else(invalid)?;
            if text.is_empty() {
                return Ok(by_property(delivery));
            }
            parsed(text).ok_or_else(invalid).map(Some)
        }
        None => Ok(by_property(delivery)),
    }
}

/// Parses a time in RFC 3339.
pub(super) fn parsed(text: String) -> Option<Timestamp> {
    serde_json::from_value(serde_json::Value::String(text)).ok()
}

fn by_property(delivery: &Delivery) -> Option<Timestamp> {
    seconds_since((*delivery.properties.timestamp())?)
}

/// Converts seconds since the epoch.
fn seconds_since(seconds: u64) -> Option<Timestamp> {
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    let time = Timestamp::from_micros(micros);
    (time <= Timestamp::MAX).then_some(time)
}
