//! The frame of a page: the navigation and the visitor's account.

use axum::http::{HeaderMap, header, request::Parts};

use super::{
    api::{Api, ApiError},
    model::Me,
};

/// The data of the frame.
pub(super) struct Shell {
    /// The path in the navigation that this page belongs to.
    here: &'static str,
    me: Option<Me>,
    /// The page shows the tools that break things.
    pub(super) dev: bool,
    /// `in`, `out`, or `unknown` if the page did not ask or identity is unavailable.
    pub(super) session: &'static str,
}

impl Shell {
    /// Loads the frame for a visitor. Without a session cookie no request is needed.
    pub(super) async fn of(api: &Api, visitor: &Parts, here: &'static str) -> Self {
        if !has_session(&visitor.headers) {
            return Self {
                here,
                me: None,
                dev: api.has_dev,
                session: "out",
            };
        }
        match api.get::<Me>("/api/v1/me", visitor).await {
            Ok(me) => Self {
                here,
                me: Some(me),
                dev: api.has_dev,
                session: "in",
            },
            Err(ApiError::Unavailable) => Self {
                here,
                me: None,
                dev: api.has_dev,
                session: "unknown",
            },
            Err(_) => Self {
                here,
                me: None,
                dev: api.has_dev,
                session: "out",
            },
        }
    }

    /// Returns the frame without a request. A module in the browser loads the account.
    pub(super) fn unknown(has_session: bool) -> Self {
        Self {
            here: "",
            me: None,
            dev: false,
            session: if has_session { "unknown" } else { "out" },
        }
    }

    /// Returns whether a path of the navigation is the current page.
    pub(super) fn current(&self, path: &str) -> bool {
        self.here == path
    }

    pub(super) fn name(&self) -> &str {
        self.me.as_ref().map_or("", |me| &me.name)
    }

    pub(super) fn email(&self) -> &str {
        self.me.as_ref().map_or("", |me| &me.email)
    }

    pub(super) fn user_id(&self) -> &str {
        self.me.as_ref().map_or("", |me| &me.user_id)
    }
}

/// Returns whether the request has a session cookie. Behind TLS its name has the prefix `__Host-`.
pub(super) fn has_session(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(name, _)| name.trim_start_matches("__Host-") == "wingbeat_session")
}
