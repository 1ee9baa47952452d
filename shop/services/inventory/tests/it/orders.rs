//! The commands of the checkout.

use std::time::Duration;

use shop_contracts::inventory::{CommitStock, ExtendReservation, ReleaseStock, ReserveStock};
use shop_inventory::{Config, service};
use wingbeat::App;
use wingbeat::test::{Faults, TestApp};

use crate::warehouse::{
    commit, figures, lines, order, release, replies, reserve, restock, stock, stocked,
};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn all_lines_are_reserved_or_none() {
    let world = stocked(1);
    let too_much = [("TEA", 2), ("CUP", 2)];
    assert_eq!(reserve(&world, order(10), &too_much), "rejected");
    assert_eq!(figures(&world, "TEA"), (10, 0));
    let enough = [("TEA", 2), ("CUP", 1)];
    assert_eq!(reserve(&world, order(11), &enough), "reserved");
    assert_eq!(figures(&world, "TEA"), (10, 2));
    assert_eq!(figures(&world, "CUP"), (1, 1));
}

#[test]
fn an_unknown_product_is_out_of_stock() {
    let world = stocked(1);
    assert_eq!(reserve(&world, order(10), &[("HAT", 1)]), "rejected");
}

#[test]
fn a_repeated_reservation_gets_the_recorded_reply() {
    let world = stocked(1);
    for _ in 0..2 {
        assert_eq!(reserve(&world, order(10), &[("TEA", 6)]), "reserved");
        assert_eq!(reserve(&world, order(11), &[("TEA", 6)]), "rejected");
    }
    assert_eq!(figures(&world, "TEA"), (10, 6));
    release(&world, order(10));
    let answer = reserve(&world, order(11), &[("TEA", 6)]);
    assert_eq!(answer, "rejected", "the recorded reply stays");
}

#[test]
fn a_reservation_after_its_release_is_rejected() {
    let world = stocked(1);
    assert_eq!(release(&world, order(10)), "released");
    assert_eq!(reserve(&world, order(10), &[("TEA", 1)]), "rejected");
    assert_eq!(figures(&world, "TEA"), (10, 0));
}

#[test]
fn units_leave_on_the_commit_and_return_on_the_restock_once() {
    let world = stocked(1);
    assert_eq!(reserve(&world, order(10), &[("TEA", 3)]), "reserved");
    for _ in 0..2 {
        assert_eq!(commit(&world, order(10)), "committed");
        assert_eq!(figures(&world, "TEA"), (7, 0));
    }
    for _ in 0..2 {
        assert_eq!(restock(&world, order(10)), "released");
        assert_eq!(figures(&world, "TEA"), (10, 0));
    }
    assert_eq!(commit(&world, order(10)), "commit_refused");
}

#[test]
fn an_expired_reservation_is_released_and_cannot_be_committed() {
    let world = stocked(1);
    assert_eq!(reserve(&world, order(10), &[("TEA", 3)]), "reserved");
    world.pass(MINUTE * 14);
    assert_eq!(figures(&world, "TEA"), (10, 3));
    world.pass(MINUTE * 2);
    assert_eq!(figures(&world, "TEA"), (10, 0));
    assert_eq!(commit(&world, order(10)), "commit_refused");
}

#[test]
fn an_extended_reservation_lasts_longer() {
    let world = stocked(1);
    let order_id = order(10);
    reserve(&world, order_id, &[("TEA", 3)]);
    world.publish(order_id.0, &ExtendReservation { order_id });
    world.pass(MINUTE * 60);
    assert_eq!(figures(&world, "TEA"), (10, 3));
    assert_eq!(commit(&world, order_id), "committed");
}

#[test]
fn an_adjustment_is_applied_once_and_never_removes_reserved_units() {
    let world = stocked(1);
    stock(&world, 1, "TEA", 10);
    assert_eq!(figures(&world, "TEA"), (10, 0));
    reserve(&world, order(10), &[("TEA", 8)]);
    stock(&world, 3, "TEA", -3);
    assert_eq!(figures(&world, "TEA"), (10, 8));
    assert_eq!(world.dead_letters("inventory"), 1);
}

/// Runs thirty orders of one unit each against ten units, under faults; a third commits, a third
/// releases.
fn rush(seed: u64) -> (TestApp, u32) {
    let world = TestApp::start(seed, App::new().service(service(&Config::default())));
    stock(&world, 1, "TEA", 10);
    world.set_faults(Faults {
        commit_unknown: 100,
        store_unavailable: 50,
        confirm_lost: 100,
        duplicate: 200,
        delay: Duration::from_millis(20),
        ..Faults::default()
    });
    for number in 100..130 {
        let order_id = order(number);
        let lines = lines(&[("TEA", 1)]);
        world.publish(order_id.0, &ReserveStock { order_id, lines });
        match number % 3 {
            0 => world.publish(order_id.0, &CommitStock { order_id }),
            1 => world.publish(order_id.0, &ReleaseStock { order_id }),
            _ => {}
        }
    }
    world.pass(MINUTE * 10);
    world.set_faults(Faults::default());
    let committed = (100..130)
        .filter(|number| replies(&world, order(*number)).contains(&"committed".into()))
        .count();
    (world, u32::try_from(committed).unwrap())
}

#[test]
fn nothing_is_oversold_under_faults_and_reordering() {
    for seed in 0..20 {
        let (world, committed) = rush(seed);
        let (on_hand, reserved) = figures(&world, "TEA");
        assert_eq!(on_hand, 10 - i64::from(committed), "seed {seed}");
        assert!((0..=on_hand).contains(&reserved), "seed {seed}");
        assert_eq!(world.dead_letters("inventory"), 0, "seed {seed}");
    }
}
