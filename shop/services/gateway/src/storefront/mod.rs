//! The storefront: server-rendered pages over the shop's public HTTP API.
//!
//! The storefront depends on no service. A page calls `/api/v1` in-process with the visitor's
//! cookie. In the browser, small ES modules (embedded in the binary, under `/assets`) use the same
//! API. So any client can do what a page can do.
//!
//! | Path | Shows |
//! |---|---|
//! | `/` | products, search, cart panel |
//! | `/cart` | cart and checkout |
//! | `/orders`, `/orders/{id}` | the visitor's orders; one order's steps, live |
//! | `/account` | sign in, sign up, shop as a guest, close the account |
//! | `/assets/{name}` | styles, modules, pictures |
//! | `/assets/artwork/{sku}` | the picture of a product, an SVG generated from its SKU |

mod api;
mod artwork;
mod assets;
mod model;
mod money;
mod pages;

mod response;
mod shell;
mod steps;

use axum::Router;
use axum::extract::{Path, Query};
use wingbeat::describe::Operation;
use wingbeat::http::{Endpoint, Routes, get};

pub use response::not_found;

/// The content security policy of all pages: no inline scripts or styles, and nothing from other
/// origins.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Builds the routes of the storefront.
///
/// The pages call `api`, which serves `/api/v1/…`, in-process. It should be the public router with
/// its limits and error replies; `has_dev` says whether it serves `/dev`. The returned routes do
/// not contain it: merge them, and use [`not_found`] as the fallback.
pub fn routes(api: Router, has_dev: bool) -> Router {
    pages()
        .with_state(api::Api::new(api, has_dev))
        .merge(assets::routes())
        .into_router()
}

/// The descriptions of the storefront's routes.
#[must_use]
pub fn operations() -> Vec<Operation> {
    pages().into_parts().1
}

fn pages() -> Routes<api::Api> {
    let page = |endpoint: Endpoint<_>| endpoint.answers_text(200, "text/html").without_problems();
    Routes::new()
        .route(
            "/",
            page(get(pages::products::page)).reads::<Query<pages::products::Wanted>>(),
        )
        .route("/cart", page(get(pages::cart::page)))
        .route(
            "/orders",
            page(get(pages::orders::page)).reads::<Query<pages::orders::Wanted>>(),
        )
        .route(
            "/orders/{id}",
            page(get(pages::order::page)).reads::<Path<String>>(),
        )
        .route("/account", page(get(pages::account::page)))
        .tag("pages")
}
