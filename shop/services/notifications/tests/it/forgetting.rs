//! Mails that were sent long ago.

use std::time::Duration;

use shop_notifications::mailbox::MailRow;
use shop_notifications::mailer::Sent;
use wingbeat::Select;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lets days pass without the service.
fn pass_days(world: &mut TestApp, days: u32) {
    world.crash_for(DAY * days, App::new().service(service(&Config::default())));
    world.pass(DAY / 24);
}

/// Returns the number of mails in the mailbox, and the keys of the records of sent mails.
fn stored(world: &TestApp) -> (usize, Vec<String>) {
    let reads = world.reads("notifications");
    let rows = world
        .run(reads.rows::<MailRow>(Select::All, None, 1_000))
        .unwrap();
    let sent = world.run(reads.entities::<Sent>(None, 1_000)).unwrap();
    (
        rows.rows.len(),
        sent.into_iter().map(|(key, _)| key).collect(),
    )
}

fn paid(world: &TestApp, number: u8) {
    let order_id = format!("0193f0a0-0000-7000-8000-0000000001{number:02}");
    let order_id: OrderId = order_id.parse().unwrap();
    let (user_id, total) = (ada(), Money::eur(1_999));
    world.publish(
        order_id.0,
        &OrderPaid {
            order_id,
            user_id,
            total,
        },
    );
    settle(world);
}

#[test]
fn mails_are_deleted_after_30_days_and_their_records_after_90() {
    let mut world = world();
    remember(&world, true);
    register(&world);
    issue_promo(&world);
    (0..3).for_each(|number| paid(&world, number));
    assert_eq!(stored(&world).0, 5);
    pass_days(&mut world, 29);
    assert_eq!((stored(&world).0, stored(&world).1.len()), (5, 5));
    pass_days(&mut world, 2);
    paid(&world, 3);
    assert_eq!((stored(&world).0, stored(&world).1.len()), (1, 6));
    pass_days(&mut world, 60);
    let (mails, records) = stored(&world);
    assert_eq!(mails, 0);
    let kept: Vec<&str> = records
        .iter()
        .filter_map(|key| Some(key.split_once('/')?.0))
        .collect();
    assert_eq!(kept, ["order_paid", "promo", "welcome"]);
    // What is sent once for ever is not sent again.
    register(&world);
    issue_promo(&world);
    assert_eq!(stored(&world).0, 0);
}
