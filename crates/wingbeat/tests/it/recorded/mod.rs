//! Stories that are recorded, exported and replayed.

#[cfg(feature = "personal")]
mod personal;
mod shop;
#[cfg(all(feature = "embedded", feature = "servers"))]
mod stores;

use std::time::Duration;

use uuid::Uuid;
use wingbeat::recording::{Input, Outcome};
use wingbeat::story::{FORMAT, Story};
use wingbeat::test::replay::{Recorded, Replayer, load_all};
use wingbeat::test::{TestApp, assert_replays};
use wingbeat::{Name, Recording};

use shop::{Place, Release, carrier, shop};

fn story(order: u32) -> Uuid {
    Uuid::from_u64_pair(
        0x0190_0000_0000_7000,
        0x8000_0000_0000_0000 + u64::from(order),
    )
}

fn place(app: &TestApp, order: u32, count: u32) {
    let item = format!("item-{}", order % 3);
    app.publish(story(order), &Place { order, item, count });
}

fn start(release: Release, recording: Recording) -> TestApp {
    TestApp::with_http(1, shop(release).recording(recording), carrier())
}

fn recorded(app: &TestApp, order: u32) -> Story {
    let recorded = app.running().recorded(story(order).into());
    app.run(recorded).expect("the store reads")
}

/// Runs a shop in which orders are placed in groups, so that some items sell out.
fn run(release: Release, orders: u32) -> Vec<Story> {
    let app = start(release, Recording::all());
    for order in 0..orders {
        place(&app, order, 5 + order % 7);
        if order % 8 == 7 {
            app.pass(Duration::from_secs(5));
        }
    }
    app.until_idle();
    (0..orders).map(|order| recorded(&app, order)).collect()
}

#[test]
fn unchanged_code_does_what_was_recorded() {
    let stories = run(Release::Good, 60);
    let replayer = Replayer::new(shop(Release::Good));
    let (mut calls, mut batches) = (0, 0);
    for story in &stories {
        let report = replayer.replay(story);
        report.assert_same();
        assert!(report.skipped.is_empty(), "{:?}", report.skipped);
        assert!(report.replayed >= 3, "{report}");
        for unit in &story.units {
            match &unit.input {
                Input::Call { .. } => calls += 1,
                Input::Messages { messages, .. } => batches += usize::from(messages.len() > 1),
                _ => {}
            }
        }
    }
    assert!(calls > 0, "outside calls are part of it");
    assert!(batches > 0, "batches are part of it");
}

#[test]
fn the_difference_is_the_bug() {
    let stories = run(Release::ReservesOne, 6);
    let replayer = Replayer::new(shop(Release::Good));
    for (order, story) in (0..).zip(&stories) {
        let report = replayer.replay(story);
        let ordered = 5 + order % 7;
        assert!(!report.differences.is_empty(), "{report}");
        for difference in &report.differences {
            assert_eq!(
                difference.service, "stock",
                "nothing else differs: {report}"
            );
        }
        let mut events = report.differences.iter();
        let event = events.find(|it| it.what.starts_with("event shelf/"));
        let event = event.expect("the event differs");
        assert_eq!(event.recorded, Some(1.into()));
        assert_eq!(event.now, Some(ordered.into()));
        let shown = report.to_string();
        assert!(
            shown.contains("stock.reserve handles stock.reserve.v1"),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("recorded 1, now {ordered}")),
            "{shown}"
        );
    }
    // The control: on the code that has the bug, nothing differs.
    let replayer = Replayer::new(shop(Release::ReservesOne));
    for story in &stories {
        replayer.replay(story).assert_same();
    }
}

