//! Requests, and the types of their replies on the wire.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wingbeat_core::{Message, Name};

/// A request: a message to which a handler of one service replies. Derive `Request`.
///
/// A service answers it with [`Service::answer`](crate::Service::answer). A route asks it with
/// [`Requests`](crate::Requests). It is no [command](crate::handler::CommandMessage), so a handler
/// cannot send it: handlers do not wait for others.
///
/// Its reply is any type that serde can read and write.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Request, Serialize, Deserialize, JsonSchema)]
/// #[request(name = "pricing.get_quote", version = 1, key = sku, reply = Quote)]
/// struct GetQuote {
///     sku: String,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Quote {
///     cents: u64,
/// }
///
/// assert_eq!(GetQuote::NAME, "pricing.get_quote.v1");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request",
    note = "derive `Request` for it, with the type of its reply"
)]
pub trait Request: Message {
    /// The reply.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// The body of the reply to a request that was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Rejection {
    /// The code of the handler's error.
    pub(super) code: String,
    /// Its text.
    pub(super) detail: String,
}

/// Returns the type of the reply to a request: `pricing.get_quote.reply.v1`.
pub(crate) fn reply_type(request: &str) -> Name {
    answered(request, "reply")
}

/// Returns the type of the reply to a request that was rejected: `pricing.get_quote.rejected.v1`.
pub(crate) fn rejected_type(request: &str) -> Name {
    answered(request, "rejected")
}

fn answered(request: &str, how: &str) -> Name {
    Name::intern(&match request.rsplit_once(".v") {
        Some((name, version)) => format!("{name}.{how}.v{version}"),
        None => format!("{request}.{how}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_replies_have_the_version_of_their_request() {
        let types = [reply_type("a.vet.v2"), rejected_type("a.vet.v2")];
        assert_eq!(
            types,
            ["a.vet.reply.v2", "a.vet.rejected.v2"].map(Name::new)
        );
    }
}
