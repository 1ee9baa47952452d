//! Endpoints of plain axum handlers, for reads, streams and all other routes that are not one unit
//! of work.
//!
//! They are described in the same way as [`post`](super::post).

use axum::handler::Handler;
use axum::http::Method;

use super::describe::DescribeArguments;
use super::{Endpoint, endpoint::Plain};

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $method:ident,)+) => {
        $(
            $(#[$doc])*
            pub fn $name<H, T, S>(handler: H) -> Endpoint<S, Plain>
            where
                H: Handler<T, S>,
                T: DescribeArguments + 'static,
                S: Clone + Send + Sync + 'static,
            {
                Endpoint::new(Method::$method, axum::routing::$name(handler)).described(T::describe)
            }
        )+
    };
}

methods! {
    /// `GET` to an axum handler.
    ///
    /// ```
    /// use wingbeat::http::{Routes, get};
    ///
    /// async fn version() -> &'static str {
    ///     "1"
    /// }
    ///
    /// let routes: Routes = Routes::new().route(
    ///     "/version",
    ///     get(version)
    ///         .summary("The version that runs")
    ///         .answers_text(200, "text/plain"),
    /// );
    /// # assert_eq!(routes.operations().len(), 1);
    /// ```
    get = GET,
    /// `POST` to an axum handler. It does not run in a unit of work; see
    /// [`http::post`](super::post).
    post = POST,
    /// `PUT` to an axum handler. It does not run in a unit of work; see [`http::put`](super::put).
    put = PUT,
    /// `PATCH` to an axum handler.
    patch = PATCH,
    /// `DELETE` to an axum handler. It does not run in a unit of work; see
    /// [`http::delete`](super::delete).
    delete = DELETE,
}
