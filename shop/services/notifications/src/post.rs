//! Sends each mail once: what was sent is recorded in the unit that sends it.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::notifications::EmailSent;
use wingbeat::{Entity, Extract, Result, Rows, Scope, Table, Timestamp};

use crate::domain::{Contact, Mail, Person};
use crate::mailbox::MailRow;

/// That a mail was sent. The key is [`sent_key`]; nothing in it is personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// When.
    pub at: Timestamp,
}

impl Entity for Sent {
    const NAME: &'static str = "sent";
    type Id = String;
}

/// One mail a template and cause.
#[must_use]
pub fn sent_key(template: &str, cause: &str) -> String {
    format!("{template}/{cause}")
}

/// The post office, through this unit of work.
pub struct Post {
    contacts: Table<Contact>,
    sent: Table<Sent>,
    mailbox: Rows<MailRow>,
    scope: Scope,
}

impl<S> Extract<Scope, S> for Post {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            contacts: Extract::extract(scope, state)?,
            sent: Extract::extract(scope, state)?,
            mailbox: Extract::extract(scope, state)?,
            scope: scope.clone(),
        })
    }
}

impl Post {
    /// Sends a mail, or lets it wait for the address; nothing if it was sent, or is not wanted.
    ///
    /// # Errors
    ///
    /// The store's, here and below; or too many wait.
    pub async fn deliver(&self, user_id: UserId, mail: Mail) -> Result<Option<EmailSent>> {
        match self.contacts.get(&user_id).await? {
            Some(Contact::Known(person)) => self.send(user_id, &person, &mail).await,
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

    /// Learns where a user lives, and sends what waited for it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn remember(&self, user_id: UserId, person: Person) -> Result<Vec<EmailSent>> {
        let current = self.contacts.get(&user_id).await?;
        let (contact, mails) = Contact::remember(current, person.clone());
        self.contacts.put(&user_id, contact)?;
        let mut sent = Vec::with_capacity(mails.len());
        for mail in mails {
            sent.extend(self.send(user_id, &person, &mail).await?);
        }
        Ok(sent)
    }

    /// Forgets where a user lives; from now on nothing is sent to them.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn forget(&self, user_id: UserId) -> Result<()> {
        self.contacts.put(&user_id, Contact::Erased)
    }

    async fn send(
        &self,
        user_id: UserId,
        person: &Person,
        mail: &Mail,
    ) -> Result<Option<EmailSent>> {
        let key = sent_key(mail.template(), &mail.cause(user_id));
        if !mail.wanted_by(person) || self.sent.get(&key).await?.is_some() {
            return Ok(None);
        }
        let at = self.scope.now();
        self.sent.put(&key, Sent { at })?;
        let letter = mail.write(person);
        let row = MailRow {
            user_id,
            to: person.email.clone(),
            template: mail.template().into(),
            subject: letter.subject,
            body: letter.body,
            at,
        };
        self.mailbox.put(self.scope.new_id().to_string(), &row)?;
        Ok(Some(EmailSent {
            user_id,
            template: mail.template().into(),
        }))
    }
}
