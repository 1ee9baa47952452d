//! Inputs that arrive before their saga has started.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::policy::SagaPolicy;
use wingbeat::test::TestApp;
use wingbeat::{
    App, Event, JsonSchema, Retry, Saga, SagaEffects, SagaInput, Service, Unexpected, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "trip.booked", version = 1, key = trip)]
struct Booked {
    trip: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "trip.called_off", version = 1, key = trip)]
struct CalledOff {
    trip: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "trip.paid_back", version = 1, key = trip)]
struct PaidBack {
    trip: String,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Booked(Booked),
    CalledOff(CalledOff),
}

/// A trip. Without `DEFERS` it ignores a cancellation that comes before the booking.
#[derive(Default, Serialize, Deserialize)]
struct Trip<const DEFERS: bool> {
    booked: Option<String>,
}

impl<const DEFERS: bool> Saga for Trip<DEFERS> {
    const NAME: &'static str = "trip";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Booked(Booked { trip }) => self.booked = Some(trip),
            Input::CalledOff(CalledOff { trip }) => {
                assert_eq!(self.booked.as_ref(), Some(&trip));
                effects.publish(&PaidBack { trip }).end();
            }
        }
    }

    fn unexpected(&mut self, reason: Unexpected, input: Input, effects: &mut SagaEffects<Input>) {
        if let (true, Unexpected::NotStarted, Input::CalledOff(CalledOff { trip })) =
            (DEFERS, reason, input)
        {
            effects.publish(&PaidBack { trip }).defer();
        }
    }
}

/// Cancels a trip, and books it after this time. Returns the events of its service and the number
/// of dead letters.
fn called_off_before<const DEFERS: bool>(booked_after: Duration) -> (Vec<String>, usize) {
    let app = App::new().service(Service::new("trips").saga::<Trip<DEFERS>>());
    let app = TestApp::start(1, app);
    let story = uuid::Uuid::from_u128(1);
    let trip = "a".to_owned();
    app.publish(story, &CalledOff { trip: trip.clone() });
    app.pass(booked_after);
    assert_eq!(app.published("trips", story), Vec::<String>::new());
    app.publish(story, &Booked { trip });
    app.until_idle();
    (app.published("trips", story), app.dead_letters("trips"))
}

#[test]
fn a_deferred_input_is_handled_once_the_saga_has_started() {
    // The longest time is more than an hour.
    for later in [0, 100, 3_000, 60_000, 3_600_000].map(Duration::from_millis) {
        let published = called_off_before::<true>(later);
        assert_eq!(
            published,
            (vec!["trip.paid_back.v1".to_owned()], 0),
            "{later:?}"
        );
    }
}

#[test]
fn an_input_deferred_for_too_long_becomes_a_dead_letter() {
    let published = called_off_before::<true>(Duration::from_secs(3 * 3_600));
    assert_eq!(published, (Vec::new(), 1));
}

/// The dead letters one minute after a trip was called off that nobody books.
fn dead_letters_after_a_minute(policy: SagaPolicy) -> usize {
    let trips = Service::new("trips").saga_with::<Trip<true>>(policy);
    let app = TestApp::start(1, App::new().service(trips));
    let trip = "a".to_owned();
    app.publish(uuid::Uuid::from_u128(1), &CalledOff { trip });
    app.pass(Duration::from_secs(60));
    app.dead_letters("trips")
}

#[test]
fn a_saga_gives_an_input_up_after_the_attempts_of_its_policy() {
    let retry = Retry {
        quick: 1,
        parked: vec![Duration::from_secs(1)],
        ..Retry::default()
    };
    let impatient = SagaPolicy {
        retry,
        ..SagaPolicy::default()
    };
    assert_eq!(dead_letters_after_a_minute(impatient), 1);
    assert_eq!(dead_letters_after_a_minute(SagaPolicy::default()), 0);
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "trip.due", version = 1, key = trip)]
struct Due {
    trip: String,
}

#[derive(SagaInput)]
enum Waits {
    #[saga(start)]
    Booked(Booked),
    #[saga(timer)]
    Due(Due),
}

/// A saga that defers its own timer, although it should set the timer again.
#[derive(Default, Serialize, Deserialize)]
struct Waiting;

impl Saga for Waiting {
    const NAME: &'static str = "waiting";
    type Input = Waits;

    fn step(&mut self, input: Waits, effects: &mut SagaEffects<Waits>) {
        match input {
            Waits::Booked(Booked { trip }) => effects.after(Duration::from_secs(1), &Due { trip }),
            Waits::Due(Due { trip }) => effects.publish(&PaidBack { trip }).defer(),
        };
    }

    fn unexpected(
        &mut self,
        _reason: Unexpected,
        _input: Waits,
        _effects: &mut SagaEffects<Waits>,
    ) {
    }
}

#[test]
fn a_deferred_timer_becomes_a_dead_letter() {
    let app = App::new().service(Service::new("trips").saga::<Waiting>());
    let app = TestApp::start(1, app);
    let story = uuid::Uuid::from_u128(1);
    let trip = "a".to_owned();
    app.publish(story, &Booked { trip });
    app.pass(Duration::from_secs(2));
    let published = app.published("trips", story);
    assert_eq!((published, app.dead_letters("trips")), (Vec::new(), 1));
}

#[test]
fn an_early_input_that_is_not_deferred_is_ignored() {
    let published = called_off_before::<false>(Duration::from_millis(100));
    assert_eq!(published, (Vec::new(), 0));
}
