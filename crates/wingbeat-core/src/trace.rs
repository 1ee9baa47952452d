//! Trace contexts: a trace and the span that caused something (W3C Trace Context).

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The `sampled` flag: the caller that started the trace may have recorded it.
const SAMPLED: u8 = 1;
/// The length of `00-<trace id>-<span id>-<flags>`.
const LENGTH: usize = 55;

/// A parsed `traceparent`: trace id, span id and flags.
///
/// ```
/// use wingbeat_core::TraceParent;
///
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let caller: TraceParent = header.parse()?;
/// let own = caller.child(7);
/// assert_eq!(own.trace_id(), caller.trace_id());
/// assert_eq!(own.to_string(), "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01");
/// # Ok::<(), wingbeat_core::trace::InvalidTraceParent>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: NonZeroU128,
    span: NonZeroU64,
    flags: u8,
}

/// The error for a text that is not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// Returns the root of the trace of a correlation id: the id is the trace id, and its last 64
    /// bits are the span id. So the trace of a correlation id is known without storing it.
    #[must_use]
    pub fn of(correlation: Uuid) -> Self {
        let trace = NonZeroU128::new(correlation.as_u128()).unwrap_or(NonZeroU128::MIN);
        Self {
            trace,
            span: tail(correlation),
            flags: SAMPLED,
        }
    }

    /// Creates the root of a trace from random bits.
    #[must_use]
    pub fn new(high: u64, low: u64, span: u64) -> Self {
        let trace = (u128::from(high) << 64) | u128::from(low | 1);
        Self {
            trace: NonZeroU128::new(trace).unwrap_or(NonZeroU128::MIN),
            span: span_of(span),
            flags: SAMPLED,
        }
    }

    /// Returns another span of the same trace, from random bits.
    #[must_use]
    pub fn child(self, span: u64) -> Self {
        Self {
            span: span_of(span),
            ..self
        }
    }

    /// Returns the span of a message or unit in the same trace. Its span id is the last 64 bits of
    /// `id`, so one can be found from the other.
    #[must_use]
    pub fn child_of_id(self, id: Uuid) -> Self {
        Self {
            span: tail(id),
            ..self
        }
    }

    /// Returns the trace id.
    #[must_use]
    pub fn trace_id(self) -> u128 {
        self.trace.get()
    }

    /// Returns the span id.
    #[must_use]
    pub fn span_id(self) -> u64 {
        self.span.get()
    }

    /// Returns the `sampled` flag: exporters record the spans of a sampled trace.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

fn span_of(bits: u64) -> NonZeroU64 {
    NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN)
}

/// Returns the last 64 bits of an id. In a version-7 UUID, 62 of them are random.
fn tail(id: Uuid) -> NonZeroU64 {
    span_of(id.as_u64_pair().1)
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Parses version 00, and of later versions the part that they share with it.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let lower = |part: &str| {
            part.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let part = |from: usize, to: usize| {
            let part = text.get(from..to).filter(|part| lower(part));
            part.ok_or(InvalidTraceParent)
        };
        let marks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-');
        let mut marks = marks.map(|(at, _)| at);
        let version = part(0, 2)?;
        let known = version == "00" && text.len() == LENGTH;
        let later = version != "00" && version != "ff";
        let later = later && (text.len() == LENGTH || text.as_bytes().get(LENGTH) == Some(&b'-'));
        if !(known || later)
            || [marks.next(), marks.next(), marks.next()] != [Some(2), Some(35), Some(52)]
        {
            return Err(InvalidTraceParent);
        }
        let trace = u128::from_str_radix(part(3, 35)?, 16).map_err(|_| InvalidTraceParent)?;
        let span = u64::from_str_radix(part(36, 52)?, 16).map_err(|_| InvalidTraceParent)?;
        Ok(Self {
            trace: NonZeroU128::new(trace).ok_or(InvalidTraceParent)?,
            span: NonZeroU64::new(span).ok_or(InvalidTraceParent)?,
            flags: u8::from_str_radix(part(53, LENGTH)?, 16).map_err(|_| InvalidTraceParent)?,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (self.trace, self.span);
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_printed_as_it_was_parsed() {
        let parent: TraceParent = TEXT.parse().expect("it is one");
        assert_eq!(parent.to_string(), TEXT);
        assert!(parent.is_sampled());
        let child = parent.child(7);
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_eq!(child.span_id(), 7);
        let unwanted: TraceParent = TEXT.replace("-01", "-00").parse().expect("it is one");
        assert!(!unwanted.child(7).is_sampled(), "the flag is inherited");
    }

    #[test]
    fn an_invalid_traceparent_is_rejected() {
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031\u{e9}-b7ad6b7169203331-01",
        ] {
            assert_eq!(
                wrong.parse::<TraceParent>(),
                Err(InvalidTraceParent),
                "{wrong}"
            );
        }
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes";
        assert!(later.parse::<TraceParent>().is_ok(), "a later version");
    }

    #[test]
    fn the_span_of_an_id_ends_with_the_same_digits() {
        let id = crate::ids::uuid_v7(crate::Timestamp::from_millis(5), 0x0123_4567_89ab_cdef);
        let span = TraceParent::of(id).child_of_id(id).span_id();
        assert!(id.simple().to_string().ends_with(&format!("{span:016x}")));
    }
}
