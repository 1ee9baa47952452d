//! The operations console of the shop, for its administrator.
//!
//! The pages are Wingbeat's ([`wingbeat::run::console`]). They read and change everything through
//! `/api/v1/admin`, called in-process with the visitor's cookie, which admits the administrator
//! only, refuses writes of other sites and records each write. Where the services run in processes
//! of their own, those routes ask all of them.

use axum::Router;
use wingbeat::SharedRuntime;
use wingbeat::describe::System;
use wingbeat::run::console::{Console, Routed};

/// The operator's API for the administrator.
const API: &str = "/api/v1/admin";

/// Builds the routes under `/console`. `api` serves `/api/v1/…`; `has_dev` says whether it serves
/// `/dev`.
pub fn routes(api: Router, system: &System, has_dev: bool, runtime: SharedRuntime) -> Router {
    let source = Routed::new(api, API, runtime.clone());
    let hint = if has_dev {
        "The administrator is admin@shop.example. The password is in the file admin-password of \
         the data directory, which is ./data by default."
    } else {
        "Sign in with the administrator's account."
    };
    Console::new(source, system, runtime)
        .with_home("To the shop", "/")
        .with_sign_in("/account")
        .with_hint(hint)
        .routes()
}
