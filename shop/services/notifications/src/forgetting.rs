//! The deletion of old mails: from the mailbox, and the records that they were sent.

use std::time::Duration;

use wingbeat::store::Select;
use wingbeat::{Name, Now, Reads, Result, Rows, Table};

use crate::domain::Mail;
use crate::mailbox::{AT, MailRow};
use crate::mailer::{Sent, sent_key};

/// The time for which the mailbox keeps a mail.
const MAILS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The time for which the record of a mail about an order is kept. No event is delivered again
/// that late. A user's welcome and first offer are sent once for ever.
const SENT_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Mails, and records of each template, that one run deletes. The next run deletes more.
const DELETED_MAX: usize = 200;

pub(crate) async fn forget_mails(
    Now(now): Now,
    reads: Reads,
    mailbox: Rows<MailRow>,
    sent: Table<Sent>,
) -> Result<()> {
    let old = Select::Range {
        column: Name::new(AT),
        from: String::new(),
        until: Some((now - MAILS_KEPT).to_string()),
        descending: false,
    };
    for (key, _) in reads.rows::<MailRow>(old, None, DELETED_MAX).await?.rows {
        mailbox.remove(key)?;
    }
    for template in Mail::OF_ORDERS {
        // The ids of orders begin with their time, so the oldest records come first.
        let prefix = sent_key(template, "");
        let first = reads
            .entities::<Sent>(Some(prefix.clone()), DELETED_MAX)
            .await?;
        let theirs = first
            .into_iter()
            .take_while(|(key, _)| key.starts_with(&prefix));
        for (key, _) in theirs.filter(|(_, record)| record.at < now - SENT_KEPT) {
            sent.remove(&key)?;
        }
    }
    Ok(())
}
