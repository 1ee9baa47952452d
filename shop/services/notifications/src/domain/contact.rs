//! What is known of a user, keyed by the user: the only place where name and address are kept.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use thiserror::Error;
use wingbeat::{Entity, Failure};

use super::Mail;

/// Mails that wait for one address. A user has a handful at most before their address arrives.
pub const PENDING_MAX: usize = 50;

/// Whom to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Where.
    pub email: String,
    /// Whom to greet.
    pub name: String,
    /// They want to hear of offers.
    pub marketing_opt_in: bool,
}

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Contact {
    /// Not yet where they live: mails wait. Events and the address arrive in any order.
    Unknown {
        /// Oldest first.
        pending: Vec<Mail>,
    },
    /// All.
    Known(Person),
    /// They were erased: nothing is sent, nor remembered again.
    Erased,
}

/// The address never came. Worth another attempt, and at last a dead letter that says so.
#[derive(Debug, Error, Failure, PartialEq, Eq)]
pub enum TooManyPending {
    /// As it says.
    #[error("{PENDING_MAX} mails wait for an address already")]
    #[failure(retry)]
    TooManyPending,
}

impl Entity for Contact {
    const NAME: &'static str = "contact";
    type Id = UserId;
}

impl Contact {
    /// Learns the address: the contact from now on, and the mails that waited for it.
    #[must_use]
    pub fn remember(current: Option<Self>, person: Person) -> (Self, Vec<Mail>) {
        match current {
            Some(Self::Erased) => (Self::Erased, Vec::new()),
            Some(Self::Unknown { pending }) => (Self::Known(person), pending),
            Some(Self::Known(_)) | None => (Self::Known(person), Vec::new()),
        }
    }

    /// Lets a mail wait, once.
    ///
    /// # Errors
    ///
    /// When too many wait.
    pub fn wait(mut pending: Vec<Mail>, mail: Mail) -> Result<Self, TooManyPending> {
        if !pending.contains(&mail) {
            if pending.len() >= PENDING_MAX {
                return Err(TooManyPending::TooManyPending);
            }
            pending.push(mail);
        }
        Ok(Self::Unknown { pending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Person {
        Person {
            email: "ada@example.org".into(),
            name: "Ada".into(),
            marketing_opt_in: false,
        }
    }

    #[test]
    fn mails_wait_for_the_address_and_are_then_handed_out_once() {
        let waiting = Contact::wait(Vec::new(), Mail::Welcome).unwrap();
        let (known, mails) = Contact::remember(Some(waiting), ada());
        assert_eq!(mails, vec![Mail::Welcome]);
        let (_, again) = Contact::remember(Some(known), ada());
        assert_eq!(again, vec![]);
    }

    #[test]
    fn the_same_mail_waits_once() {
        let waiting = Contact::wait(vec![Mail::Welcome], Mail::Welcome);
        let once = Contact::Unknown {
            pending: vec![Mail::Welcome],
        };
        assert_eq!(waiting, Ok(once));
    }

    #[test]
    fn an_erased_user_is_not_remembered_again() {
        let (contact, mails) = Contact::remember(Some(Contact::Erased), ada());
        assert_eq!((contact, mails), (Contact::Erased, vec![]));
    }
}
