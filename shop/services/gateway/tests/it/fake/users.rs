//! The users, sessions and promo codes of the fake shop.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Fake, now, problem};

impl Fake {
    /// Returns the user who sends these headers.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<Value> {
        let cookie = headers.get(header::COOKIE)?.to_str().ok()?;
        let token = cookie
            .split("; ")
            .find_map(|pair| pair.strip_prefix("wingbeat_session="))?;
        self.shop().users.get(token).cloned()
    }

    /// Registers a user and returns the session's token.
    pub(crate) fn user(&self, email: &str, name: &str) -> String {
        let mut shop = self.shop();
        let token = format!("t{}", shop.users.len() + 1);
        let user = json!({"user_id": format!("u-{token}"), "email": email, "name": name});
        shop.users.insert(token.clone(), user);
        token
    }
}

pub(super) async fn sign_up(State(fake): State<Fake>, Json(body): Json<Value>) -> Response {
    let email = body["email"].as_str().unwrap_or_default();
    if fake
        .shop()
        .users
        .values()
        .any(|user| user["email"] == email)
    {
        return problem(StatusCode::CONFLICT, "email_taken");
    }
    let token = fake.user(email, body["name"].as_str().unwrap_or_default());
    fake.mail(
        &body["email"],
        "welcome",
        "Welcome to Wingbeat",
        "Hello!\n\nYour welcome promo is waiting in your cart: 10 % off.",
    );
    (
        StatusCode::CREATED,
        Json(json!({"user_id": format!("u-{token}")})),
    )
        .into_response()
}

pub(super) async fn sign_in(State(fake): State<Fake>, Json(body): Json<Value>) -> Response {
    let shop = fake.shop();
    let found = shop
        .users
        .iter()
        .find(|(_, user)| user["email"] == body["email"]);
    let Some((token, user)) = found else {
        return problem(StatusCode::UNAUTHORIZED, "invalid_credentials");
    };
    let cookie = format!("wingbeat_session={token}; HttpOnly; SameSite=Lax; Path=/");
    (
        StatusCode::CREATED,
        [(header::SET_COOKIE, cookie)],
        Json(user.clone()),
    )
        .into_response()
}

pub(super) async fn sign_out() -> Response {
    let cookie = "wingbeat_session=; Max-Age=0; Path=/";
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

pub(super) async fn me(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    match fake.caller(&headers) {
        Some(user) => Json(user).into_response(),
        None => problem(StatusCode::UNAUTHORIZED, "unauthenticated"),
    }
}

pub(super) async fn close(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    let Some(user) = fake.caller(&headers) else {
        return problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    };
    fake.shop().users.retain(|_, other| *other != user);
    (
        StatusCode::ACCEPTED,
        Json(json!({"user_id": user["user_id"]})),
    )
        .into_response()
}

pub(super) async fn promotions(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    if fake.caller(&headers).is_none() {
        return problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    let promo = json!({
        "code": "WELCOME-7QK2MD", "percent": 10, "status": "issued", "expires_at": now(),
    });
    Json(json!({"items": [promo]})).into_response()
}
