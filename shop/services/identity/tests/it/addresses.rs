//! The limit on wrong passwords, by the caller's address.

use shop_identity::Config;

use super::{PASSWORD, World, config, world};

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
