//! `/account`: sign in, sign up, shop as a guest, or close the account.

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::super::{api::Api, response, shell::Shell};

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    shell: Shell,
}

pub(crate) async fn page(State(api): State<Api>, visitor: Parts) -> Response {
    let shell = Shell::of(&api, &visitor, "/account").await;
    response::page(StatusCode::OK, &visitor.headers, &Account { shell })
}
