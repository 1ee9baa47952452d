//! The mailbox, a stand-in for a mail server. `GET /dev/mailbox` returns the sent mails.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use wingbeat::store::Select;
use wingbeat::{Name, Reads, Result, Timestamp, View};

/// Mails per read.
const SHOWN_MAX: usize = 500;
const TO: &str = "to";
const AT: &str = "at";
const USER: &str = "user_id";

/// A sent mail. Keys are ids that sort by time. The erasure of a user removes the user's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailRow {
    /// The recipient.
    pub user_id: UserId,
    /// The recipient's address.
    pub to: String,
    /// The name of the template.
    pub template: String,
    /// The subject.
    pub subject: String,
    /// The body.
    pub body: String,
    /// The time at which it was sent.
    pub at: Timestamp,
}

impl View for MailRow {
    const NAME: &'static str = "mailbox";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![
            (TO, folded(&self.to)),
            (AT, self.at.to_string()),
            (USER, self.user_id.to_string()),
        ]
    }
}

fn folded(address: &str) -> String {
    address.trim().to_lowercase()
}

/// The reply of `GET /dev/mailbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mailbox {
    /// The mails: oldest first for one address, newest first for all.
    pub items: Vec<Item>,
}

/// A mail in the reply of `GET /dev/mailbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The recipient's address.
    pub to: String,
    /// The name of the template.
    pub template: String,
    /// The subject.
    pub subject: String,
    /// The body.
    pub body: String,
    /// The time at which it was sent.
    pub at: Timestamp,
}

/// Returns the mails to an address, or to all addresses.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn mailbox(reads: &Reads, to: Option<&str>) -> Result<Mailbox> {
    let to = to.map(folded);
    let select = match &to {
        Some(to) => starting(TO, to.clone(), false),
        None => starting(AT, String::new(), true),
    };
    let listed = reads.rows::<MailRow>(select, None, SHOWN_MAX).await?;
    let rows = listed.rows.into_iter().map(|(_, row)| row);
    let items = rows
        .filter(|row| to.as_ref().is_none_or(|to| folded(&row.to) == *to))
        .map(|row| Item {
            to: row.to,
            template: row.template,
            subject: row.subject,
            body: row.body,
            at: row.at,
        });
    Ok(Mailbox {
        items: items.collect(),
    })
}

/// Returns the keys of some of a user's mails, and whether there are more.
pub(crate) async fn keys_of(reads: &Reads, user: UserId) -> Result<(Vec<String>, bool)> {
    let theirs = starting(USER, user.to_string(), false);
    let listed = reads.rows::<MailRow>(theirs, None, SHOWN_MAX).await?;
    let more = listed.next.is_some();
    Ok((listed.rows.into_iter().map(|(key, _)| key).collect(), more))
}

fn starting(column: &'static str, prefix: String, descending: bool) -> Select {
    Select::Prefix {
        column: Name::new(column),
        prefix,
        descending,
    }
}
