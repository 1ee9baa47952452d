//! The life of one payment.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, OrderId};
use wingbeat::{Entity, JsonSchema, schemars};

/// What the provider is asked to do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Hold the amount.
    Authorize,
    /// Take it.
    Capture,
    /// Let go of it.
    Void,
    /// Pay it back.
    Refund,
}

/// What the provider answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
    /// Declined or refused: an answer, not a failure.
    Refused,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was asked yet.
    #[default]
    New,
    /// The provider is being asked to hold.
    Authorizing,
    /// Held.
    Authorized,
    /// The card was declined.
    Declined,
    /// The provider is being asked to take.
    Capturing,
    /// Taken.
    Captured,
    /// Held, but it will not be given.
    CaptureRefused,
    /// To be let go of as soon as the authorization is answered.
    VoidWanted,
    /// The provider is being asked to let go.
    Voiding,
    /// Nothing is held, and nothing will be: also the tombstone of a payment that never began.
    Voided,
    /// The provider is being asked to pay back.
    Refunding,
    /// Paid back.
    Refunded,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the provider.
    Ask(Operation),
    /// Tell how it stands.
    Tell(State),
    /// Wait for the provider.
    Wait,
}

/// One payment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// How much.
    pub amount: Money,
    /// The card, as the provider knows it.
    pub token: String,
    /// Where it stands.
    pub state: State,
    /// What was taken.
    pub captured: Money,
    /// What was paid back.
    pub refunded: Money,
}

impl Entity for Payment {
    const NAME: &'static str = "payment";
    type Id = OrderId;
}

impl Payment {
    /// Asked to hold an amount.
    pub fn authorize(&mut self, amount: Money, token: String) -> Next {
        match self.state {
            State::New => {
                (self.amount, self.token) = (amount, token);
                self.ask(State::Authorizing, Operation::Authorize)
            }
            State::Voided => Next::Tell(State::Declined), // The compensation came first.
            State::Authorizing | State::VoidWanted => Next::Wait,
            State::Declined => Next::Tell(State::Declined),
            _ => Next::Tell(State::Authorized),
        }
    }

    /// Asked to take what is held.
    pub fn capture(&mut self) -> Next {
        match self.state {
            State::Authorized => self.ask(State::Capturing, Operation::Capture),
            State::Capturing => Next::Wait,
            State::Captured | State::Refunding | State::Refunded => Next::Tell(State::Captured),
            _ => Next::Tell(State::CaptureRefused),
        }
    }

    /// Asked to let go, whether anything is held or not.
    pub fn void(&mut self) -> Next {
        match self.state {
            State::Authorized | State::CaptureRefused => self.ask(State::Voiding, Operation::Void),
            State::Authorizing | State::VoidWanted => {
                self.state = State::VoidWanted;
                Next::Wait
            }
            State::Voiding => Next::Wait,
            State::New | State::Declined | State::Voided => {
                self.state = State::Voided;
                Next::Tell(State::Voided)
            }
            // Taken already: only a refund can undo it.
            State::Capturing | State::Captured | State::Refunding | State::Refunded => {
                self.refund()
            }
        }
    }

    /// Asked to pay back.
    pub fn refund(&mut self) -> Next {
        match self.state {
            State::Captured => self.ask(State::Refunding, Operation::Refund),
            State::Refunded => Next::Tell(State::Refunded),
            State::Refunding | State::Capturing => Next::Wait,
            _ => self.void(),
        }
    }

    /// The provider answered. An answer nobody waits for changes nothing.
    pub fn answered(&mut self, operation: Operation, answer: Answer) -> Next {
        match (self.state, operation, answer) {
            (State::Authorizing, Operation::Authorize, Answer::Done) => {
                self.tell(State::Authorized)
            }
            (State::Authorizing, Operation::Authorize, Answer::Refused) => {
                self.tell(State::Declined)
            }
            (State::VoidWanted, Operation::Authorize, Answer::Done) => {
                self.ask(State::Voiding, Operation::Void)
            }
            (State::VoidWanted, Operation::Authorize, Answer::Refused) => self.tell(State::Voided),
            (State::Capturing, Operation::Capture, Answer::Done) => {
                self.captured = self.amount;
                self.tell(State::Captured)
            }
            (State::Capturing, Operation::Capture, Answer::Refused) => {
                self.tell(State::CaptureRefused)
            }
            (State::Voiding, Operation::Void, _) => self.tell(State::Voided),
            (State::Refunding, Operation::Refund, _) => {
                self.refunded = self.captured;
                self.tell(State::Refunded)
            }
            _ => Next::Wait,
        }
    }

    fn ask(&mut self, state: State, operation: Operation) -> Next {
        self.state = state;
        Next::Ask(operation)
    }

    fn tell(&mut self, state: State) -> Next {
        self.state = state;
        Next::Tell(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized() -> Payment {
        let mut payment = Payment::default();
        assert_eq!(
            payment.authorize(Money::eur(100), "tok_ok".into()),
            Next::Ask(Operation::Authorize)
        );
        assert_eq!(
            payment.answered(Operation::Authorize, Answer::Done),
            Next::Tell(State::Authorized)
        );
        payment
    }

    #[test]
    fn a_payment_is_captured_once_however_often_it_is_asked() {
        let mut payment = authorized();
        assert_eq!(payment.capture(), Next::Ask(Operation::Capture));
        assert_eq!(payment.capture(), Next::Wait);
        assert_eq!(
            payment.answered(Operation::Capture, Answer::Done),
            Next::Tell(State::Captured)
        );
        assert_eq!(payment.capture(), Next::Tell(State::Captured));
    }

    #[test]
    fn a_void_that_comes_first_leaves_a_tombstone() {
        let mut payment = Payment::default();
        assert_eq!(payment.void(), Next::Tell(State::Voided));
        assert_eq!(
            payment.authorize(Money::eur(100), "tok_ok".into()),
            Next::Tell(State::Declined)
        );
        assert_eq!(payment.capture(), Next::Tell(State::CaptureRefused));
    }

    #[test]
    fn a_void_during_the_authorization_waits_for_its_answer() {
        let mut payment = Payment::default();
        payment.authorize(Money::eur(100), "tok_slow".into());
        assert_eq!(payment.void(), Next::Wait);
        assert_eq!(
            payment.answered(Operation::Authorize, Answer::Done),
            Next::Ask(Operation::Void)
        );
        assert_eq!(
            payment.answered(Operation::Void, Answer::Done),
            Next::Tell(State::Voided)
        );
    }

    #[test]
    fn a_captured_payment_can_only_be_refunded() {
        let mut payment = authorized();
        payment.capture();
        payment.answered(Operation::Capture, Answer::Done);
        assert_eq!(payment.void(), Next::Ask(Operation::Refund));
        assert_eq!(
            payment.answered(Operation::Refund, Answer::Done),
            Next::Tell(State::Refunded)
        );
        assert_eq!(payment.refunded, payment.captured);
    }
}
