//! The contracts of the running release in the operator's API.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat_core::store::Position;

use crate::contracts::{Break, Contract, Contracts};
use crate::describe::Info;
use crate::http::{Cursor, Problem, Query, Routes, get, ok};
use crate::run::host::Host;

/// The number of schemas on a page.
const LIMIT: usize = 20;
/// The name of the list in its cursors.
const LIST: &str = "contracts";

pub(super) fn contract_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/contracts",
        get(contracts)
            .summary("The schemas of the messages and of the stored data of this release")
            .answers::<ContractPage>(200)
            .problem(
                400,
                "bad_cursor",
                "The cursor does not belong to this list.",
            ),
    )
}

/// The query of the list of contracts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ContractQuery {
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
}

/// A page of contracts, in the order of their paths.
#[derive(Serialize, JsonSchema)]
struct ContractPage {
    /// The contracts.
    items: Vec<Contract>,
    /// Stored data without a schema; on the last page.
    undescribed: Vec<Break>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<Cursor>,
}

async fn contracts(
    State(host): State<Arc<Host>>,
    Query(query): Query<ContractQuery>,
) -> Result<Response, Problem> {
    let after = query.cursor.map(|cursor| cursor.position(LIST));
    let after = after.transpose()?.map(|position| position.key);
    let contracts = Contracts::of(host.description(), &Info::new("", ""));
    let mut items = contracts.schemas();
    items.retain(|it| after.as_ref().is_none_or(|after| it.path > *after));
    let more = items.len() > LIMIT;
    items.truncate(LIMIT);
    let last = items.last().filter(|_| more).map(|it| Position {
        value: String::new(),
        key: it.path.clone(),
    });
    let undescribed = if more {
        Vec::new()
    } else {
        contracts.undescribed().to_vec()
    };
    let page = ContractPage {
        items,
        undescribed,
        next_cursor: last.map(|position| Cursor::new(LIST, &position)),
    };
    Ok(ok(&page).into_response())
}
