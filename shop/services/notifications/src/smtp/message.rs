//! Mails in the Internet Message Format (RFC 5322).

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use sha2::{Digest as _, Sha256};
use wingbeat::Timestamp;

use super::MailError;
use crate::domain::{Mail, Person, one_line};

/// A mail to one person.
#[derive(Clone, Copy, Debug)]
pub struct Addressed<'a> {
    /// The template and the cause, from which the `Message-ID` is derived.
    pub key: &'a str,
    /// The recipient.
    pub to: &'a Person,
    /// The template and its values.
    pub mail: &'a Mail,
    /// The date.
    pub at: Timestamp,
}

/// Returns the `Message-ID` of a mail. It is the same for all attempts and differs between causes
/// and between templates. It does not show a promo code.
#[must_use]
pub fn message_id(key: &str, domain: &str) -> String {
    format!("<{}@{domain}>", hash(key))
}

fn hash(key: &str) -> String {
    hex::encode(&Sha256::digest(key)[..16])
}

/// Returns the envelope and the content of a mail.
pub(super) fn write(
    sender: &Mailbox,
    mail: &Addressed<'_>,
) -> Result<(Envelope, Vec<u8>), MailError> {
    let recipient = recipient(mail)?;
    let letter = mail.mail.write(mail.to);
    let impossible = |why: &dyn std::fmt::Display| MailError::MailRefused(why.to_string());
    let envelope = Envelope::new(Some(sender.email.clone()), vec![recipient.email.clone()]);
    let envelope = envelope.map_err(|why| impossible(&why))?;
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    // The text of the boundary must not occur in the parts.
    let parts = MultiPart::alternative().boundary(format!("part-{}", hash(mail.key)));
    let message = Message::builder()
        .from(sender.clone())
        .to(recipient)
        .subject(letter.subject)
        .date(UNIX_EPOCH + Duration::from_millis(u64::try_from(mail.at.as_millis()).unwrap_or(0)))
        .message_id(Some(message_id(mail.key, sender.email.domain())))
        .raw_header(HeaderValue::new(automatic, "auto-generated".into()))
        .multipart(
            parts
                .singlepart(SinglePart::plain(letter.text))
                .singlepart(SinglePart::html(letter.html)),
        );
    let message = message.map_err(|why| impossible(&why))?;
    Ok((envelope, message.formatted()))
}

/// Returns the recipient with the name as one line. An address that is none is refused.
fn recipient(mail: &Addressed<'_>) -> Result<Mailbox, MailError> {
    let email = mail.to.email.trim();
    let address = email.parse::<Address>();
    let Ok(address) = address else {
        return Err(MailError::MailRefused("the address is none".into()));
    };
    if email.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(MailError::MailRefused("the address is none".into()));
    }
    let name = one_line(&mail.to.name);
    Ok(Mailbox::new(
        Some(name).filter(|it| !it.is_empty()),
        address,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(email: &str, name: &str) -> Person {
        Person {
            email: email.into(),
            name: name.into(),
            marketing_opt_in: false,
        }
    }

    fn to(person: &Person) -> Addressed<'_> {
        Addressed {
            key: "welcome/7",
            to: person,
            mail: &Mail::Welcome,
            at: Timestamp::from_millis(784_111_777_000),
        }
    }

    fn sender() -> Mailbox {
        "The shop <no-reply@shop.example>".parse().unwrap()
    }

    fn written(person: &Person) -> String {
        let (_, content) = write(&sender(), &to(person)).unwrap();
        String::from_utf8(content).unwrap()
    }

    #[test]
    fn every_attempt_sends_the_same_bytes() {
        let content = written(&person("ada@example.org", "Ada"));
        assert_eq!(content, written(&person("ada@example.org", "Ada")));
        for header in [
            "From: \"The shop\" <no-reply@shop.example>\r\n",
            "To: Ada <ada@example.org>\r\n",
            "Date: Sun, 06 Nov 1994 08:49:37 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
        ] {
            assert!(content.contains(header), "{header}{content}");
        }
        let id = message_id("welcome/7", "shop.example");
        assert!(
            content.contains(&format!("Message-ID: {id}\r\n")),
            "{content}"
        );
        assert_ne!(id, message_id("welcome/8", "shop.example"));
        assert!(content.is_ascii());
    }

    #[test]
    fn a_name_cannot_add_a_header_or_a_recipient() {
        let evil = "Eve\r\nBcc: all@example.org\r\n\r\n<b>\u{2028}\0, <x@example.org>";
        for name in [evil, "\u{e4}\nBcc: all@example.org", "a\"b\\c"] {
            let ada = person("ada@example.org", name);
            let (envelope, _) = write(&sender(), &to(&ada)).unwrap();
            assert_eq!(envelope.to().len(), 1);
            let content = written(&ada);
            let head = content.split("\r\n\r\n").next().unwrap();
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap())
                .collect();
            let expected = [
                "From",
                "To",
                "Subject",
                "Date",
                "Message-ID",
                "Auto-Submitted",
                "MIME-Version",
                "Content-Type",
            ];
            assert_eq!(names, expected, "{content}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_for_good() {
        for email in [
            "",
            "ada",
            "a@b@c.example",
            "ada@example.org\r\nRCPT TO:<eve@example.org>",
            "ada@example.org>, <eve@example.org",
            "a b@example.org",
        ] {
            let refused = write(&sender(), &to(&person(email, "Ada")));
            assert!(matches!(refused, Err(MailError::MailRefused(_))), "{email}");
        }
    }
}
