//! The routes for users and sessions.

use std::time::Duration;

use axum::extract;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::identity::UserLoggedIn;
use wingbeat::http::session::{self, COOKIE, LIFE, SECURE_COOKIE, Session, Sessions};
use wingbeat::http::{
    Caller, Context, FieldError, Json, Problem, Reply, Routes, accepted, created, get, no_content,
    ok, plain, post,
};
use wingbeat::overload::Priority;
use wingbeat::telemetry::LogLimits;
use wingbeat::{Effects, JsonSchema, Reads, Scope, State, run_unit, schemars};

use crate::domain::{
    Fault, NAME_MAX, PASSWORD_MAX, PASSWORD_MIN, fold, is_email, password_fault, sign_up_faults,
};
use crate::failures::{Address, Failures};
use crate::users::{self, ADMIN_EMAIL, User, Users};
use crate::{Config, Hasher};

/// Limits the log lines about sessions that cannot be ended while the cache is unavailable.
static UNENDED: LogLimits = LogLimits::new(1, Duration::from_secs(5));

/// Builds the routes of the service.
pub fn routes() -> Routes<crate::State> {
    Routes::new()
        .route(
            "/api/v1/users",
            post(sign_up)
                .summary("Signs a user up")
                .answers::<SignedUp>(201)
                .problem(409, "email_taken", "An account with this address exists already."),
        )
        .route(
            "/api/v1/sessions",
            post(sign_in)
                .priority(Priority::High)
                .summary("Signs a user in")
                .description(
                    "Sets the session's cookie. Clients other than browsers also get its token, for \
                     `Authorization: Bearer`.",
                )
                .answers::<SignedIn>(201)
                .problem(401, "invalid_credentials", "The address or the password is wrong.")
                .problem(429, "too_many_failed_logins", "Too many wrong passwords for this account or from this address."),
        )
        .route(
            "/api/v1/sessions/current",
            plain::delete(sign_out)
                .priority(Priority::Essential)
                .summary("Signs the caller out")
                .answers::<()>(204),
        )
        .route(
            "/api/v1/me",
            get(me)
                .summary("Returns the caller's account")
                .answers::<Me>(200),
        )
        .route(
            "/api/v1/me",
            plain::delete(erase)
                .summary("Closes the caller's account and erases the personal data")
                .description(
                    "All sessions end, and the address can be registered again. Orders remain, \
                     without the person. The services erase their data within seconds; one that is \
                     unavailable does so when it is back.",
                )
                .answers::<Erasing>(202)
                .problem(403, "wrong_password", "The password is wrong.")
                .problem(403, "forbidden", "The admin's account cannot be closed.")
                .problem(429, "too_many_failed_logins", "Too many wrong passwords from this address."),
        )
        .route(
            "/api/v1/me/password",
            plain::put(change_password)
                .priority(Priority::High)
                .summary("Changes the password and ends all other sessions")
                .answers::<()>(204)
                .problem(403, "wrong_password", "The current password is wrong.")
                .problem(429, "too_many_failed_logins", "Too many wrong passwords."),
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
        "an account with this address exists already",
    )
}

