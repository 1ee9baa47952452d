//! `DELETE /me`.

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::UserId;
use shop_contracts::identity::UserErased;
use shop_identity::audit;
use shop_identity::config::Hashing;

use super::{EMAIL, PASSWORD, Reply, World, config, world};

impl World {
    fn signed_in(&self) -> (UserId, String) {
        let form = json!({"email": EMAIL, "password": PASSWORD});
        let session = self.send("POST", "/api/v1/sessions", &[], &form);
        assert_eq!(session.status, 201);
        let text = |name: &str| session.json[name].as_str().unwrap().to_owned();
        (text("user_id").parse().unwrap(), text("token"))
    }

    fn erase(&self, token: &str, password: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let form = json!({"password": password});
        self.send("DELETE", "/api/v1/me", &headers, &form)
    }

    fn status_of(&self, token: &str) -> u16 {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        self.send("GET", "/api/v1/me", &headers, &Value::Null)
            .status
    }

    fn registered(&self) -> audit::Registered {
        let reads = self.app.reads("identity");
        self.app.run(audit::registered(&reads)).unwrap()
    }
}

#[test]
fn an_erased_user_is_signed_out_everywhere_and_can_register_anew() {
    let world = world(&config());
    let (user, here) = world.signed_in();
    let (_, there) = world.signed_in();
    let erased = world.erase(&here, PASSWORD);
    assert_eq!(erased.status, 202);
    assert_eq!(erased.json, json!({"user_id": user.to_string()}));
    assert!(erased.cookie.unwrap().contains("Max-Age=0"));
    assert_eq!(
        (world.status_of(&here), world.status_of(&there)),
        (401, 401)
    );
    assert_eq!(world.erase(&here, PASSWORD).status, 401);
    assert_eq!(world.sign_in_from("127.0.0.1", None, PASSWORD), 401);
    world.app.pass(Duration::from_secs(1)); // It is never idle: nobody remembers the address.
    assert!(world.registered().erased.contains(&user));
    assert!(world.registered().active.is_empty());

    let form = json!({"email": EMAIL, "password": PASSWORD, "name": "Ada"});
    let again = world.send("POST", "/api/v1/users", &[], &form);
    assert_eq!(again.status, 201);
    assert_ne!(again.json["user_id"], json!(user.to_string()));
    let (new, token) = world.signed_in();
    assert_ne!(new, user);
    assert_eq!(world.status_of(&token), 200);
}

#[test]
fn only_the_right_password_erases_and_wrong_ones_are_limited() {
    let world = world(&config());
    let (user, token) = world.signed_in();
    for _ in 0..10 {
        assert_eq!(world.erase(&token, "wrong horse").status, 403);
    }
    let limited = world.erase(&token, PASSWORD);
    assert_eq!(limited.status, 429);
    assert_eq!(world.status_of(&token), 200);
    assert!(world.registered().active.contains(&user));
}

/// As after a crash between the commit and the end of the sessions.
#[test]
fn the_event_ends_sessions_that_the_request_has_left() {
    let world = world(&config());
    let (user, _) = world.signed_in();
    let left = world.app.sign_in(user.0, false);
    assert_eq!(world.status_of(&left), 200);
    world.app.publish(user.0, &UserErased { user_id: user });
    world.app.pass(Duration::from_secs(1)); // It is never idle: nobody remembers the address.
    assert_eq!(world.status_of(&left), 401);
}

#[test]
fn the_admin_cannot_be_erased() {
    let world = world(&config());
    let context = world.app.service("identity");
    let hashing = Hashing { ..config().hashing };
    let made = shop_identity::ensure_admin(&context, &hashing, "an admin's password");
    world.app.run(made).unwrap();
    let form = json!({"email": "admin@shop.example", "password": "an admin's password"});
    let session = world.send("POST", "/api/v1/sessions", &[], &form);
    let token = session.json["token"].as_str().unwrap();
    let refused = world.erase(token, "an admin's password");
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (403, &json!("forbidden"))
    );
    assert_eq!(world.status_of(token), 200);
    world.app.pass(Duration::from_secs(1));
    assert_eq!(world.registered().erased.len(), 0);
}
