//! Lists of the operator's API, as far as they can be read.

use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::source::read;
use super::{Refused, Source};
use crate::run::ops::Items;

/// A list, or the reason why it could not be read.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// Services that did not answer: their entries are missing.
    pub(super) away: Vec<String>,
    /// The list could not be read at all.
    pub(super) failed: Option<String>,
}

impl<T> Listed<T> {
    /// Returns one sentence about what is missing.
    pub(super) fn missing(&self) -> Option<String> {
        if let Some(why) = &self.failed {
            return Some(format!("This list cannot be read at the moment: {why}"));
        }
        if self.away.is_empty() {
            return None;
        }
        Some(format!(
            "Not complete: no answer from {}.",
            self.away.join(", ")
        ))
    }
}

/// Reads a list. A page shows what it can while a server is unavailable; a refusal of the visitor
/// is an error.
pub(super) async fn list<T: DeserializeOwned>(
    source: &dyn Source,
    path: &str,
    visitor: &Parts,
) -> Result<Listed<T>, Refused> {
    let found: Result<Items<T>, Refused> = read(source, path, visitor).await;
    or_missing(found.map(|found| Listed {
        items: found.items,
        away: found.away,
        failed: None,
    }))
}

/// Replaces a failure of the server by an empty list.
pub(super) fn or_missing<T>(found: Result<Listed<T>, Refused>) -> Result<Listed<T>, Refused> {
    match found {
        Err(why) if why.status.is_server_error() => Ok(Listed {
            items: Vec::new(),
            away: Vec::new(),
            failed: Some(why.detail),
        }),
        found => found,
    }
}
