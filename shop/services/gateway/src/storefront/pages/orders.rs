//! `/orders`: the visitor's orders, newest first.

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};
use serde::Deserialize;

use super::super::{
    api::{Api, encode},
    model::{Order, Page},
    response,
    shell::Shell,
    steps,
};

/// Orders per page.
const LIMIT: usize = 12;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "orders.html")]
struct Orders {
    shell: Shell,
    items: Vec<Order>,
    is_first: bool,
    next: Option<String>,
}

pub(crate) async fn page(
    State(api): State<Api>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    visitor: Parts,
) -> Response {
    let Query(wanted) = wanted.unwrap_or_default();
    let mut path = format!("/api/v1/orders?limit={LIMIT}");
    if let Some(cursor) = &wanted.cursor {
        path.push_str(&format!("&cursor={}", encode(cursor)));
    }
    let (shell, found) = tokio::join!(
        Shell::of(&api, &visitor, "/orders"),
        api.get::<Page<Order>>(&path, &visitor)
    );
    let found = match found {
        Ok(found) => found,
        Err(error) => return response::instead(error, &api, &visitor).await,
    };
    response::page(
        StatusCode::OK,
        &visitor.headers,
        &Orders {
            shell,
            items: found.items,
            is_first: wanted.cursor.is_none(),
            next: found
                .next_cursor
                .map(|cursor| format!("/orders?cursor={}", encode(&cursor))),
        },
    )
}
