//! The storefront: server-rendered pages over the shop's public HTTP API.
//!
//! It depends on no service. A page asks `/api/v1` in-process for what it shows, with the visitor's
//! own cookie, and small ES modules (embedded in the binary, under `/assets`) do the rest from the
//! browser with the same API. Whatever a page can do, any client can do.
//!
//! | Path | Shows |
//! |---|---|
//! | `/` | products, search, cart panel |
//! | `/cart` | cart and checkout |
//! | `/orders`, `/orders/{id}` | the visitor's orders; one order's steps, live |
//! | `/account` | sign in, sign up, shop as guest |
//! | `/assets/{name}` | styles, modules, pictures |
//! | `/assets/plumage/{sku}` | the picture of a product, an SVG made from its SKU |

mod api;
mod assets;
mod model;
mod money;
mod pages;
mod plumage;
mod response;
mod shell;
mod steps;

use axum::Router;
use axum::extract::{Path, Query};
use wingbeat::describe::Operation;
use wingbeat::http::{Endpoint, Routes, get};

pub use response::not_found;

/// The policy under which every page works: no inline script or style, nothing from elsewhere.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The storefront's routes.
///
/// `api` serves `/api/v1/…`; the pages call it in-process, so it should be the router that also
/// faces the public, with its limits and error answers in place. The routes returned do not
/// contain it: merge them with it, and use [`not_found`] as the fallback.
pub fn routes(api: Router) -> Router {
    pages()
        .with_state(api::Api::new(api))
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
