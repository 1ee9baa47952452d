//! The recorded stories of a running app.

use wingbeat_core::{CorrelationId, Result};

use super::running::Running;
use crate::story::{Story, export};

impl Running {
    /// Returns what the services that run here have recorded of a story, with personal data
    /// masked. Empty unless the app [records](crate::App::recording) this story.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a recording cannot be read.
    pub async fn recorded(&self, story: CorrelationId) -> Result<Story> {
        let mut whole = Story::new(story);
        for service in self.services.values() {
            whole.merge(export(service, story).await?);
        }
        Ok(whole)
    }
}
