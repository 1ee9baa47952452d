//! What a test of a saga as a pure function asks of its effects.

use wingbeat_core::Timestamp;

use super::effects::SagaEffects;

impl<I> SagaEffects<I> {
    /// Effects of a step at this time: for tests of sagas as pure functions.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    /// The wire types of the messages asked for so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<&'static str> {
        let messages = self.effects.messages.iter();
        messages.map(|message| message.name).collect()
    }

    /// The body of the first message of this wire type.
    #[must_use]
    pub fn body(&self, message: &str) -> Option<&[u8]> {
        let mut messages = self.effects.messages.iter();
        let found = messages.find(|asked| asked.name == message);
        found.map(|asked| &*asked.body)
    }

    /// The wire types of the timers set so far.
    #[must_use]
    pub fn timers(&self) -> Vec<&'static str> {
        self.timers.iter().map(|(name, ..)| *name).collect()
    }

    /// The wire types of the timers cancelled so far.
    #[must_use]
    pub fn cancelled(&self) -> &[&'static str] {
        &self.cancelled
    }

    /// Whether the input is to come again later.
    #[must_use]
    pub fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Whether the saga ends with this step.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}
