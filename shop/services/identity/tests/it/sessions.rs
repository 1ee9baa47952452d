//! The events that end a session or start another.

use std::time::Duration;

use serde_json::{Value, json};

use super::{EMAIL, PASSWORD, Reply, World, config, world};

const NEW: &str = "battery staple";
const MINUTE: Duration = Duration::from_secs(60);

impl World {
    fn sign_in(&self, password: &str, headers: &[(&str, &str)]) -> Reply {
        let form = json!({"email": EMAIL, "password": password});
        self.send("POST", "/api/v1/sessions", headers, &form)
    }

    /// Signs a program in and returns its token.
    fn token(&self) -> String {
        let reply = self.sign_in(PASSWORD, &[]);
        reply.json["token"].as_str().unwrap().to_owned()
    }

    fn change(&self, headers: &[(&str, &str)], current: &str) -> Reply {
        let form = json!({"current": current, "new": NEW});
        self.send("PUT", "/api/v1/me/password", headers, &form)
    }

    /// Returns the status of `/me` for a session.
    fn me(&self, name: &str, value: &str) -> u16 {
        self.send("GET", "/api/v1/me", &[(name, value)], &Value::Null)
            .status
    }

    fn me_by_token(&self, token: &str) -> u16 {
        self.me("authorization", &format!("Bearer {token}"))
    }
}

impl Reply {
    /// Returns `name=value` of the cookie that the reply sets.
    fn cookie_pair(&self) -> String {
        let cookie = self.cookie.as_deref().unwrap();
        assert!(
            cookie.contains("; HttpOnly; SameSite=Lax; Path=/"),
            "{cookie}"
        );
        cookie.split(';').next().unwrap().to_owned()
    }
}

#[test]
fn a_password_change_replaces_the_cookie_and_ends_all_other_sessions() {
    let world = world(&config());
    let old = world.sign_in(PASSWORD, &[]).cookie_pair();
    let there = world.token();
    let here = [("cookie", old.as_str()), ("sec-fetch-site", "same-origin")];
    let refused = world.change(&here, "wrong horse");
    assert_eq!((refused.status, refused.cookie), (403, None));
    assert_eq!(world.me("cookie", &old), 200);
    let changed = world.change(&here, PASSWORD);
    assert_eq!((changed.status, &changed.json), (204, &Value::Null));
    let new = changed.cookie_pair();
    assert_ne!(new, old);
    assert_eq!(world.me("cookie", &new), 200);
    assert_eq!(world.me("cookie", &old), 401);
    let token = old.split_once('=').unwrap().1;
    assert_eq!(world.me_by_token(token), 401);
    assert_eq!(world.me_by_token(&there), 401);
    assert_eq!(world.sign_in(PASSWORD, &[]).status, 401);
    assert_eq!(world.sign_in(NEW, &[]).status, 201);
    assert_eq!(
        world.me("cookie", &new),
        200,
        "a later sign-in ends no session"
    );
}

/// A 204 has no body that could carry a new token.
#[test]
fn a_password_change_by_a_program_keeps_its_token() {
    let world = world(&config());
    let (here, there) = (world.token(), world.token());
    let bearer = format!("Bearer {here}");
    let changed = world.change(&[("authorization", &bearer)], PASSWORD);
    assert_eq!((changed.status, changed.cookie), (204, None));
    assert_eq!(world.me_by_token(&here), 200);
    assert_eq!(world.me_by_token(&there), 401);
}

#[test]
fn a_sign_in_ends_the_session_whose_cookie_it_replaces() {
    let world = world(&config());
    let old = world.sign_in(PASSWORD, &[]).cookie_pair();
    let elsewhere = world.token();
    let wrong = world.sign_in("wrong horse", &[("cookie", &old)]);
    assert_eq!((wrong.status, world.me("cookie", &old)), (401, 200));
    let new = world.sign_in(PASSWORD, &[("cookie", &old)]).cookie_pair();
    assert_eq!(world.me("cookie", &old), 401);
    assert_eq!(world.me("cookie", &new), 200);
    assert_eq!(
        world.me_by_token(&elsewhere),
        200,
        "other sessions continue"
    );
}

#[test]
fn a_renewed_session_has_the_lifetime_of_a_new_one() {
    let world = world(&config());
    let old = world.sign_in(PASSWORD, &[]).cookie_pair();
    let twenty_hours = 60;
    for _ in 0..twenty_hours {
        world.app.pass(20 * MINUTE);
        assert_eq!(world.me("cookie", &old), 200);
    }
    let here = [("cookie", old.as_str()), ("sec-fetch-site", "same-origin")];
    let new = world.change(&here, PASSWORD).cookie_pair();
    for _ in 0..twenty_hours {
        world.app.pass(20 * MINUTE);
        assert_eq!(world.me("cookie", &new), 200);
    }
}
