//! `/`: the products.

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};
use serde::Deserialize;

use super::super::{
    api::{Api, encode},
    model::{Page, Product},
    response,
    shell::Shell,
};

/// Products per page. The refresh of the stock requests the same number.
const LIMIT: usize = 24;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    search: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "products.html")]
struct Products {
    shell: Shell,
    search: String,
    /// `true` if this is the front page: the first page of all products.
    is_front: bool,
    items: Vec<Product>,
    /// The API path of these products, for the module that refreshes the stock.
    source: String,
    next: Option<String>,
}

pub(crate) async fn page(
    State(api): State<Api>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    visitor: Parts,
) -> Response {
    let Query(wanted) = wanted.unwrap_or_default();
    let search = wanted.search.trim();
    let source = source(search, wanted.cursor.as_deref());
    let (shell, found) = tokio::join!(
        Shell::of(&api, &visitor, "/"),
        api.get::<Page<Product>>(&source, &visitor)
    );
    let found = match found {
        Ok(found) => found,
        Err(error) => return response::instead(error, &api, &visitor).await,
    };
    let next = found.next_cursor.map(|cursor| link(search, &cursor));
    response::page(
        StatusCode::OK,
        &visitor.headers,
        &Products {
            shell,
            search: search.to_owned(),
            is_front: search.is_empty() && wanted.cursor.is_none(),
            items: found.items,
            source,
            next,
        },
    )
}

/// Returns the API path of these products.
fn source(search: &str, cursor: Option<&str>) -> String {
    let mut path = format!("/api/v1/products?limit={LIMIT}");
    if !search.is_empty() {
        path.push_str(&format!("&search={}", encode(search)));
    }
    if let Some(cursor) = cursor {
        path.push_str(&format!("&cursor={}", encode(cursor)));
    }
    path
}

/// Returns the path of the page that starts at `cursor`.
fn link(search: &str, cursor: &str) -> String {
    format!("/?search={}&cursor={}", encode(search), encode(cursor))
}
