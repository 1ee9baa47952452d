//! Overload by what waits in the store and in queues, on the model.

use wingbeat::test::Outages;

use super::*;

/// The time within which a new reading of store and broker takes effect.
const COUNTED: Duration = Duration::from_secs(4);

fn mark(high: u64, low: u64) -> Option<Watermark> {
    Some(Watermark { high, low })
}

/// Votes so many times, whether it is refused or not.
fn vote_often(app: &TestApp, times: usize) {
    let votes = (0..times).map(|_| request("POST", "/votes", &of_song()));
    drop(app.send_at_once(votes.collect()));
}

/// Fills the queue of a paused subscription, and resumes it. Returns the classes that are refused
/// before, meanwhile and afterwards.
fn full_queue(app: &TestApp) -> [Vec<bool>; 4] {
    let before = refused(app);
    let pause = app.running().pause("songs", SUBSCRIPTION);
    assert!(app.run(pause).expect("the store writes"));
    vote_often(app, 220);
    app.pass(COUNTED);
    let high = refused(app);
    vote_often(app, 100);
    app.pass(COUNTED);
    let higher = refused(app);
    let resume = app.running().resume("songs", SUBSCRIPTION);
    assert!(app.run(resume).expect("the store writes"));
    // Nobody asks for anything until it has recovered.
    app.pass(Duration::from_secs(30));
    [before, high, higher, refused(app)]
}

#[test]
fn the_full_queue_of_a_paused_subscription_refuses_requests_until_it_has_drained() {
    let watermarks = Watermarks {
        queues: mark(200, 50),
        ..Watermarks::off()
    };
    let expected = [
        [false; 4],
        [true, false, false, false],
        [true, true, false, false],
        [false; 4],
    ];
    let watched = overload(watermarks, &Gauges::default());
    let app = TestApp::start(1, songs().shedding(watched.clone()));
    assert_eq!(full_queue(&app), expected);
    assert_eq!(watched.level(), Level::Zero);

    // The control: an app that never refuses.
    assert_ne!(full_queue(&TestApp::start(1, songs())), expected);
}

#[test]
fn an_outbox_that_the_broker_does_not_take_refuses_requests_until_it_is_empty() {
    let watermarks = Watermarks {
        backlog: mark(100, 10),
        ..Watermarks::off()
    };
    let app = songs().shedding(overload(watermarks, &Gauges::default()));
    let app = TestApp::start(2, app);
    app.set_outages(Outages {
        broker: true,
        ..Outages::default()
    });
    vote_often(&app, 120);
    app.pass(Duration::from_secs(10));
    assert_eq!(refused(&app), [true, false, false, false]);
    app.set_outages(Outages::default());
    app.pass(Duration::from_secs(30));
    assert_eq!(refused(&app), [false; 4]);
}

#[test]
fn old_messages_are_overload_only_if_there_are_many() {
    let watermarks = Watermarks {
        lag: mark(120, 30),
        ..Watermarks::off()
    };
    for (votes, level) in [(990, Level::Zero), (1_010, Level::One)] {
        let watched = overload(watermarks, &Gauges::default());
        let app = TestApp::start(3, songs().shedding(watched.clone()));
        app.set_outages(Outages {
            broker: true,
            ..Outages::default()
        });
        vote_often(&app, votes);
        app.pass(Duration::from_secs(110));
        assert_eq!(watched.level(), Level::Zero);
        app.pass(Duration::from_secs(20));
        assert_eq!(watched.level(), level, "{votes}");
        app.set_outages(Outages::default());
        app.pass(Duration::from_secs(60));
        assert_eq!(watched.level(), Level::Zero);
    }
}

#[test]
fn a_store_that_does_not_answer_keeps_the_last_level() {
    let watermarks = Watermarks {
        backlog: mark(100, 10),
        ..Watermarks::off()
    };
    let watched = overload(watermarks, &Gauges::default());
    let app = TestApp::start(4, songs().shedding(watched.clone()));
    let up = Outages::default();
    app.set_outages(Outages { broker: true, ..up });
    vote_often(&app, 120);
    app.pass(Duration::from_secs(10));
    assert_eq!(watched.level(), Level::One);
    let broken = Outages {
        broker: true,
        store: true,
        ..up
    };
    app.set_outages(broken);
    app.pass(Duration::from_secs(60));
    assert_eq!(watched.level(), Level::One);
    let reading = watched.readings()[0];
    assert_eq!(reading.resource, Resource::Backlog);
    assert!(reading.value >= Some(100), "{reading:?}");
    app.set_outages(up);
    app.pass(Duration::from_secs(60));
    assert_eq!(watched.level(), Level::Zero);
}
