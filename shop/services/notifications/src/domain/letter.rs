//! The text of mails, from the templates in `templates/`.

use askama::Template;
use shop_contracts::{Money, RejectReason};

use super::{Mail, Person};

/// The longest name that a mail shows, in characters.
const NAME_MAX: usize = 100;

/// A written mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject: one line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The body as HTML.
    pub html: String,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Plain<'a> {
    name: &'a str,
    mail: &'a Mail,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    subject: &'a str,
    name: &'a str,
    mail: &'a Mail,
}

impl Mail {
    /// Writes the mail to a person.
    #[must_use]
    pub fn write(&self, person: &Person) -> Letter {
        let (subject, name) = (self.subject(), one_line(&person.name));
        let plain = Plain {
            name: &name,
            mail: self,
        };
        let html = Html {
            subject: &subject,
            name: &name,
            mail: self,
        };
        let text = plain
            .render()
            .expect("the values of the template can be printed");
        let html = html
            .render()
            .expect("the values of the template can be printed");
        Letter {
            text: format!("{}\n", text.trim_end()),
            html,
            subject,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Welcome => "Welcome to the shop".into(),
            Self::Promo { percent, .. } => format!("{percent} % off your next order"),
            Self::OrderPaid { .. } => "Thank you for your order".into(),
            Self::OrderRejected { .. } => "We cannot fulfil your order".into(),
            Self::OrderShipped { .. } => "Your order is on its way".into(),
            Self::OrderCancelled { .. } => "Your order is cancelled".into(),
        }
    }
}

/// Returns a text from outside as one bounded line, so that it can stand in a header: a line feed
/// would begin another header.
#[must_use]
pub fn one_line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let words = text.split(|c: char| is_break(c) || c.is_whitespace());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(NAME_MAX).collect()
}

fn why(reason: &RejectReason) -> &'static str {
    match reason {
        RejectReason::OutOfStock => "an item is out of stock",
        RejectReason::PaymentDeclined => "the payment was declined",
        RejectReason::PaymentTimeout => "the payment company did not answer",
        RejectReason::PromoInvalid => "the promo code cannot be used",
        RejectReason::ReservationExpired => "the reservation of the items expired",
    }
}

fn amount(money: &Money) -> String {
    let minor = money.amount_minor;
    format!("EUR {}.{:02}", minor / 100, minor % 100)
}

#[cfg(test)]
mod tests {
    use shop_contracts::OrderId;
    use wingbeat::Timestamp;

    use super::*;

    fn named(name: &str) -> Person {
        Person {
            email: "ada@example.org".into(),
            name: name.into(),
            marketing_opt_in: true,
        }
    }

    fn mails() -> Vec<Mail> {
        let (order_id, total) = (OrderId::default(), Money::eur(1_999));
        let reason = RejectReason::OutOfStock;
        vec![
            Mail::Welcome,
            Mail::Promo {
                code: "WELCOME-1".into(),
                percent: 10,
                expires_at: Timestamp::from_millis(0),
            },
            Mail::OrderPaid { order_id, total },
            Mail::OrderRejected { order_id, reason },
            Mail::OrderShipped { order_id },
            Mail::OrderCancelled { order_id },
        ]
    }

    #[test]
    fn every_mail_has_the_name_and_its_values_in_both_parts() {
        let values = [
            "Thank you",
            "WELCOME-1",
            "EUR 19.99",
            "out of stock",
            "left",
            "refunded",
        ];
        for (mail, value) in mails().iter().zip(values) {
            let letter = mail.write(&named("Ada"));
            assert!(letter.text.starts_with("Dear Ada,\n\n"), "{}", letter.text);
            assert!(letter.text.ends_with("\n\nThe shop\n"), "{}", letter.text);
            assert_eq!(letter.text.lines().count(), 5, "{}", letter.text);
            for part in [&letter.text, &letter.html] {
                assert!(part.contains(value), "{part}");
            }
            assert!(letter.html.contains("<p>Dear Ada,</p>"), "{}", letter.html);
        }
    }

    #[test]
    fn a_name_is_one_line_and_its_markup_is_escaped() {
        let letter = Mail::Welcome.write(&named("A<b>da\r\nBcc: eve@example.org\u{2028}x\0"));
        let first = letter.text.lines().next();
        assert_eq!(first, Some("Dear A<b>da Bcc: eve@example.org x,"));
        assert!(!letter.html.contains("A<b>da"), "{}", letter.html);
        assert_eq!(one_line(&"x".repeat(1_000)).len(), NAME_MAX);
        assert_eq!(one_line(" \r\n "), "");
    }
}
