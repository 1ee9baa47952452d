//! The operations console: pages for people over the operator's API.
//!
//! The console is rendered by the server and works without scripts: links, forms, redirects after
//! each action. With scripts, an open page renews its figures every few seconds while it is
//! visible. It loads nothing from other origins.
//!
//! | Path | Shows |
//! |---|---|
//! | `/console` | what needs attention, figures, and a map of who publishes what to whom |
//! | `/console/subscriptions` | state and figures; pause and resume |
//! | `/console/incidents`, `/console/incidents/{service}/{group}` | dead letters by cause; one cause, and many retried at once |
//! | `/console/dead-letters`, `/console/dead-letters/{id}` | failures by cause; one message; retry and discard |
//! | `/console/outside` | the circuit breakers of outside systems |
//! | `/console/sagas`, `/console/sagas/{service}/{saga}`, `…/{id}` | sagas by state; the instances of one; one step by step, and why it waits |
//! | `/console/schedules` | last and next runs; pause and resume |
//! | `/console/stories/{id}` | the timeline of a correlation id, with causes; the records as they were after each step |
//!
//! [`run`](crate::run()) serves it on the operator's port, behind the guard of `/ops`. A program
//! with a login of its own mounts [`Console::routes`] on its public port:
//!
//! ```
//! use axum::Router;
//! use wingbeat::SharedRuntime;
//! use wingbeat::describe::System;
//! use wingbeat::run::console::{Console, Routed};
//!
//! /// `api` serves the operator's API under `/admin`, and decides who may use it.
//! fn console(api: Router, system: &System, runtime: SharedRuntime) -> Router {
//!     let source = Routed::new(api, "/admin", runtime.clone());
//!     Console::new(source, system, runtime)
//!         .with_title("Hotel")
//!         .with_sign_in("/account")
//!         .routes()
//! }
//! ```

mod assets;
mod frame;
mod incidents;
mod letters;
mod lists;
mod map;
mod outside;
mod overview;
mod own;
mod past;
mod port;
mod sagas;
mod schedules;
mod source;
mod stories;
mod subscriptions;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};

use crate::SharedRuntime;
use crate::describe::System;
use crate::http::is_of_foreign_page;
use frame::instead;
use map::Map;

pub use own::OwnPage;
pub(super) use port::on_port;
pub use source::{Refused, Routed, Source};

/// The content security policy of all pages: no inline scripts or styles, and nothing from other
/// origins.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// A console over a [`Source`].
///
/// [`run`](crate::run()) serves it on the operator's port. An app with a login of its own mounts it
/// on its public port, over the operator's API behind the app's own guard:
///
/// ```
/// use axum::Router;
/// use wingbeat::SharedRuntime;
/// use wingbeat::describe::System;
/// use wingbeat::run::console::{Console, Routed};
///
/// /// `api` serves the operator's API under `/api/admin`, for administrators only.
/// fn console(api: Router, system: &System, runtime: SharedRuntime) -> Router {
///     let source = Routed::new(api, "/api/admin", runtime.clone());
///     Console::new(source, system, runtime)
///         .with_title("Hotel")
///         .with_sign_in("/account")
///         .routes()
/// }
/// # let _ = console;
/// ```
pub struct Console {
    source: Box<dyn Source>,
    runtime: SharedRuntime,
    map: Map,
    title: String,
    home: Option<(String, String)>,
    sign_in: Option<String>,
    hint: Option<String>,
    own: Vec<Box<dyn OwnPage>>,
}

impl Console {
    /// Creates a console. `system` describes the services and messages for the map.
    #[must_use]
    pub fn new(source: impl Source, system: &System, runtime: SharedRuntime) -> Self {
        Self {
            source: Box::new(source),
            runtime,
            map: Map::of(system),
            title: "Wingbeat".into(),
            home: None,
            sign_in: None,
            hint: None,
            own: Vec::new(),
        }
    }

    /// Sets the name of the system, for the head of each page.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds a link out of the console.
    #[must_use]
    pub fn with_home(mut self, label: impl Into<String>, path: impl Into<String>) -> Self {
        self.home = Some((label.into(), path.into()));
        self
    }

    /// Sends visitors whom the source does not know (401) to this path, with `?next=` and the page
    /// that they requested.
    #[must_use]
    pub fn with_sign_in(mut self, path: impl Into<String>) -> Self {
        self.sign_in = Some(path.into());
        self
    }

    /// Adds a text for visitors whom the source refuses (403): how an operator signs in.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }

    /// Adds a page of the app's own to the navigation and the routes.
    #[must_use]
    pub fn with_page(mut self, page: impl OwnPage) -> Self {
        self.own.push(Box::new(page));
        self
    }

    /// Returns the routes: everything under `/console`.
    ///
    /// They check that no other site sends an action, and set the headers for browsers. Access is
    /// the source's decision.
    pub fn routes(self) -> Router {
        let console = Arc::new(self);
        let own = console.own.iter().enumerate();
        let own = own.map(|(place, page)| own::routes(page.path(), place));
        let pages = own
            .fold(Router::new(), Router::merge)
            .route("/console", get(overview::page))
            .route("/console/subscriptions", get(subscriptions::page))
            .route(
                "/console/subscriptions/{service}/{name}/{control}",
                post(subscriptions::control),
            )
            .route("/console/incidents", get(incidents::list))
            .route("/console/incidents/{service}/{group}", get(incidents::one))
            .route(
                "/console/incidents/{service}/{group}/retry",
                post(incidents::retry),
            )
            .route(
                "/console/redrives/{service}/{id}/stop",
                post(incidents::stop),
            )
            .route("/console/dead-letters", get(letters::list))
            .route("/console/dead-letters/{id}", get(letters::one))
            .route("/console/dead-letters/{id}/retry", post(letters::retry))
            .route(
                "/console/dead-letters/{id}/discard",
                get(letters::confirm).post(letters::discard),
            )
            .route("/console/outside", get(outside::page))
            .route("/console/sagas", get(sagas::types))
            .route("/console/sagas/{service}/{saga}", get(sagas::list))
            .route("/console/sagas/{service}/{saga}/{id}", get(sagas::one))
            .route("/console/schedules", get(schedules::page))
            .route(
                "/console/schedules/{service}/{name}/{control}",
                post(schedules::control),
            )
            .route("/console/stories", get(stories::find))
            .route("/console/stories/{id}", get(stories::page))
            .route(
                "/console/",
                get(|| async { Redirect::permanent("/console") }),
            )
            .route("/console/{*rest}", get(nothing))
            .layer(middleware::from_fn_with_state(
                Arc::clone(&console),
                own_pages,
            ))
            .with_state(console);
        pages
            .route("/console/assets/{name}", get(assets::asset))
            .layer(middleware::from_fn(secure))
    }
}

async fn nothing(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let refused = Refused::new(StatusCode::NOT_FOUND, "not_found", "");
    instead(&console, &visitor, refused)
}

/// Refuses actions that a page of another site sends. The source checks this too where a cookie
/// identifies the visitor; this check does not depend on it.
async fn own_pages(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && is_of_foreign_page(request.headers(), request.uri()) {
        let (visitor, _) = request.into_parts();
        let refused = Refused::new(StatusCode::FORBIDDEN, "cross_site", "");
        return instead(&console, &visitor, refused);
    }
    next.run(request).await
}

/// Adds the headers for browsers to a reply.
async fn secure(request: Request, next: Next) -> Response {
    const RULES: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    let mut response = next.run(request).await;
    for (name, value) in RULES {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
