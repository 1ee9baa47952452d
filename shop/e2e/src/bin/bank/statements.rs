//! Notes the deposits of each account in their order. The releases differ in the subscription.

use serde::{Deserialize, Serialize};
use wingbeat::Stored;
use wingbeat::prelude::*;

use crate::deposits::DepositedV1;

/// The numbers of an account's deposits, as they arrived.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Statement {
    numbers: Vec<u64>,
}

impl Entity for Statement {
    const NAME: &'static str = "statement";
    type Id = String;
}

pub(crate) async fn note(event: DepositedV1, statements: Table<Statement>) -> Result<()> {
    let add = |known: Option<Statement>| {
        let mut statement = known.unwrap_or_default();
        statement.numbers.push(event.number);
        statement
    };
    statements.update(&event.account, add).await.map(drop)
}

async fn show(Path(account): Path<String>, reads: Reads) -> Result<Reply, Problem> {
    let statement = reads.entity::<Statement>(&account).await?;
    Ok(ok(&statement.unwrap_or_default().numbers))
}

/// Returns the service without its subscription.
pub(crate) fn service() -> Service {
    Service::new("statements")
        .stores(Stored::entity::<Statement>())
        .routes(Routes::new().route("/statements/{account}", get(show)))
}