async fn sign_up(
    (address, Json(form)): (Address, Json<SignUp>),
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
    let turn = hasher.turn(scope.runtime(), &address.network()).await?;
    let password = hasher.hash(scope.runtime(), turn, &form.password);
    let password = password.await?;
    let user_id = UserId(scope.new_id());
    let user = User {
        email: form.email,
        name: form.name.trim().into(),
        password: Some(password),
        admin: false,
    };
    let registered = users.register(&scope, user_id, user, form.marketing_opt_in);
    if !registered.await? {
        return Err(email_taken());
    }
    Ok(created(&SignedUp { user_id }))
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
    /// Absent for browsers, which use the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// The session starts before the commit, and the caller gets its token after the commit. A password
/// change in between therefore ends the session, and a failed commit leaves a session without a
/// known token. The previous session of the browser ends, because its cookie is replaced.
async fn sign_in(
    (address, Json(form)): (Address, Json<SignIn>),
    State(state): State<crate::State>,
    headers: HeaderMap,
    users: Users,
    scope: Scope,
) -> Result<Reply, Problem> {
    let crate::State {
        config,
        sessions,
        hasher,
        refusals,
    } = state;
    let failures = Failures::new((&refusals, &config), &scope, &form.email, &address);
    failures.check().await?; // A caller who is blocked waits for no turn.
    let turn = hasher.turn(scope.runtime(), &address.network()).await?;
    let attempt = failures.attempt().await?;
    let known = if is_email(&form.email) {
        users.by_email(&form.email).await?
    } else {
        None // Nobody could register it.
    };
    let hash = known.as_ref().and_then(|(_, user)| user.password.clone());
    let account = known.as_ref().map(|(user_id, _)| *user_id);
    let verified = hasher.verify(scope.runtime(), turn, hash, &form.password);
    let (user_id, user) = match (verified.await?, known) {
        (true, Some(known)) => known,
        _ => {
            const CODE: &str = "invalid_credentials";
            failures.log(CODE, account);
            let detail = "the address or the password is wrong";
            return Err(Problem::new(401, CODE, detail));
        }
    };
    attempt.succeeded().await?;
    let (token, _) = sessions.start(user_id.0, user.admin).await?;
    if let Some(earlier) = sessions.cookie(&headers) {
        sessions.end_token(earlier).await?;
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
    let (name, secure) = if config.secure_cookies {
        (SECURE_COOKIE, "; Secure")
    } else {
        (COOKIE, "")
    };
    format!("{name}={token}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}")
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

async fn me(reads: Reads, Caller(session): Caller) -> Result<Response, Problem> {
    let user_id = UserId(session.user_id);
    let (email, name) = users::read(&reads, user_id).await?.ok_or_else(unknown)?;
    let reply = ok(&Me {
        user_id,
        email,
        name,
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

/// The other sessions end before the commit of the new password and again after it, so that neither
/// a crash in between nor a concurrent sign-in with the old password leaves one. A browser gets a
/// new cookie, and its old session ends too. A bearer token stays valid, because the reply has no
/// body for a new one.
async fn change_password(
    extract::State(state): extract::State<crate::State>,
    Context(context): Context,
    Caller(session): Caller,
    address: Address,
    headers: HeaderMap,
    Json(form): Json<ChangePassword>,
) -> Result<Response, Problem> {
    let (state, form, session, address) = (&state, &form, &session, &address);
    run_unit::<_, Problem, _>(&context, |scope| async move {
        let (hasher, runtime) = (&state.hasher, scope.runtime());
        let users = Users::of(&scope)?;
        let user_id = UserId(session.user_id);
        let user = users.get(user_id).await?.ok_or_else(unknown)?;
        if let Some(fault) = password_fault(&form.new, &user.email, &user.name) {
            return Err(problem(vec![("/new", fault)]));
        }
        confirm(state, &scope, &user, &form.current, address).await?;
        let turn = hasher.turn(runtime, &address.network()).await?;
        let password = Some(hasher.hash(runtime, turn, &form.new).await?);
        state.sessions.end_others(session).await?;
        Ok(users.put(user_id, &User { password, ..user }).await?)
    })
    .await?;
    let is_browser = session::bearer(&headers).is_none();
    let token = end_others(&state.sessions, session, is_browser).await;
    let token = token.unwrap_or_else(|why| {
        if let Some(suppressed) = UNENDED.admit("password", context.runtime().elapsed()) {
            tracing::warn!(
                code = why.code(),
                suppressed,
                "cannot end the other sessions after a password change: {why}"
            );
        }
        None
    });
    let mut reply = no_content().header("cache-control", "no-store");
    if let Some(token) = token {
        reply = reply.header("set-cookie", cookie(&state.config, &token, LIFE.as_secs()));
    }
    Ok(reply.into_response())
}

/// Checks the password of a signed-in user. Wrong ones count like failed sign-ins.
async fn confirm(
    state: &crate::State,
    scope: &Scope,
    user: &User,
    password: &str,
    address: &Address,
) -> Result<(), Problem> {
    let (hasher, runtime) = (&state.hasher, scope.runtime());
    let limits = (&state.refusals, &state.config);
    let failures = Failures::new(limits, scope, &user.email, address);
    failures.check().await?;
    let turn = hasher.turn(runtime, &address.network()).await?;
    let attempt = failures.attempt().await?;
    let fits = password.chars().count() <= PASSWORD_MAX;
    let hash = user.password.clone().filter(|_| fits);
    if !hasher.verify(runtime, turn, hash, password).await? {
        const CODE: &str = "wrong_password";
        failures.log(CODE, None);
        return Err(Problem::new(403, CODE, "the password is wrong"));
    }
    Ok(attempt.succeeded().await?)
}

/// Ends the user's other sessions. With `renews`, this session is replaced too, and the new token
/// is returned.
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

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Erase {
    password: String,
}

#[derive(Serialize, JsonSchema)]
struct Erasing {
    user_id: UserId,
}

/// The sessions end before the commit, and again after it: a sign-in in between may have started
/// one. The handler of the event ends them a third time, in case that this process crashes here.
async fn erase(
    extract::State(state): extract::State<crate::State>,
    Context(context): Context,
    Caller(session): Caller,
    address: Address,
    Json(form): Json<Erase>,
) -> Result<Response, Problem> {
    let user_id = UserId(session.user_id);
    let (state, form, address) = (&state, &form, &address);
    run_unit::<_, Problem, _>(&context, |scope| async move {
        let users = Users::of(&scope)?;
        let user = users.get(user_id).await?.ok_or_else(unknown)?;
        confirm(state, &scope, &user, &form.password, address).await?;
        if user.admin {
            let detail = "the admin's account cannot be closed";
            return Err(Problem::new(403, "forbidden", detail));
        }
        state.sessions.end_all(user_id.0).await?; // The commit may fail, and the user remain.
        Ok(users.erase(&scope, user_id, &user).await?)
    })
    .await?;
    if let Err(why) = state.sessions.end_for_good(user_id.0).await
        && let Some(suppressed) = UNENDED.admit("erased", context.runtime().elapsed())
    {
        tracing::warn!(
            code = why.code(),
            suppressed,
            "cannot end the sessions of an erased user yet: {why}"
        );
    }
    let reply = accepted(&Erasing { user_id })
        .header("set-cookie", cookie(&state.config, "", 0))
        .header("cache-control", "no-store");
    Ok(reply.into_response())
}
