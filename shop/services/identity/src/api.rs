//! The routes.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, extract};
use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::identity::{UserLoggedIn, UserRegistered};
use shop_contracts::notifications::RememberAddress;
use wingbeat::ServiceContext;
use wingbeat::http::session::{self, COOKIE, LIFE, Session, Sessions};
use wingbeat::http::{
    Caller, FieldError, Json, Problem, Reply, Routes, created, get, no_content, ok, plain, post,
};
use wingbeat::{Effects, JsonSchema, Reads, Scope, State, run_unit, schemars};

use crate::domain::{
    Fault, NAME_MAX, PASSWORD_MAX, PASSWORD_MIN, fold, password_fault, sign_up_faults,
};
use crate::failures::{Address, Failures};
use crate::users::{ADMIN_EMAIL, User, Users};
use crate::{Config, Hasher};

/// The service's routes.
pub fn routes() -> Routes<crate::State> {
    Routes::new()
        .route(
            "/api/v1/users",
            post(sign_up)
                .summary("Signs up")
                .answers::<SignedUp>(201)
                .problem(409, "email_taken", "An account with this address exists."),
        )
        .route(
            "/api/v1/sessions",
            post(sign_in)
                .summary("Signs in")
                .description(
                    "Sets the session's cookie. Clients other than browsers also get its token, for \
                     `Authorization: Bearer`.",
                )
                .answers::<SignedIn>(201)
                .problem(401, "invalid_credentials", "The address or the password is wrong.")
                .problem(429, "too_many_failed_logins", "Too many wrong passwords from this address."),
        )
        .route(
            "/api/v1/sessions/current",
            plain::delete(sign_out)
                .summary("Signs out")
                .answers::<()>(204),
        )
        .route(
            "/api/v1/me",
            get(me)
                .summary("The caller's account")
                .answers::<Me>(200),
        )
        .route(
            "/api/v1/me/password",
            plain::put(change_password)
                .summary("Changes the password and ends all other sessions")
                .answers::<()>(204)
                .problem(403, "wrong_password", "The current password is wrong."),
        )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignUp {
    #[schemars(email)]
    email: String,
    #[schemars(length(min = PASSWORD_MIN, max = PASSWORD_MAX))]
    password: String,
    #[schemars(length(min = 1, max = NAME_MAX))]
    name: String,
    #[serde(default)]
    marketing_opt_in: bool,
}

#[derive(Serialize, JsonSchema)]
struct SignedUp {
    user_id: UserId,
}

fn problem(faults: Vec<Fault>) -> Problem {
    let error = |(pointer, message): Fault| FieldError {
        pointer: pointer.into(),
        message: message.into(),
    };
    Problem::fields(faults.into_iter().map(error).collect())
}

fn email_taken() -> Problem {
    Problem::new(
        409,
        "email_taken",
        "somebody has signed up with this address",
    )
}

async fn sign_up(
    Json(form): Json<SignUp>,
    State(hasher): State<Hasher>,
    users: Users,
    scope: Scope,
) -> Result<Reply, Problem> {
    let faults = sign_up_faults(&form.email, &form.password, &form.name);
    if !faults.is_empty() {
        return Err(problem(faults));
    }
    if fold(&form.email) == ADMIN_EMAIL || users.is_taken(&form.email).await? {
        return Err(email_taken());
    }
    let password = hasher.hash(scope.runtime(), &form.password).await?;
    let user_id = UserId(scope.new_id());
    let user = User {
        email: form.email,
        name: form.name.trim().into(),
        password: Some(password),
        admin: false,
    };
    if !register(&scope, &users, user_id, user, form.marketing_opt_in).await? {
        return Err(email_taken());
    }
    Ok(created(&SignedUp { user_id }))
}

/// Adds a user and tells; `false` when the address is taken.
pub(crate) async fn register(
    scope: &Scope,
    users: &Users,
    user_id: UserId,
    user: User,
    marketing_opt_in: bool,
) -> wingbeat::Result<bool> {
    let (email, name) = (user.email.clone(), user.name.clone());
    if !users.add(user_id, user).await? {
        return Ok(false);
    }
    let mut effects = Effects::new();
    effects
        .send(&RememberAddress {
            user_id,
            email,
            name,
            marketing_opt_in,
        })
        .publish(&UserRegistered {
            user_id,
            marketing_opt_in,
        });
    scope.emit(effects)?;
    Ok(true)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    email: String,
    password: String,
}

#[derive(Serialize, JsonSchema)]
struct SignedIn {
    user_id: UserId,
    name: String,
    /// Absent for browsers, which have the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// The session starts before the unit is durable, and its token is told after: so a password that
/// is changed meanwhile ends it, and a sign-in that fails leaves a session whose token nobody
/// knows. The session that the browser had so far ends: its cookie is replaced.
async fn sign_in(
    (address, Json(form)): (Address, Json<SignIn>),
    State(config): State<Config>,
    State(hasher): State<Hasher>,
    State(sessions): State<Sessions>,
    headers: HeaderMap,
    users: Users,
    scope: Scope,
) -> Result<Reply, Problem> {
    let failures = Failures::new(&config, &scope, &form.email, &address);
    let turn = hasher.turn(scope.runtime()).await?;
    failures.check().await?; // After the wait: those who waited before may have failed.
    let known = users.by_email(&form.email).await?;
    let hash = known.as_ref().and_then(|(_, user)| user.password.clone());
    let verified = hasher.verify(scope.runtime(), turn, hash, &form.password);
    let (user_id, user) = match (verified.await?, known) {
        (true, Some(known)) => known,
        _ => {
            failures.count().await?;
            let detail = "the address or the password is wrong";
            return Err(Problem::new(401, "invalid_credentials", detail));
        }
    };
    let (token, _) = sessions.start(user_id.0, &user.name, user.admin).await?;
    if let Some(earlier) = session::cookie(&headers) {
        sessions.forget(earlier).await?;
    }
    let mut effects = Effects::new();
    effects.publish(&UserLoggedIn { user_id });
    scope.emit(effects)?;
    let cookie = cookie(&config, &token, LIFE.as_secs());
    let is_browser = headers.contains_key("sec-fetch-site");
    let body = SignedIn {
        user_id,
        name: user.name,
        token: (!is_browser).then_some(token),
    };
    Ok(created(&body)
        .header("set-cookie", cookie)
        .header("cache-control", "no-store"))
}

fn cookie(config: &Config, token: &str, seconds: u64) -> String {
    let (prefix, secure) = if config.secure_cookies {
        ("__Host-", "; Secure")
    } else {
        ("", "")
    };
    format!("{prefix}{COOKIE}={token}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}")
}

async fn sign_out(
    extract::State(state): extract::State<crate::State>,
    Caller(session): Caller,
) -> Result<Response, Problem> {
    state.sessions.end(&session).await?;
    let reply = no_content().header("set-cookie", cookie(&state.config, "", 0));
    Ok(reply.header("cache-control", "no-store").into_response())
}

#[derive(Serialize, JsonSchema)]
struct Me {
    user_id: UserId,
    email: String,
    name: String,
}

async fn me(
    Extension(reads): Extension<Reads>,
    Caller(session): Caller,
) -> Result<Response, Problem> {
    let user_id = UserId(session.user_id);
    let user = reads.entity::<User>(&user_id).await?.ok_or_else(unknown)?;
    let reply = ok(&Me {
        user_id,
        email: user.email,
        name: user.name,
    });
    Ok(reply.header("cache-control", "no-store").into_response())
}

fn unknown() -> Problem {
    Problem::new(401, "unauthenticated", "sign in first")
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangePassword {
    current: String,
    #[schemars(length(min = PASSWORD_MIN, max = PASSWORD_MAX))]
    new: String,
}

/// The other sessions end before the new password is durable, and once more after, so that neither
/// a crash in between nor a sign-in with the old password meanwhile leaves one. A browser is given
/// another cookie, and its old one ends too; a bearer token goes on, for the answer has no body
/// that could tell another.
async fn change_password(
    extract::State(state): extract::State<crate::State>,
    Extension(context): Extension<Arc<ServiceContext>>,
    Caller(session): Caller,
    headers: HeaderMap,
    Json(form): Json<ChangePassword>,
) -> Result<Response, Problem> {
    if let Some(fault) = password_fault(&form.new) {
        return Err(problem(vec![("/new", fault)]));
    }
    let (state, form, session) = (&state, &form, &session);
    run_unit::<_, Problem, _>(&context, |scope| async move {
        let (hasher, runtime) = (&state.hasher, scope.runtime());
        let users = Users::of(&scope)?;
        let user_id = UserId(session.user_id);
        let user = users.table.get(&user_id).await?.ok_or_else(unknown)?;
        let turn = hasher.turn(runtime).await?;
        let current = &form.current;
        let fits = current.chars().count() <= PASSWORD_MAX;
        let hash = user.password.clone().filter(|_| fits);
        if !hasher.verify(runtime, turn, hash, current).await? {
            let detail = "this is not your password";
            return Err(Problem::new(403, "wrong_password", detail));
        }
        let password = Some(hasher.hash(runtime, &form.new).await?);
        state.sessions.end_others(session).await?;
        users.table.put(&user_id, User { password, ..user })?;
        Ok(())
    })
    .await?;
    let is_browser = session::bearer(&headers).is_none();
    let token = end_others(&state.sessions, session, is_browser).await;
    let token = token.unwrap_or_else(|why| {
        tracing::warn!("sessions of a user may outlive a changed password: {why}");
        None
    });
    let mut reply = no_content().header("cache-control", "no-store");
    if let Some(token) = token {
        reply = reply.header("set-cookie", cookie(&state.config, &token, LIFE.as_secs()));
    }
    Ok(reply.into_response())
}

/// Ends the user's other sessions; this one too if it is renewed, for which there is a token then.
async fn end_others(
    sessions: &Sessions,
    session: &Session,
    renews: bool,
) -> wingbeat::Result<Option<String>> {
    if renews && let Some((token, _)) = sessions.renew(session).await? {
        return Ok(Some(token));
    }
    sessions.end_others(session).await?;
    Ok(None)
}
