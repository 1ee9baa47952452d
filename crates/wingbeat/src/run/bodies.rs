//! The place for large bodies, from the settings.

use super::error::RunError;
use super::settings::{BodyPlace, Settings};
use crate::Ports;
use crate::bodies::LargeBodies;

/// Returns the place for large bodies; `None` if messages with such bodies are refused.
///
/// # Errors
///
/// `not_built` if the settings name a directory and the program lacks the feature `embedded`.
pub(super) fn place<S>(
    settings: &Settings<S>,
    ports: &Ports,
) -> Result<Option<LargeBodies>, RunError> {
    let bodies = match &settings.bodies {
        BodyPlace::Off => None,
        BodyPlace::Store => ports.store.bodies().map(LargeBodies::new),
        BodyPlace::Directory(path) => Some(directory(path)?),
    };
    Ok(bodies.map(|mut bodies| {
        bodies.threshold = settings.bodies_above;
        bodies.retention = settings.bodies_keep;
        bodies
    }))
}

#[cfg(feature = "embedded")]
#[allow(
    clippy::unnecessary_wraps,
    reason = "it fails without the feature `embedded`"
)]
fn directory(path: &std::path::Path) -> Result<LargeBodies, RunError> {
    Ok(LargeBodies::new(wingbeat_embedded::FileBodies::new(path)))
}

#[cfg(not(feature = "embedded"))]
fn directory(_: &std::path::Path) -> Result<LargeBodies, RunError> {
    let text = "built without the feature `embedded`: --bodies cannot be a directory";
    Err(crate::Error::reject("not_built", text).into())
}
