//! Pages of an app's own, in the frame of the console.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};

use super::frame::{Frame, instead, page as reply, see_other};
use super::{Console, Refused, Source};
use crate::BoxFuture;

/// A page of an app's own in the console: an entry of the navigation, a page, and actions.
///
/// The console renders the frame around it, refuses actions that another site sends, and shows a
/// refusal as a page. The page reads and changes everything through the [`Source`], as the visitor,
/// so it decides nothing about access: it must ask before it shows anything.
///
/// ```
/// use axum::http::Method;
/// use axum::http::request::Parts;
/// use wingbeat::BoxFuture;
/// use wingbeat::run::console::{OwnPage, Refused, Source};
///
/// /// Shows a figure of the app, and sets it to zero. `/meter` is a route of the app's own beside
/// /// the operator's API.
/// struct Meter;
///
/// impl OwnPage for Meter {
///     fn path(&self) -> &'static str {
///         "/console/meter"
///     }
///
///     fn label(&self) -> &'static str {
///         "Meter"
///     }
///
///     fn show<'a>(
///         &'a self,
///         source: &'a dyn Source,
///         visitor: &'a Parts,
///     ) -> BoxFuture<'a, Result<String, Refused>> {
///         Box::pin(async move {
///             let figure = source.ask(Method::GET, "/meter", visitor).await?;
///             let figure: u64 = serde_json::from_slice(&figure).unwrap_or_default();
///             Ok(format!("<h1>Meter</h1><p>{figure}</p>"))
///         })
///     }
///
///     fn act<'a>(
///         &'a self,
///         action: &'a str,
///         source: &'a dyn Source,
///         visitor: &'a Parts,
///     ) -> BoxFuture<'a, Result<(), Refused>> {
///         Box::pin(async move {
///             match action {
///                 "reset" => source.ask(Method::POST, "/meter/reset", visitor).await.map(drop),
///                 _ => Err(Refused::new(axum::http::StatusCode::NOT_FOUND, "not_found", "")),
///             }
///         })
///     }
/// }
/// # let _ = Meter;
/// ```
pub trait OwnPage: Send + Sync + 'static {
    /// Returns the path: one segment after `/console/`.
    fn path(&self) -> &'static str;

    /// Returns the text of the entry in the navigation, and of the title.
    fn label(&self) -> &'static str;

    /// Renders the content of the page as HTML. It must escape all texts. Elements with an id and
    /// the attribute `data-part` are renewed every few seconds.
    ///
    /// # Errors
    ///
    /// The refusal of the source.
    fn show<'a>(
        &'a self,
        source: &'a dyn Source,
        visitor: &'a Parts,
    ) -> BoxFuture<'a, Result<String, Refused>>;

    /// Carries out an action: `POST {path}/{action}`. Forms of the page with the attribute
    /// `data-quiet` do not load the page again. The query of the request is in `visitor.uri`.
    ///
    /// # Errors
    ///
    /// The refusal of the source; 404 for an unknown action.
    fn act<'a>(
        &'a self,
        action: &'a str,
        source: &'a dyn Source,
        visitor: &'a Parts,
    ) -> BoxFuture<'a, Result<(), Refused>>;
}

#[derive(Template)]
#[template(path = "console/own.html")]
struct Own<'a> {
    frame: Frame<'a>,
    label: &'static str,
    content: String,
}

/// Returns the routes of the page at `place` among the console's own pages.
pub(super) fn routes(path: &str, place: usize) -> Router<Arc<Console>> {
    Router::new()
        .route(
            path,
            get(
                move |State(console): State<Arc<Console>>, visitor: Parts| async move {
                    show(&console, place, &visitor).await
                },
            ),
        )
        .route(
            &format!("{path}/{{action}}"),
            post(
                move |State(console): State<Arc<Console>>,
                      Path(action): Path<String>,
                      visitor: Parts| async move {
                    act(&console, place, &action, &visitor).await
                },
            ),
        )
}

async fn show(console: &Console, place: usize, visitor: &Parts) -> Response {
    let page = &console.own[place];
    match page.show(&*console.source, visitor).await {
        Ok(content) => {
            let own = Own {
                frame: Frame::new(console, visitor, page.path()),
                label: page.label(),
                content,
            };
            reply(StatusCode::OK, &own)
        }
        Err(refused) => instead(console, visitor, refused),
    }
}

async fn act(console: &Console, place: usize, action: &str, visitor: &Parts) -> Response {
    let page = &console.own[place];
    match page.act(action, &*console.source, visitor).await {
        Ok(()) => see_other(page.path()),
        Err(refused) => instead(console, visitor, refused),
    }
}
