//! The limits on wrong passwords, by account and by the caller's address.

use serde_json::json;
use shop_identity::Config;

use super::{EMAIL, PASSWORD, World, config, world};

const GATEWAY: &str = "10.0.0.2";
const EVE: &str = "192.0.2.66";
const ADA: &str = "192.0.2.7";

fn behind_gateway() -> Config {
    Config {
        trust_forwarded: true,
        ..config()
    }
}

fn ten_wrong(world: &World, peer: &str, forwarded: Option<&str>) {
    for _ in 0..10 {
        assert_eq!(world.sign_in_from(peer, forwarded, "wrong horse"), 401);
    }
    assert_eq!(world.sign_in_from(peer, forwarded, PASSWORD), 429);
}

#[test]
fn wrong_passwords_from_one_address_do_not_lock_out_another() {
    let world = world(&behind_gateway());
    ten_wrong(&world, GATEWAY, Some(EVE));
    assert_eq!(world.sign_in_from(GATEWAY, Some(ADA), PASSWORD), 201);
}

/// Clouds give containers addresses of the range that providers share (RFC 6598).
#[test]
fn a_gateway_in_a_shared_range_forwards_the_callers_address() {
    let world = world(&behind_gateway());
    let gateway = "100.64.0.2";
    ten_wrong(&world, gateway, Some(EVE));
    assert_eq!(world.sign_in_from(gateway, Some(ADA), PASSWORD), 201);
    let outside = "100.128.0.2";
    ten_wrong(&world, outside, Some("198.51.100.1"));
    assert_eq!(
        world.sign_in_from(outside, Some("198.51.100.2"), PASSWORD),
        429
    );
}

#[test]
fn a_forged_forwarding_header_gives_no_further_attempts() {
    let world = world(&config()); // There is no gateway in front.
    let neighbour = "192.168.1.5";
    ten_wrong(&world, neighbour, None);
    assert_eq!(world.sign_in_from(neighbour, Some(ADA), PASSWORD), 429);
    assert_eq!(world.sign_in_from(ADA, None, PASSWORD), 201);
}

#[test]
fn the_forwarding_header_of_a_public_address_is_ignored() {
    let world = world(&behind_gateway());
    ten_wrong(&world, EVE, Some("198.51.100.1"));
    assert_eq!(world.sign_in_from(EVE, Some("198.51.100.2"), PASSWORD), 429);
    let gateway = "::ffff:10.0.0.2"; // The form that a dual-stack socket reports.
    assert_eq!(world.sign_in_from(gateway, Some(EVE), PASSWORD), 429);
    assert_eq!(world.sign_in_from(gateway, Some(ADA), PASSWORD), 201);
}

#[test]
fn only_the_address_that_the_gateway_added_counts() {
    let world = world(&behind_gateway());
    ten_wrong(&world, GATEWAY, Some("198.51.100.1, 192.0.2.66"));
    let spoofed = Some("198.51.100.2, 192.0.2.66");
    assert_eq!(world.sign_in_from(GATEWAY, spoofed, PASSWORD), 429);
}

/// One password for many accounts is guessing too.
#[test]
fn wrong_passwords_for_many_accounts_block_their_address() {
    let world = world(&config());
    let spray = |number: usize| {
        let form =
            json!({"email": format!("user-{number}@shop.example"), "password": "Summer2026"});
        world
            .send_from(EVE, "POST", "/api/v1/sessions", &[], &form)
            .status
    };
    let answers: Vec<u16> = (0..60).map(spray).collect();
    assert_eq!(answers[..30], [401; 30]);
    assert_eq!(answers[30..], [429; 30]);
    assert_eq!(world.sign_in_from(EVE, None, PASSWORD), 429);
    assert_eq!(world.sign_in_from(ADA, None, PASSWORD), 201);
}

#[test]
fn wrong_passwords_from_many_addresses_block_their_account() {
    let world = world(&config());
    let guess = |number: usize| {
        let address = format!("198.51.{}.{}", number / 200, number % 200);
        world.sign_in_from(&address, None, "wrong horse")
    };
    let answers: Vec<u16> = (0..110).map(guess).collect();
    assert_eq!(answers[..100], [401; 100]);
    assert_eq!(answers[100..], [429; 10]);
}

#[test]
fn the_addresses_of_one_ipv6_network_share_their_attempts() {
    let world = world(&config());
    for host in 0..10 {
        let address = format!("2001:db8:1:2:{host}::1");
        assert_eq!(world.sign_in_from(&address, None, "wrong horse"), 401);
    }
    let same = world.sign_in_from("2001:db8:1:2:ffff::1", None, PASSWORD);
    assert_eq!(same, 429);
    assert_eq!(world.sign_in_from("2001:db8:1:3::1", None, PASSWORD), 201);
}

