//! The life cycle of a payment.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, OrderId};
use wingbeat::{Entity, JsonSchema, schemars};

/// An operation at the provider.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Reserve the amount on the card.
    Authorize,
    /// Collect the authorized amount.
    Capture,
    /// Cancel the authorization.
    Void,
    /// Pay the captured amount back.
    Refund,
}

/// The provider's answer to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
    /// Declined or refused. This is an answer, not a failure.
    Refused,
}

/// The state of a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was requested yet.
    #[default]
    New,
    /// An authorization is in progress.
    Authorizing,
    /// The amount is authorized.
    Authorized,
    /// The card was declined.
    Declined,
    /// A capture is in progress.
    Capturing,
    /// The amount is captured.
    Captured,
    /// The amount is authorized, but the provider refused the capture.
    CaptureRefused,
    /// A void was requested during the authorization and follows its answer.
    VoidWanted,
    /// A void is in progress.
    Voiding,
    /// Nothing is authorized, and nothing will be. Also the tombstone of a payment that never
    /// began.
    Voided,
    /// A refund is in progress.
    Refunding,
    /// The amount is refunded.
    Refunded,
}

/// The next step of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call the provider.
    Call(Operation),
    /// Publish the state.
    Report(State),
    /// Wait for the provider's answer.
    Wait,
}

/// The payment of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payment {
    /// The amount to be paid.
    pub amount: Money,
    /// The provider's token of the card. It is removed once the authorization is answered.
    pub token: String,
    /// The state.
    pub state: State,
    /// The captured amount.
    pub captured: Money,
    /// The refunded amount.
    pub refunded: Money,
}

impl Entity for Payment {
    const NAME: &'static str = "payment";
    type Id = OrderId;
}

impl Payment {
    /// Requests an authorization.
    pub fn authorize(&mut self, amount: Money, token: String) -> Next {
        match self.state {
            State::New => {
                (self.amount, self.token) = (amount, token);
                self.call(State::Authorizing, Operation::Authorize)
            }
            State::Voided => Next::Report(State::Declined), // The void came first.
            State::Authorizing | State::VoidWanted => Next::Wait,
            State::Declined => Next::Report(State::Declined),
            _ => Next::Report(State::Authorized),
        }
    }

    /// Requests the capture of the authorized amount.
    pub fn capture(&mut self) -> Next {
        match self.state {
            State::Authorized => self.call(State::Capturing, Operation::Capture),
            State::Capturing => Next::Wait,
            State::Captured | State::Refunding | State::Refunded => Next::Report(State::Captured),
            _ => Next::Report(State::CaptureRefused),
        }
    }

    /// Requests a void, whether or not an amount is authorized.
    pub fn void(&mut self) -> Next {
        match self.state {
            State::Authorized | State::CaptureRefused => self.call(State::Voiding, Operation::Void),
            State::Authorizing | State::VoidWanted => {
                self.state = State::VoidWanted;
                Next::Wait
            }
            State::Voiding => Next::Wait,
            State::New | State::Declined | State::Voided => {
                self.state = State::Voided;
                Next::Report(State::Voided)
            }
            // A captured amount can only be refunded.
            State::Capturing | State::Captured | State::Refunding | State::Refunded => {
                self.refund()
            }
        }
    }

    /// Requests a refund.
    pub fn refund(&mut self) -> Next {
        match self.state {
            State::Captured => self.call(State::Refunding, Operation::Refund),
            State::Refunded => Next::Report(State::Refunded),
            State::Refunding | State::Capturing => Next::Wait,
            _ => self.void(),
        }
    }

    /// Records the provider's answer. An answer that is not expected changes nothing.
    pub fn answered(&mut self, operation: Operation, answer: Answer) -> Next {
        if operation == Operation::Authorize {
            self.token.clear(); // No other operation needs it.
        }
        match (self.state, operation, answer) {
            (State::Authorizing, Operation::Authorize, Answer::Done) => {
                self.report(State::Authorized)
            }
            (State::Authorizing, Operation::Authorize, Answer::Refused) => {
                self.report(State::Declined)
            }
            (State::VoidWanted, Operation::Authorize, Answer::Done) => {
                self.call(State::Voiding, Operation::Void)
            }
            (State::VoidWanted, Operation::Authorize, Answer::Refused) => {
                self.report(State::Voided)
            }
            (State::Capturing, Operation::Capture, Answer::Done) => {
                self.captured = self.amount;
                self.report(State::Captured)
            }
            (State::Capturing, Operation::Capture, Answer::Refused) => {
                self.report(State::CaptureRefused)
            }
            (State::Voiding, Operation::Void, _) => self.report(State::Voided),
            (State::Refunding, Operation::Refund, _) => {
                self.refunded = self.captured;
                self.report(State::Refunded)
            }
            _ => Next::Wait,
        }
    }

