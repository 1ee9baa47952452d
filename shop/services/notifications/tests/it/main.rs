//! Notifications on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod forgetting;
mod smtp;

use std::time::Duration;

use shop_contracts::identity::{UserErased, UserRegistered};
use shop_contracts::notifications::RememberAddress;
use shop_contracts::orders::{OrderPaid, OrderShipped};
use shop_contracts::promotions::PromoIssued;
use shop_contracts::{Money, OrderId, UserId};
use shop_notifications::{Config, audit, mailbox, service};
use wingbeat::test::{Faults, TestApp};
use wingbeat::{App, Timestamp};

const ADDRESS: &str = "Ada@example.org";

fn world() -> TestApp {
    TestApp::start(1, App::new().service(service(&Config::default())))
}

fn ada() -> UserId {
    "0193f0a0-0000-7000-8000-000000000001".parse().unwrap()
}

fn order() -> OrderId {
    "0193f0a0-0000-7000-8000-000000000011".parse().unwrap()
}

fn remember(world: &TestApp, marketing_opt_in: bool) {
    let command = RememberAddress {
        user_id: ada(),
        email: ADDRESS.into(),
        name: "Ada".into(),
        marketing_opt_in,
    };
    world.publish(ada().0, &command);
    settle(world);
}

fn register(world: &TestApp) {
    let event = UserRegistered {
        user_id: ada(),
        marketing_opt_in: false,
    };
    world.publish(ada().0, &event);
    settle(world);
}

fn issue_promo(world: &TestApp) {
    let event = PromoIssued {
        user_id: ada(),
        code: "WELCOME-12345678".into(),
        percent: shop_contracts::Percent::new(10).unwrap(),
        expires_at: Timestamp::MAX,
    };
    world.publish(ada().0, &event);
    settle(world);
}

fn settle(world: &TestApp) {
    world.pass(Duration::from_secs(1));
}

fn mails(world: &TestApp, to: Option<&str>) -> Vec<String> {
    let found = world.run(mailbox(&world.reads("notifications"), to));
    let items = found.unwrap().items.into_iter();
    items.map(|item| item.template).collect()
}

#[test]
fn a_new_user_is_welcomed_once_in_any_order_of_events() {
    for address_first in [true, false] {
        let world = world();
        if address_first {
            remember(&world, false);
        }
        register(&world);
        register(&world);
        remember(&world, false);
        assert_eq!(mails(&world, Some("ada@example.org")), ["welcome"]);
        let sent = world.published("notifications", ada().0);
        assert_eq!(sent, ["notifications.email_sent.v1"]);
        let reads = world.reads("notifications");
        let welcomed = |after| world.run(audit::welcomed(&reads, after)).unwrap();
        assert_eq!(welcomed(None), [ada().to_string()]);
        assert_eq!(welcomed(Some(ada().to_string())), [""; 0]);
        assert!(world.run(audit::was_welcomed(&reads, ada())).unwrap());
    }
}

#[test]
fn only_users_who_want_offers_get_promo_mails() {
    for opt_in in [true, false] {
        let world = world();
        remember(&world, opt_in);
        issue_promo(&world);
        issue_promo(&world);
        assert_eq!(mails(&world, None).len(), usize::from(opt_in));
    }
}

#[test]
fn each_step_of_an_order_is_mailed_once() {
    let world = world();
    remember(&world, false);
    let (order_id, user_id) = (order(), ada());
    for _ in 0..2 {
        let total = Money::eur(1_999);
        world.publish(
            order_id.0,
            &OrderPaid {
                order_id,
                user_id,
                total,
            },
        );
        settle(&world);
        world.publish(order_id.0, &OrderShipped { order_id, user_id });
        settle(&world);
    }
    let all = ["order_paid", "order_shipped"];
    assert_eq!(mails(&world, Some(ADDRESS)), all);
}

#[test]
fn only_the_mails_to_the_address_are_shown() {
    let world = world();
    remember(&world, false);
    register(&world);
    assert_eq!(mails(&world, Some("ada@example.or")), [""; 0]);
    assert_eq!(mails(&world, None), ["welcome"]);
}

#[test]
fn erasure_removes_the_address_and_the_mails_permanently() {
    let world = world();
    remember(&world, true);
    register(&world);
    world.publish(ada().0, &UserErased { user_id: ada() });
    settle(&world);
    assert_eq!(mails(&world, None), [""; 0]);
    remember(&world, true);
    issue_promo(&world);
    assert_eq!(mails(&world, None), [""; 0]);
    assert_eq!(world.dead_letters("notifications"), 0);
}

#[test]
fn under_faults_each_mail_is_sent_once() {
    for seed in 0..20 {
        let app = App::new().service(service(&Config::default()));
        let world = TestApp::start(seed, app);
        world.set_faults(Faults {
            commit_unknown: 100,
            store_unavailable: 50,
            confirm_lost: 100,
            duplicate: 300,
            delay: Duration::from_millis(20),
            ..Faults::default()
        });
        register(&world);
        remember(&world, true);
        issue_promo(&world);
        world.pass(Duration::from_secs(600));
        world.set_faults(Faults::default());
        let mut mails = mails(&world, Some(ADDRESS));
        mails.sort();
        assert_eq!(mails, ["promo", "welcome"], "seed {seed}");
    }
}