#[test]
fn right_passwords_do_not_count() {
    let world = world(&config());
    for _ in 0..120 {
        assert_eq!(world.sign_in_from(EVE, None, PASSWORD), 201);
    }
    ten_wrong(&world, EVE, None);
}

/// All spellings of an address are one account.
#[test]
fn another_spelling_of_the_account_gives_no_further_attempts() {
    let world = world(&config());
    ten_wrong(&world, EVE, None);
    for email in ["ADA@shop.example", "ａda@shop.example", "ada@ſhop.example"] {
        let form = json!({"email": email, "password": PASSWORD});
        let reply = world.send_from(EVE, "POST", "/api/v1/sessions", &[], &form);
        assert_eq!(reply.status, 429, "{email}");
    }
}

/// All guesses are in flight before the first one fails.
#[test]
fn concurrent_guesses_do_not_exceed_the_limit() {
    let world = world(&Config {
        hashing: shop_identity::config::Hashing {
            concurrency: 40,
            ..config().hashing
        },
        ..config()
    });
    let form = json!({"email": EMAIL, "password": "wrong horse"});
    let statuses = world.send_at_once(40, EVE, "POST", "/api/v1/sessions", &form);
    let failed = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(failed, 10, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)));
}

/// The current password of a new one is a guess like any other.
#[test]
fn guesses_at_the_current_password_count() {
    let world = world(&config());
    let form = json!({"email": EMAIL, "password": PASSWORD});
    let reply = world.send_from(EVE, "POST", "/api/v1/sessions", &[], &form);
    let bearer = format!("Bearer {}", reply.json["token"].as_str().unwrap());
    let guess = |current: &str| {
        let form = json!({"current": current, "new": "battery staple"});
        let headers = [("authorization", bearer.as_str())];
        world
            .send_from(EVE, "PUT", "/api/v1/me/password", &headers, &form)
            .status
    };
    for _ in 0..10 {
        assert_eq!(guess("wrong horse"), 403);
    }
    assert_eq!(guess(PASSWORD), 429);
    assert_eq!(world.sign_in_from(EVE, None, PASSWORD), 429);
    assert_eq!(world.sign_in_from(ADA, None, PASSWORD), 201);
}

#[test]
fn a_look_alike_of_an_address_cannot_register() {
    let world = world(&config());
    for email in [
        "ada@ſhop.example",
        "ａｄａ@shop.example",
        "аda@shop.example",
    ] {
        let form = json!({"email": email, "password": PASSWORD, "name": "Eve"});
        let status = world.send("POST", "/api/v1/users", &[], &form).status;
        assert_eq!(status, 422, "{email}");
    }
}

/// A blocked caller gets its refusal without waiting for a turn of the hasher.
#[test]
fn a_blocked_caller_waits_for_no_turn() {
    let world = world(&Config {
        hashing: shop_identity::config::Hashing {
            concurrency: 1,
            wait: std::time::Duration::ZERO,
            ..config().hashing
        },
        ..config()
    });
    ten_wrong(&world, EVE, None);
    let form = json!({"email": EMAIL, "password": "wrong horse"});
    let statuses = world.send_at_once(40, EVE, "POST", "/api/v1/sessions", &form);
    assert_eq!(statuses, [429; 40]);
}

/// Only attempts are counted, and only failed ones.
#[test]
fn a_blocked_address_and_a_right_password_leave_no_counts() {
    let world = world(&config());
    let count = |kind: &str, of: &str| {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(of));
        let key = format!("login-failures:{kind}:{digest}");
        let identity = world.app.service("identity");
        world.app.run(wingbeat::run_unit::<_, wingbeat::Error, _>(
            &identity,
            |scope| {
                let key = key.clone();
                async move { Ok(scope.cache().get(&key).await?.is_some()) }
            },
        ))
    };
    let counts = |account: &str, address: &str| {
        [
            count("address", address),
            count("both", &format!("{account}\n{address}")),
            count("account", account),
        ]
        .map(|it| it.expect("the cache reads"))
    };
    assert_eq!(world.sign_in_from(ADA, None, PASSWORD), 201);
    world.app.pass(std::time::Duration::from_millis(2));
    assert_eq!(counts(EMAIL, ADA), [false; 3]);
    assert_eq!(world.sign_in_from(ADA, None, "wrong horse"), 401);
    assert_eq!(counts(EMAIL, ADA), [true; 3]);

    for number in 0..60 {
        let email = format!("user-{number}@shop.example");
        let form = json!({"email": email, "password": "Summer2026"});
        let reply = world.send_from(EVE, "POST", "/api/v1/sessions", &[], &form);
        let counted = reply.status == 401;
        assert_eq!(counts(&email, EVE), [true, counted, counted], "{email}");
    }
}
