//! Fields that travel with a trace and that Wingbeat passes on without reading them.

use serde::{Deserialize, Serialize};

/// The longest `tracestate`, in bytes. W3C Trace Context requires at least 512.
pub const TRACESTATE_MAX: usize = 512;
/// The longest `baggage`, in bytes. W3C Baggage requires at least 8,192.
pub const BAGGAGE_MAX: usize = 8 << 10;

/// `tracestate` (W3C Trace Context) and `baggage` (W3C Baggage) of a message or a request.
///
/// Everything that a unit causes carries the fields of its cause.
///
/// ```
/// use wingbeat_core::Propagation;
///
/// let fields = Propagation::new(Some("vendor=1"), Some("tenant=7"));
/// assert_eq!(fields.tracestate(), Some("vendor=1"));
/// let invalid = Propagation::new(Some("line\nfeed"), None);
/// assert_eq!(invalid, Propagation::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<Box<str>>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    baggage: Option<Box<str>>,
}

impl Propagation {
    /// Creates the fields. One that is empty, too long or not printable ASCII is dropped, as W3C
    /// Trace Context requires of invalid values.
    #[must_use]
    pub fn new(tracestate: Option<&str>, baggage: Option<&str>) -> Self {
        let valid = |field: Option<&str>, longest: usize| {
            let field = field.filter(|field| !field.is_empty() && field.len() <= longest);
            let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
            field
                .filter(|field| field.as_bytes().iter().all(printable))
                .map(Into::into)
        };
        Self {
            tracestate: valid(tracestate, TRACESTATE_MAX),
            baggage: valid(baggage, BAGGAGE_MAX),
        }
    }

    /// Returns `tracestate`.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// Returns `baggage`.
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.baggage.as_deref()
    }

    /// Returns `true` if there is neither field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracestate.is_none() && self.baggage.is_none()
    }
}
