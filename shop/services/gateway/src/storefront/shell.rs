//! What stands around every page: navigation, and who is here.

use axum::http::{HeaderMap, header, request::Parts};

use super::{
    api::{Api, ApiError},
    model::Me,
};

/// The frame's data.
pub(super) struct Shell {
    /// The path in the navigation that this page belongs to.
    here: &'static str,
    me: Option<Me>,
    /// `in`, `out`, or `unknown` when the page did not ask or nobody could say.
    pub(super) session: &'static str,
}

impl Shell {
    /// Asks who is here. Without a cookie nobody is, and nobody needs to be asked.
    pub(super) async fn of(api: &Api, visitor: &Parts, here: &'static str) -> Self {
        if !has_session(&visitor.headers) {
            return Self {
                here,
                me: None,
                session: "out",
            };
        }
        match api.get::<Me>("/api/v1/me", visitor).await {
            Ok(me) => Self {
                here,
                me: Some(me),
                session: "in",
            },
            Err(ApiError::Away) => Self {
                here,
                me: None,
                session: "unknown",
            },
            Err(_) => Self {
                here,
                me: None,
                session: "out",
            },
        }
    }

    /// The frame of a page that asks nobody; a module finds out in the browser.
    pub(super) fn unknown(has_session: bool) -> Self {
        Self {
            here: "",
            me: None,
            session: if has_session { "unknown" } else { "out" },
        }
    }

    /// `page` or nothing, as `aria-current` wants it.
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

/// Whether the request brings a session cookie (behind TLS it has the `__Host-` prefix).
pub(super) fn has_session(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(name, _)| name.trim_start_matches("__Host-") == "wingbeat_session")
}
