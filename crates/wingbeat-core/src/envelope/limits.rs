//! Limits of the fields of a message.

use thiserror::Error;

use crate::text::is_forbidden;

/// The largest body of a message: 1 MiB.
///
/// Queues, windows and batches contain many messages, so the limit is far below that of brokers
/// (16 MiB by default in RabbitMQ 4). Keep larger data in a store of its own, and send its key.
pub const BODY_MAX: usize = 1 << 20;
/// The longest key or operation id: 8 KiB.
///
/// Both are headers in AMQP, the key twice, and all headers of a message together must fit one
/// frame.
pub const KEY_MAX: usize = 8 << 10;
/// The longest source: 1 KiB. Stores index it.
pub const SOURCE_MAX: usize = 1 << 10;
/// The longest message type: 255 bytes, the limit of an AMQP routing key.
pub const KIND_MAX: usize = 255;

/// The reason why an envelope cannot travel. All adapters and the runtime check the same limits
/// with [`Envelope::check`](super::Envelope::check), before a message is committed and when one
/// arrives.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unfit {
    /// A field is larger than its limit.
    #[error("the {field} has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The largest size in bytes.
        limit: usize,
    },
    /// CloudEvents forbids a character of a field. Some stores cannot keep it either.
    #[error("the {field} contains the character U+{code:04X}, which CloudEvents forbids")]
    ForbiddenCharacter {
        /// The field.
        field: &'static str,
        /// The code point.
        code: u32,
    },
}

/// The fields of a message that have limits.
#[derive(Clone, Copy, Debug)]
pub struct Limited<'a> {
    /// The type.
    pub kind: &'a str,
    /// The source.
    pub source: &'a str,
    /// The key.
    pub key: &'a str,
    /// The operation id; empty for none.
    pub operation: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Limited<'_> {
    /// Checks the sizes and characters of all fields.
    ///
    /// # Errors
    ///
    /// The first problem.
    pub fn check(&self) -> Result<(), Unfit> {
        let texts = [
            ("type", self.kind, KIND_MAX),
            ("source", self.source, SOURCE_MAX),
            ("key", self.key, KEY_MAX),
            ("operation id", self.operation, KEY_MAX),
        ];
        let sizes = texts.map(|(field, text, limit)| (field, text.len(), limit));
        let sizes = sizes
            .into_iter()
            .chain([("body", self.body.len(), BODY_MAX)]);
        for (field, size, limit) in sizes {
            check_size(field, size, limit)?;
        }
        for (field, text, limit) in texts {
            check_text(field, text, limit)?;
        }
        Ok(())
    }
}

fn check_size(field: &'static str, size: usize, limit: usize) -> Result<(), Unfit> {
    if size > limit {
        return Err(Unfit::TooLarge { field, size, limit });
    }
    Ok(())
}

pub(super) fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), Unfit> {
    check_size(field, text.len(), limit)?;
    match text.chars().find(|it| is_forbidden(*it)) {
        Some(forbidden) => Err(Unfit::ForbiddenCharacter {
            field,
            code: u32::from(forbidden),
        }),
        None => Ok(()),
    }
}
