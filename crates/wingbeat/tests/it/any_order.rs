//! A saga that receives its inputs in any order always has a timer, and reaches its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::test::{KeptSaga, ends_in_any_order};
use wingbeat::{Command, Event, JsonSchema, Saga, SagaEffects, SagaInput, Unexpected, schemars};

const BODY: &[u8] = br#"{"parcel": 7}"#;

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.sold", version = 1, key = parcel)]
struct Sold {
    parcel: u32,
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "carrier.fetch", version = 1, key = parcel)]
struct Fetch {
    parcel: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "carrier.fetched", version = 1, key = parcel)]
struct Fetched {
    parcel: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.late", version = 1, key = parcel)]
struct Late {
    parcel: u32,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Sold(Sold),
    Fetched(Fetched),
    #[saga(timer)]
    Late(Late),
}

/// The saga asks the carrier until the parcel was fetched.
#[derive(Default, Serialize, Deserialize)]
struct Pickup;

/// The same saga, which does not set its timer again.
#[derive(Default, Serialize, Deserialize)]
struct AsksTwice;

fn step(input: Input, effects: &mut SagaEffects<Input>, sets_again: bool) {
    let minute = Duration::from_secs(60);
    match input {
        Input::Sold(Sold { parcel }) => {
            effects.send(&Fetch { parcel });
            effects.after(minute, &Late { parcel });
        }
        Input::Late(Late { parcel }) => {
            effects.send(&Fetch { parcel });
            if sets_again {
                effects.after(minute, &Late { parcel });
            }
        }
        Input::Fetched(_) => {
            effects.end();
        }
    }
}

impl Saga for Pickup {
    const NAME: &'static str = "pickup";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        step(input, effects, true);
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

impl Saga for AsksTwice {
    const NAME: &'static str = "pickup";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        step(input, effects, false);
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

fn fetched(command: &str) -> &'static [&'static str] {
    match command {
        "carrier.fetch.v1" => &["carrier.fetched.v1"],
        _ => &[],
    }
}

#[test]
fn a_saga_that_asks_until_it_is_answered_ends() {
    ends_in_any_order::<Pickup>(0..100, BODY, fetched);
}

#[test]
#[should_panic(expected = "after shop.late.v1 the saga is")]
fn a_saga_that_runs_without_a_timer_is_found() {
    ends_in_any_order::<AsksTwice>(0..100, BODY, fetched);
}

#[test]
#[should_panic(expected = "the saga remains in")]
fn a_saga_that_is_never_answered_is_found() {
    ends_in_any_order::<Pickup>(0..100, BODY, |_| &[]);
}

#[test]
#[should_panic(expected = "does not decode as shop.sold.v1")]
fn a_body_without_the_fields_of_an_input_is_found() {
    ends_in_any_order::<Pickup>(0..100, b"{}", fetched);
}

#[test]
fn inputs_that_the_runtime_would_not_deliver_have_no_effect() {
    let mut saga = KeptSaga::<Pickup>::new(BODY);
    assert_eq!(
        saga.receive("shop.late.v1"),
        [""; 0],
        "the timer is not set"
    );
    assert_eq!(
        saga.receive("carrier.fetched.v1"),
        [""; 0],
        "it has not started"
    );
    assert!(!saga.is_ended());
    assert_eq!(saga.receive("shop.sold.v1"), ["carrier.fetch.v1"]);
    assert_eq!(saga.receive("shop.late.v1"), ["carrier.fetch.v1"]);
    assert_eq!(saga.receive("carrier.fetched.v1"), [""; 0]);
    assert!(saga.is_ended());
    assert_eq!(saga.receive("shop.sold.v1"), [""; 0], "it has ended");
}
