//! The call to the mail server.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::notifications::{EmailFailed, EmailSent};
use wingbeat::call::TargetReport;
use wingbeat::{
    Call, Either, GaveUp, JsonSchema, Personal, Reads, Result, State, Timestamp, schemars,
};

use crate::config::Delivery;
use crate::domain::{Mail, Person};
use crate::smtp::{Addressed, MailError};

/// A mail on its way to the mail server. The address and the name are encrypted: an erasure makes
/// them unreadable, and the mail is not sent.
#[derive(Call, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[call(name = "notifications.send_mail", target = "smtp", key = key, outcome = Outcome)]
pub struct SendMail {
    /// The template and the cause; see [`sent_key`](crate::mailer::sent_key).
    pub key: String,
    /// The recipient.
    pub user_id: UserId,
    /// The recipient's address and name.
    pub to: Personal<Person>,
    /// The template and its values.
    pub mail: Mail,
    /// The date of the mail.
    pub at: Timestamp,
}

/// The outcome: the server has taken the mail, or refused it; `None` if the recipient was erased.
pub type Outcome = Option<Either<EmailSent, EmailFailed>>;

impl GaveUp<SendMail> for Outcome {
    fn gave_up(call: &SendMail, _: &wingbeat::Error) -> Self {
        Some(Either::Right(EmailFailed {
            user_id: call.user_id,
            template: call.mail.template().into(),
        }))
    }
}

/// Carries out the call.
pub(crate) async fn send_mail(
    call: SendMail,
    State(delivery): State<Delivery>,
    reads: Reads,
    report: TargetReport,
) -> Result<Outcome> {
    let Delivery::Smtp(smtp) = delivery else {
        let text = "no server is set, but the mail was recorded for one";
        return Err(MailError::MailUnavailable(text.into()).into());
    };
    let Some(to) = reads.personal(&call.user_id, &call.to).await? else {
        return Ok(None);
    };
    let mail = Addressed {
        key: &call.key,
        to: &to,
        mail: &call.mail,
        at: call.at,
    };
    match smtp.send(&mail).await {
        Ok(()) => Ok(Some(Either::Left(EmailSent {
            user_id: call.user_id,
            template: call.mail.template().into(),
        }))),
        Err(why) => {
            if matches!(why, MailError::MailDelayed(_)) {
                // One mailbox that is full must not stop the mails to others.
                report.answered();
            }
            Err(why.into())
        }
    }
}
