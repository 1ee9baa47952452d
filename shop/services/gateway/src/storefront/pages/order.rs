//! `/orders/{id}`: one order, its steps and its timeline.

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::super::{
    api::{Api, encode},
    model::Order,
    response,
    shell::Shell,
    steps::{self, Step},
};

#[derive(Template)]
#[template(path = "order.html")]
struct Details {
    shell: Shell,
    order: Order,
    steps: [Step; 6],
    headline: &'static str,
    may_cancel: bool,
}

pub(crate) async fn page(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    visitor: Parts,
) -> Response {
    let Ok(Path(id)) = id else {
        return response::not_found(visitor.headers).await;
    };
    let path = format!("/api/v1/orders/{}", encode(&id));
    let (shell, order) = tokio::join!(
        Shell::of(&api, &visitor, "/orders"),
        api.get::<Order>(&path, &visitor)
    );
    let order = match order {
        Ok(order) => order,
        Err(error) => return response::instead(error, &api, &visitor).await,
    };
    response::page(
        StatusCode::OK,
        &visitor.headers,
        &Details {
            shell,
            steps: steps::of(&order),
            headline: steps::headline(&order),
            may_cancel: steps::may_cancel(&order.status),
            order,
        },
    )
}
