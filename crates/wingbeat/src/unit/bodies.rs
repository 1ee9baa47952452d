//! Stores the large bodies of a unit's messages, before the unit is sealed.

use wingbeat_core::Result;

use super::Scope;

impl Scope {
    /// Stores the bodies of messages that are too large, one after another, and replaces them by
    /// references. Call it before the scope is sealed: a message is not committed unless its body
    /// is durable, and its signature covers the reference.
    ///
    /// Bodies of a unit that is never committed expire with the other bodies of their day.
    ///
    /// # Errors
    ///
    /// `bodies_unavailable`; `sealed`.
    pub(crate) async fn store_bodies(&self) -> Result<()> {
        let Some(bodies) = self.service().bodies.as_ref() else {
            return Ok(());
        };
        while let Some((body, delay)) = self.with(|draft| draft.effects.next_body(bodies))? {
            let reference = bodies.put(&body, self.now() + delay).await?;
            self.with(|draft| draft.effects.replace_body(bodies, reference))?;
        }
        Ok(())
    }
}
