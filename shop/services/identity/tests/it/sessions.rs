//! What ends a session, and what begins another.

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

    /// A signed-in program's token.
    fn token(&self) -> String {
        let reply = self.sign_in(PASSWORD, &[]);
        reply.json["token"].as_str().unwrap().to_owned()
    }

    fn change(&self, headers: &[(&str, &str)], current: &str) -> Reply {
        let form = json!({"current": current, "new": NEW});
        self.send("PUT", "/api/v1/me/password", headers, &form)
    }

    /// The status of `/me` for a session.
    fn me(&self, name: &str, value: &str) -> u16 {
        self.send("GET", "/api/v1/me", &[(name, value)], &Value::Null)
            .status
    }

    fn me_by_token(&self, token: &str) -> u16 {
        self.me("authorization", &format!("Bearer {token}"))
    }
}

impl Reply {
    /// `name=value` of the cookie that is set.
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
fn another_password_ends_the_old_cookie_and_gives_a_new_one() {
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
    assert_eq!(world.me("cookie", &new), 200, "a later sign-in ends nobody");
}

/// 204 has no body: there is no way to tell a program another token.
#[test]
fn another_password_leaves_a_program_the_token_that_it_changed_it_with() {
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
    assert_eq!(world.me_by_token(&elsewhere), 200, "others go on");
}

#[test]
fn a_renewed_session_lives_on_as_a_new_one_does() {
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
