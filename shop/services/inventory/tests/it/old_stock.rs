//! Reservations and rows of the ledger that are old.

use std::time::Duration;

use shop_contracts::inventory::AdjustStock;
use shop_inventory::domain::Reservation;
use shop_inventory::views::LedgerRow;
use shop_inventory::{Config, service};
use wingbeat::test::TestApp;
use wingbeat::{App, Select};

use crate::warehouse::{commit, figures, order, release, reserve, sku, stocked};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lets days pass without the service.
fn pass_days(world: &mut TestApp, days: u32) {
    world.crash_for(DAY * days, App::new().service(service(&Config::default())));
    world.pass(DAY / 24);
}

fn reservation(world: &TestApp, number: u32) -> Option<Reservation> {
    let reads = world.reads("inventory");
    world
        .run(reads.entity::<Reservation>(&order(number)))
        .unwrap()
}

/// Adds single units.
fn adjust(world: &TestApp, of: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let command = AdjustStock {
            sku: sku(of),
            delta: 1,
            reason: "delivered".into(),
            adjustment_id: order(number).0,
        };
        world.publish(command.adjustment_id, &command);
    }
    world.pass(Duration::from_secs(5));
}

fn rows(world: &TestApp) -> Vec<LedgerRow> {
    let reads = world.reads("inventory");
    let rows = world.run(reads.rows::<LedgerRow>(Select::All, None, 10_000));
    rows.unwrap().rows.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn reservations_that_have_ended_are_deleted_after_90_days() {
    let mut world = stocked(1);
    let before = figures(&world, "TEA");
    reserve(&world, order(11), &[("TEA", 1)]);
    commit(&world, order(11));
    reserve(&world, order(12), &[("TEA", 1)]);
    release(&world, order(12));
    release(&world, order(13));
    let stored = |world: &TestApp| [11, 12, 13].map(|number| reservation(world, number).is_some());
    pass_days(&mut world, 88);
    assert_eq!(stored(&world), [true; 3]);
    pass_days(&mut world, 3);
    assert_eq!(stored(&world), [false; 3]);
    assert_eq!(figures(&world, "TEA"), (before.0 - 1, 0));
}

#[test]
fn old_rows_of_the_ledger_are_folded_into_one_with_their_sum() {
    let mut world = stocked(1);
    let (before, others) = (figures(&world, "TEA").0, rows(&world).len());
    adjust(&world, "TEA", 1_000..1_200);
    assert_eq!(rows(&world).len(), others + 200);
    pass_days(&mut world, 91);
    adjust(&world, "TEA", 2_000..2_128);
    // Those of before are one. The other products have theirs.
    assert_eq!(rows(&world).len(), others + 128);
    let carried = rows(&world)
        .into_iter()
        .filter(|row| row.reason == "carried forward");
    let carried: Vec<i64> = carried.map(|row| row.delta).collect();
    assert_eq!(carried, [before + 200]);
    assert_eq!(figures(&world, "TEA").0, before + 328);
    pass_days(&mut world, 91);
    adjust(&world, "TEA", 3_000..3_128);
    assert_eq!(
        rows(&world).len(),
        others + 128,
        "what was folded is folded again"
    );
    assert_eq!(figures(&world, "TEA").0, before + 456);
}