#[test]
fn a_release_with_another_state_folds_the_recorded_history() {
    let replayer = Replayer::new(shop(Release::OtherState));
    let mut folded = 0_u64;
    for story in run(Release::Good, 12) {
        let report = replayer.replay(&story);
        for difference in &report.differences {
            // The snapshot has a field that the recorded one has not; nothing else differs.
            assert!(difference.what.ends_with(".orders"), "{report}");
            let orders = difference.now.as_ref().and_then(serde_json::Value::as_u64);
            folded = orders.unwrap_or_default().max(folded);
        }
        assert!(!report.differences.is_empty(), "{report}");
        let mut without = story.clone();
        without.histories.clear();
        if !story.histories.is_empty() {
            let report = replayer.replay(&without).to_string();
            assert!(report.contains("the history of shelf/"), "{report}");
        }
    }
    assert!(folded > 1, "a snapshot counts all orders of its history");
}

#[test]
fn a_dead_letter_is_replayed_on_the_mended_code_whatever_the_share_is() {
    let app = start(Release::Fails, Recording::share(0.0));
    place(&app, 1, 5);
    place(&app, 2, 60);
    app.until_idle();
    assert_eq!(app.dead_letters("stock"), 1);
    assert!(recorded(&app, 1).is_empty(), "it did not fail");
    let letters = app.run(app.running().dead_letters(Name::new("stock")));
    let letters = letters.expect("the store reads");
    let message = letters[0].message().expect("a message");
    let story = recorded(&app, 2).of_dead_letter(message.id);
    assert_eq!(story.units.len(), 1);
    assert!(matches!(&story.units[0].outcome, Outcome::Failed(it) if it.code == "too_many"));

    Recorded::of(story.clone())
        .replay(shop(Release::Fails))
        .assert_same();
    let report = Recorded::of(story).replay(shop(Release::Good)).to_string();
    assert!(
        report.contains("too_many: 60 is too many\", now \"done\""),
        "{report}"
    );
    assert!(
        report.contains("message stock.reserved.v1: recorded nothing"),
        "{report}"
    );
}

#[test]
fn only_the_chosen_share_is_recorded_and_it_expires() {
    let hour = Duration::from_secs(3_600);
    let app = start(Release::Good, Recording::share(0.0));
    place(&app, 1, 5);
    app.until_idle();
    assert!(recorded(&app, 1).is_empty());

    let app = start(Release::Good, Recording::all().keep(hour * 2));
    place(&app, 1, 5);
    app.pass(hour);
    assert!(!recorded(&app, 1).is_empty());
    app.pass(hour * 2);
    assert!(recorded(&app, 1).is_empty(), "the sweep has deleted it");
}

#[test]
fn an_app_that_does_not_record_stores_nothing() {
    let app = TestApp::with_http(1, shop(Release::Good), carrier());
    place(&app, 1, 5);
    app.until_idle();
    assert!(recorded(&app, 1).is_empty());
}

#[test]
fn what_the_recording_lacks_is_a_difference_and_never_an_absent_record() {
    let mut story = run(Release::Good, 1).remove(0);
    let unit = story.units.iter_mut().find(|it| it.service == "stock");
    unit.expect("a unit of stock").reads.clear();
    let report = Recorded::of(story).replay(shop(Release::Good)).to_string();
    assert!(report.contains("reads what was not recorded"), "{report}");
    assert!(report.contains("shelf/item-0"), "{report}");
}

#[test]
fn a_folder_of_stories_is_one_line_of_a_test() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = load_all(folder.path()).expect_err("no story");
    assert_eq!(empty.code(), "story_unreadable");
    for (number, story) in run(Release::ReservesOne, 3).iter().enumerate() {
        let file = folder.path().join(format!("{number}.json"));
        std::fs::write(file, story.encode()).expect("it is written");
    }
    assert!(assert_replays(folder.path(), shop(Release::ReservesOne)) >= 9);
    let mended = || assert_replays(folder.path(), shop(Release::Good));
    let failed = std::panic::catch_unwind(mended).expect_err("it differs");
    let text = failed.downcast_ref::<String>().expect("a text");
    assert!(text.starts_with("3 of 3 stories differ"), "{text}");

    let newer = format!("{{\"format\": {}}}", FORMAT + 1);
    let why = Story::decode(newer.as_bytes()).expect_err("a newer format");
    assert_eq!(why.code(), "story_unreadable");
    assert!(
        why.to_string().contains("this release reads format 1"),
        "{why}"
    );
}
