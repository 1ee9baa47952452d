//! Inspection of the effects of a step, for tests of sagas as pure functions.

use wingbeat_core::Timestamp;

use super::effects::SagaEffects;

impl<I> SagaEffects<I> {
    /// Creates empty effects of a step at the time `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    /// Returns the wire types of the recorded messages, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<&'static str> {
        let messages = self.effects.messages.iter();
        messages.map(|message| message.name).collect()
    }

    /// Returns the body of the first recorded message with this wire type.
    #[must_use]
    pub fn body(&self, message: &str) -> Option<&[u8]> {
        let mut messages = self.effects.messages.iter();
        let found = messages.find(|recorded| recorded.name == message);
        found.map(|recorded| &*recorded.body)
    }

    /// Returns the wire types of the timers that were set.
    #[must_use]
    pub fn timers(&self) -> Vec<&'static str> {
        self.timers.iter().map(|(name, ..)| *name).collect()
    }

    /// Returns the wire types of the timers that were cancelled.
    #[must_use]
    pub fn cancelled(&self) -> &[&'static str] {
        &self.cancelled
    }

    /// Returns `true` if the step defers the input.
    #[must_use]
    pub fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Returns `true` if the saga ends with this step.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}
