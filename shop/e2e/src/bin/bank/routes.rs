//! What both releases answer over HTTP, and the command that changes an account.

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;
use wingbeat::{Name, Select};

/// The body of a request, and the command of an account.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Deposit {
    pub(crate) account: String,
    /// The id that the client has given it.
    pub(crate) deposit: String,
    pub(crate) cents: u64,
}

/// The reply to a deposit: its number in its account.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Accepted {
    pub(crate) number: u64,
}

/// Returns the rows of a view, the largest value of the column first.
pub(crate) async fn listed<V: View + Serialize>(
    reads: &Reads,
    column: &'static str,
) -> Result<Reply, Problem> {
    let select = Select::Prefix {
        column: Name::new(column),
        prefix: String::new(),
        descending: true,
    };
    Ok(ok(&reads.rows::<V>(select, None, 100).await?.rows))
}

/// Returns all entities of a type.
pub(crate) async fn all<E: Entity + Serialize>(reads: Reads) -> Result<Reply, Problem> {
    let mut all: Vec<(String, E)> = Vec::new();
    loop {
        let after = all.last().map(|(id, _)| id.clone());
        let page = reads.entities::<E>(after, 500).await?;
        if page.is_empty() {
            return Ok(ok(&all));
        }
        all.extend(page);
    }
}
