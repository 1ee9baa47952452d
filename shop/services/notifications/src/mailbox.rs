//! The mailbox, a stand-in for a mail server. `GET /dev/mailbox` returns the sent mails.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use wingbeat::state::lookup_digest;
use wingbeat::store::Select;
use wingbeat::{JsonSchema, Name, Personal, Reads, Result, Timestamp, View, schemars};

/// Mails per read.
const SHOWN_MAX: usize = 500;
const TO: &str = "to";
pub(crate) const AT: &str = "at";
const USER: &str = "user_id";

/// A sent mail. Keys are ids that sort by time. The erasure of a user removes the user's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailRow {
    /// The recipient.
    pub user_id: UserId,
    /// The digest of the recipient's address.
    #[serde(default)]
    pub to_digest: String,
    /// The recipient's address.
    pub to: Personal<String>,
    /// The name of the template.
    pub template: String,
    /// The subject.
    pub subject: Personal<String>,
    /// The body.
    pub body: Personal<String>,
    /// The time at which it was sent.
    pub at: Timestamp,
}

impl View for MailRow {
    const NAME: &'static str = "mailbox";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![
            (TO, self.to_digest.clone()),
            (AT, self.at.to_string()),
            (USER, self.user_id.to_string()),
        ]
    }
}

/// Returns the digest by which the mails to an address are found, in any case of its letters.
pub(crate) fn address_digest(address: &str) -> String {
    lookup_digest(&address.trim().to_lowercase())
}

/// The reply of `GET /dev/mailbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mailbox {
    /// The mails: oldest first for one address, newest first for all.
    pub items: Vec<Item>,
}

/// A mail in the reply of `GET /dev/mailbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Mail")]
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
    let select = match to {
        Some(to) => starting(TO, address_digest(to), false),
        None => starting(AT, String::new(), true),
    };
    let listed = reads.rows::<MailRow>(select, None, SHOWN_MAX).await?;
    let mut items = Vec::with_capacity(listed.rows.len());
    for (_, row) in listed.rows {
        items.extend(item(reads, row).await?);
    }
    Ok(Mailbox { items })
}

/// Decrypts a mail; `None` if its recipient was erased.
async fn item(reads: &Reads, row: MailRow) -> Result<Option<Item>> {
    let user = row.user_id;
    let to = reads.personal(&user, &row.to).await?;
    let subject = reads.personal(&user, &row.subject).await?;
    let body = reads.personal(&user, &row.body).await?;
    let (Some(to), Some(subject), Some(body)) = (to, subject, body) else {
        return Ok(None);
    };
    Ok(Some(Item {
        to,
        template: row.template,
        subject,
        body,
        at: row.at,
    }))
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
