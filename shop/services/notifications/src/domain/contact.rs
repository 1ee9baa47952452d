//! The contact of a user: with the mailbox, the only state of the service that contains a name and
//! an address.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use thiserror::Error;
use wingbeat::{Entity, Failure, JsonSchema, Personal, schemars};

use super::{Mail, Person};

/// The most mails that wait for one address. In practice a handful wait until the address arrives.
pub const PENDING_MAX: usize = 50;

/// The contact of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Contact {
    /// The address is not known yet, because events and the address arrive in any order. Mails wait
    /// for it.
    Unknown {
        /// The waiting mails, oldest first.
        pending: Vec<Mail>,
    },
    /// The address is known.
    Known(Personal<Person>),
    /// The user was erased. No mail is sent, and no address is stored again.
    Erased,
}

/// A refusal to queue another mail. The delivery is retried, and dead-lettered if the address never
/// arrives.
#[derive(Debug, Error, Failure, PartialEq, Eq)]
pub enum TooManyPending {
    /// The limit is reached.
    #[error("{PENDING_MAX} mails already wait for the address of this user")]
    #[failure(retry)]
    TooManyPending,
}

impl Entity for Contact {
    const NAME: &'static str = "contact";
    type Id = UserId;
}

impl Contact {
    /// Stores the address. Returns the new contact and the mails that waited for it.
    #[must_use]
    pub fn remember(current: Option<Self>, person: Personal<Person>) -> (Self, Vec<Mail>) {
        match current {
            Some(Self::Erased) => (Self::Erased, Vec::new()),
            Some(Self::Unknown { pending }) => (Self::Known(person), pending),
            Some(Self::Known(_)) | None => (Self::Known(person), Vec::new()),
        }
    }

    /// Queues a mail, once.
    ///
    /// # Errors
    ///
    /// `too_many_pending` if the limit is reached.
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

    /// The content does not matter here.
    fn ada() -> Personal<Person> {
        Personal::erased()
    }

    #[test]
    fn a_contact_of_an_older_release_is_decoded() {
        let json =
            r#"{"known":"known","email":"ada@example.org","name":"Ada","marketing_opt_in":true}"#;
        let contact: Contact = wingbeat::decode(json.as_bytes()).unwrap();
        assert!(matches!(contact, Contact::Known(_)));
        let known = wingbeat::serde_json::to_string(&contact).unwrap();
        assert_eq!(known, json);
    }

    #[test]
    fn mails_wait_for_the_address_and_are_sent_once() {
        let waiting = Contact::wait(Vec::new(), Mail::Welcome).unwrap();
        let (known, mails) = Contact::remember(Some(waiting), ada());
        assert_eq!(mails, vec![Mail::Welcome]);
        let (_, again) = Contact::remember(Some(known), ada());
        assert_eq!(again, vec![]);
    }

    #[test]
    fn a_repeated_mail_is_queued_once() {
        let waiting = Contact::wait(vec![Mail::Welcome], Mail::Welcome);
        let once = Contact::Unknown {
            pending: vec![Mail::Welcome],
        };
        assert_eq!(waiting, Ok(once));
    }

    #[test]
    fn the_address_of_an_erased_user_is_not_stored_again() {
        let (contact, mails) = Contact::remember(Some(Contact::Erased), ada());
        assert_eq!((contact, mails), (Contact::Erased, vec![]));
    }
}
