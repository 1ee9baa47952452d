//! Timers that their saga cancels or replaces while they are parked.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::policy::SagaPolicy;
use wingbeat::test::TestApp;
use wingbeat::{
    App, Attempts, Event, JsonSchema, Name, Retry, Saga, SagaEffects, SagaInput, Service,
    Unexpected, schemars,
};

use crate::refusing::Log;

const MINUTE: Duration = Duration::from_secs(60);
/// The pause of a timer that failed.
const PAUSE: Duration = Duration::from_secs(600);
const ALARMS: Name = Name::new("alarms");

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "alarms.set", version = 1, key = alarm)]
struct Set {
    alarm: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Change {
    Mend,
    Cancel,
    Replace,
    ReplaceTwice,
    End,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "alarms.changed", version = 1, key = alarm)]
struct Changed {
    alarm: String,
    change: Change,
    mends: bool,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "alarms.rings", version = 1, key = alarm)]
struct Rings {
    alarm: String,
    number: u32,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Set(Set),
    Changed(Changed),
    #[saga(timer)]
    Rings(Rings),
}

/// An alarm, and the numbers of its timers that have fired. While it is broken, none of them can.
#[derive(Default, Serialize, Deserialize)]
struct Alarm {
    broken: bool,
    rung: Vec<u32>,
    set: u32,
}

impl Alarm {
    fn set(&mut self, alarm: String, effects: &mut SagaEffects<Input>) {
        self.set += 1;
        let number = self.set;
        effects.after(MINUTE, &Rings { alarm, number });
    }
}

impl Saga for Alarm {
    const NAME: &'static str = "alarm";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Set(Set { alarm }) => {
                self.broken = true;
                self.set(alarm, effects);
            }
            Input::Rings(Rings { number, .. }) => {
                assert!(!self.broken, "it cannot ring");
                self.rung.push(number);
            }
            Input::Changed(Changed {
                alarm,
                change,
                mends,
            }) => {
                self.broken &= !mends;
                match change {
                    Change::Mend => {}
                    Change::Cancel => {
                        effects.cancel::<Rings>();
                    }
                    Change::Replace => self.set(alarm, effects),
                    Change::ReplaceTwice => {
                        effects.cancel::<Rings>();
                        self.set(alarm, effects);
                    }
                    Change::End => {
                        effects.end();
                    }
                }
            }
        }
    }

    fn unexpected(&mut self, _: Unexpected, input: Input, _: &mut SagaEffects<Input>) {
        if let Input::Rings(Rings { number, .. }) = input {
            self.rung.push(number);
        }
    }
}

struct Scene(TestApp);

impl Scene {
    /// Sets an alarm whose timer fails and is parked.
    fn start() -> Self {
        let scene = Self::with(Attempts::parked([PAUSE, PAUSE]));
        assert_eq!(scene.parked(), (1, 1));
        scene
    }

    /// Sets an alarm whose timer fails.
    fn with(attempts: Attempts) -> Self {
        let policy = SagaPolicy {
            retry: Retry::default().on_code("panicked", attempts),
            ..SagaPolicy::default()
        };
        let alarms = Service::new("alarms").saga_with::<Alarm>(policy);
        let scene = Self(TestApp::start(1, App::new().service(alarms)));
        let alarm = "a".into();
        scene.0.publish(Uuid::from_u128(1), &Set { alarm });
        scene.0.pass(2 * MINUTE);
        scene
    }

    /// Delivers the only dead letter again.
    fn retry(&self) {
        let letters = self.0.run(self.0.running().dead_letters(ALARMS));
        let letters = letters.expect("they can be read");
        assert_eq!(letters.len(), 1);
        let retried = self.0.running().retry_dead_letter(ALARMS, letters[0].id);
        assert!(self.0.run(retried).expect("it is committed"));
    }

    fn change(&self, change: Change, mends: bool) {
        let changed = Changed {
            alarm: "a".into(),
            change,
            mends,
        };
        self.0.publish(Uuid::from_u128(1), &changed);
        self.0.pass(10 * Duration::from_secs(1));
    }

    /// Returns the number of parked deliveries, as stored and as counted.
    fn parked(&self) -> (u64, i64) {
        let parked = self.0.run(self.0.running().parked(ALARMS));
        let stored = parked.expect("it can be read").values().sum();
        (stored, self.count("parked:alarms.alarm"))
    }

    fn count(&self, counter: &str) -> i64 {
        let counters = self.0.run(self.0.reads("alarms").counters());
        let counters = counters.expect("they can be read");
        let found = counters.iter().find(|(name, _)| name.as_str() == counter);
        found.map_or(0, |(_, count)| *count)
    }

    /// Returns the numbers of the timers that have fired, after a time in which all could.
    fn rung(&self) -> Vec<u32> {
        self.0.pass(3 * PAUSE);
        assert_eq!((self.parked(), self.0.dead_letters("alarms")), ((0, 0), 0));
        let sagas = self.0.run(self.0.reads("alarms").sagas::<Alarm>(None, 2));
        let (_, alarm) = sagas.expect("they can be read").remove(0);
        alarm.state.rung
    }
}

#[test]
fn a_parked_timer_that_is_cancelled_or_replaced_never_fires() {
    for (change, rung) in [
        (Change::Mend, vec![1]),
        (Change::Cancel, vec![]),
        (Change::Replace, vec![2]),
        (Change::ReplaceTwice, vec![2]),
        (Change::End, vec![]),
    ] {
        let scene = Scene::start();
        scene.change(change, true);
        let parked = i64::from(change == Change::Mend);
        assert_eq!(scene.parked().1, parked, "{change:?}");
        assert_eq!(scene.rung(), rung, "{change:?}");
        // The deliveries of two messages; timers do not count.
        assert_eq!(scene.count("handled:alarms.alarm"), 2, "{change:?}");
    }
}

/// The new timer is parked, too, before the older one would have been tried again.
#[test]
fn of_two_timers_that_were_parked_only_the_newer_one_fires() {
    let scene = Scene::start();
    scene.change(Change::Replace, false);
    scene.0.pass(2 * MINUTE);
    assert_eq!(scene.parked(), (1, 1), "the newer one");
    scene.change(Change::Mend, true);
    assert_eq!(scene.rung(), [2]);
}

/// An operator who retries a dead letter does not overrule the saga.
#[test]
fn a_dead_letter_of_a_timer_that_was_cancelled_or_replaced_does_nothing() {
    for (change, rung) in [
        (Change::Mend, vec![1]),
        (Change::Cancel, vec![]),
        (Change::Replace, vec![2]),
        (Change::ReplaceTwice, vec![2]),
        (Change::End, vec![]),
    ] {
        let scene = Scene::with(Attempts::none());
        scene.change(change, true);
        scene.retry();
        assert_eq!(scene.rung(), rung, "{change:?}");
    }
}

/// The timers of a saga that is no longer registered.
#[test]
fn many_due_records_that_cannot_be_handled_write_few_lines() {
    let (log, _recording) = Log::start();
    let mut app = TestApp::start(
        1,
        App::new().service(Service::new("alarms").saga::<Alarm>()),
    );
    for number in 0..300 {
        let alarm = format!("a{number}");
        app.publish(Uuid::from_u128(1), &Set { alarm });
    }
    app.pass(MINUTE / 2);
    app.crash_for(MINUTE, App::new().service(Service::new("alarms")));
    app.pass(MINUTE);
    let lines = log.count(&["a due record cannot be handled", "unknown_queue"]);
    // Each record is claimed twice or more.
    assert!((1..=200).contains(&lines), "{lines} lines");
}
