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
    /// The sign-in leads to the operations console.
    to_console: bool,
}

pub(crate) async fn page(State(api): State<Api>, visitor: Parts) -> Response {
    let shell = Shell::of(&api, &visitor, "/account").await;
    let query = visitor.uri.query().unwrap_or_default();
    let mut parameters = query.split('&');
    let to_console = parameters.any(|it| it.starts_with("next=%2Fconsole"));
    let account = Account { shell, to_console };
    response::page(StatusCode::OK, &visitor.headers, &account)
}
