//! The sending of mails. Each is sent once, because the unit that puts it into the mailbox, or
//! records the call to the mail server, also records that it is sent.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::notifications::EmailSent;
use wingbeat::{
    Either, Entity, Extract, JsonSchema, Result, Rows, Scope, Subjects, Table, Timestamp, schemars,
};

use crate::calls::SendMail;
use crate::config::{Delivery, State};
use crate::domain::{Contact, Mail, Person};
use crate::mailbox::{MailRow, address_digest};

/// A mail that was put into the mailbox, or a call to the mail server.
pub type Delivered = Either<EmailSent, SendMail>;

/// The record of a mail that was sent or is being sent. The key is [`sent_key`]; it contains no
/// personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// The time at which it was sent.
    pub at: Timestamp,
}

impl Entity for Sent {
    const NAME: &'static str = "sent";
    type Id = String;
}

/// Returns the key of a sent mail. One mail is sent per template and cause.
#[must_use]
pub fn sent_key(template: &str, cause: &str) -> String {
    format!("{template}/{cause}")
}

/// The contacts, the sent mails and the mailbox, within one unit of work.
pub struct Mailer {
    contacts: Table<Contact>,
    sent: Table<Sent>,
    mailbox: Rows<MailRow>,
    delivery: Delivery,
    subjects: Subjects,
    scope: Scope,
}

impl Extract<Scope, State> for Mailer {
    fn extract(scope: &Scope, state: &State) -> Result<Self> {
        Ok(Self {
            contacts: Extract::extract(scope, state)?,
            sent: Extract::extract(scope, state)?,
            mailbox: Extract::extract(scope, state)?,
            delivery: state.delivery.clone(),
            subjects: Extract::extract(scope, state)?,
            scope: scope.clone(),
        })
    }
}

impl Mailer {
    /// Sends a mail, or queues it until the address is known. Does nothing if it was sent before or
    /// is unwanted.
    ///
    /// # Errors
    ///
    /// `too_many_pending` if too many mails wait for the address; a `store_*` code if the store
    /// cannot be read.
    pub async fn deliver(&self, user_id: UserId, mail: Mail) -> Result<Option<Delivered>> {
        match self.contacts.get(&user_id).await? {
            Some(Contact::Known(person)) => match self.subjects.decrypt(&user_id, &person).await? {
                Some(person) => self.send(user_id, &person, &mail).await,
                None => Ok(None),
            },
            Some(Contact::Erased) => Ok(None),
            Some(Contact::Unknown { pending }) => {
                self.contacts.put(&user_id, Contact::wait(pending, mail)?)?;
                Ok(None)
            }
            None => {
                let waiting = Contact::wait(Vec::new(), mail)?;
                self.contacts.put(&user_id, waiting)?;
                Ok(None)
            }
        }
    }

    /// Stores a user's address, and sends the mails that waited for it.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn remember(&self, user_id: UserId, person: Person) -> Result<Vec<Delivered>> {
        let current = self.contacts.get(&user_id).await?;
        let stored = self.subjects.encrypt(&user_id, &person).await?;
        let (contact, mails) = Contact::remember(current, stored);
        self.contacts.put(&user_id, contact)?;
        let mut sent = Vec::with_capacity(mails.len());
        for mail in mails {
            sent.extend(self.send(user_id, &person, &mail).await?);
        }
        Ok(sent)
    }

    /// Erases a user's address. From then on nothing is sent to the user.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn forget(&self, user_id: UserId) -> Result<()> {
        self.subjects.erase(&user_id).await?;
        self.contacts.put(&user_id, Contact::Erased)
    }

    async fn send(
        &self,
        user_id: UserId,
        person: &Person,
        mail: &Mail,
    ) -> Result<Option<Delivered>> {
        let key = sent_key(mail.template(), &mail.cause(user_id));
        if !mail.wanted_by(person) || self.sent.get(&key).await?.is_some() {
            return Ok(None);
        }
        let at = self.scope.now();
        self.sent.put(&key, Sent { at })?;
        if let Delivery::Smtp(_) = self.delivery {
            return Ok(Some(Either::Right(SendMail {
                key,
                user_id,
                to: self.subjects.encrypt(&user_id, person).await?,
                mail: mail.clone(),
                at,
            })));
        }
        let letter = mail.write(person);
        let row = MailRow {
            user_id,
            to_digest: address_digest(&person.email),
            to: self.subjects.encrypt(&user_id, &person.email).await?,
            template: mail.template().into(),
            subject: self.subjects.encrypt(&user_id, &letter.subject).await?,
            body: self.subjects.encrypt(&user_id, &letter.text).await?,
            at,
        };
        self.mailbox.put(self.scope.new_id().to_string(), &row)?;
        Ok(Some(Either::Left(EmailSent {
            user_id,
            template: mail.template().into(),
        })))
    }
}