    fn call(&mut self, state: State, operation: Operation) -> Next {
        self.state = state;
        Next::Call(operation)
    }

    fn report(&mut self, state: State) -> Next {
        self.state = state;
        Next::Report(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized() -> Payment {
        let mut payment = Payment::default();
        assert_eq!(
            payment.authorize(Money::eur(100), "tok_ok".into()),
            Next::Call(Operation::Authorize)
        );
        assert_eq!(
            payment.answered(Operation::Authorize, Answer::Done),
            Next::Report(State::Authorized)
        );
        payment
    }

    #[test]
    fn a_repeated_capture_calls_the_provider_once() {
        let mut payment = authorized();
        assert_eq!(payment.capture(), Next::Call(Operation::Capture));
        assert_eq!(payment.capture(), Next::Wait);
        assert_eq!(
            payment.answered(Operation::Capture, Answer::Done),
            Next::Report(State::Captured)
        );
        assert_eq!(payment.capture(), Next::Report(State::Captured));
    }

    #[test]
    fn the_token_is_removed_once_the_authorization_is_answered() {
        for answer in [Answer::Done, Answer::Refused] {
            let mut payment = Payment::default();
            payment.authorize(Money::eur(100), "tok_ok".into());
            assert_eq!(payment.token, "tok_ok");
            payment.answered(Operation::Authorize, answer);
            assert_eq!(payment.token, "");
        }
    }

    #[test]
    fn a_void_before_the_authorization_leaves_a_tombstone() {
        let mut payment = Payment::default();
        assert_eq!(payment.void(), Next::Report(State::Voided));
        assert_eq!(
            payment.authorize(Money::eur(100), "tok_ok".into()),
            Next::Report(State::Declined)
        );
        assert_eq!(payment.capture(), Next::Report(State::CaptureRefused));
    }

    #[test]
    fn a_void_during_the_authorization_waits_for_its_answer() {
        let mut payment = Payment::default();
        payment.authorize(Money::eur(100), "tok_slow".into());
        assert_eq!(payment.void(), Next::Wait);
        assert_eq!(
            payment.answered(Operation::Authorize, Answer::Done),
            Next::Call(Operation::Void)
        );
        assert_eq!(
            payment.answered(Operation::Void, Answer::Done),
            Next::Report(State::Voided)
        );
    }

    #[test]
    fn a_captured_payment_can_only_be_refunded() {
        let mut payment = authorized();
        payment.capture();
        payment.answered(Operation::Capture, Answer::Done);
        assert_eq!(payment.void(), Next::Call(Operation::Refund));
        assert_eq!(
            payment.answered(Operation::Refund, Answer::Done),
            Next::Report(State::Refunded)
        );
        assert_eq!(payment.refunded, payment.captured);
    }

    #[test]
    fn a_payment_can_always_be_undone() {
        const ANSWERS: [Answer; 2] = [Answer::Done, Answer::Refused];
        const ALL: [Operation; 4] = [
            Operation::Authorize,
            Operation::Capture,
            Operation::Void,
            Operation::Refund,
        ];
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut payment = Payment::default();
            for _ in 0..random.usize(..12) {
                match random.u32(..5) {
                    0 => payment.authorize(Money::eur(100), "tok_ok".into()),
                    1 => payment.capture(),
                    2 => payment.void(),
                    3 => payment.refund(),
                    _ => payment.answered(ALL[random.usize(..4)], ANSWERS[random.usize(..2)]),
                };
            }
            for _ in 0..6 {
                let next = payment.refund();
                let waits = match payment.state {
                    State::Authorizing | State::VoidWanted => Some(Operation::Authorize),
                    State::Capturing => Some(Operation::Capture),
                    State::Voiding => Some(Operation::Void),
                    State::Refunding => Some(Operation::Refund),
                    _ => None,
                };
                if let (Some(operation), Next::Call(_) | Next::Wait) = (waits, next) {
                    payment.answered(operation, Answer::Done);
                }
            }
            let undone = matches!(
                payment.state,
                State::Voided | State::Refunded | State::Declined
            );
            assert!(undone, "seed {seed}: {payment:?}");
        }
    }
}
