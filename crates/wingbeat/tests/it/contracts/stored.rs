//! Changes of stored data.

use serde::{Deserialize, Serialize};
use wingbeat::state::Upcasts;
use wingbeat::{
    Aggregate, App, Call, Command, Entity, Error, Event, GaveUp, JsonSchema, Result, Saga,
    SagaEffects, SagaInput, Service, Stored, TargetPolicy, Unexpected, View, schemars,
};

use super::Case;

macro_rules! entities {
    ($($name:ident { $($field:tt)* })*) => {
        $(
            #[derive(Clone, Serialize, Deserialize, JsonSchema)]
            struct $name {
                $($field)*
            }

            impl Entity for $name {
                const NAME: &'static str = "cart";
                type Id = String;
            }

            impl View for $name {
                const NAME: &'static str = "carts";
            }
        )*
    };
}

entities! {
    Cart { items: Vec<String>, state: State, }
    NotedCart { items: Vec<String>, state: State, #[serde(default)] note: String, }
    OwnedCart { items: Vec<String>, state: State, owner: String, }
    EndedCart { items: Vec<String>, state: MoreStates, }
    RenamedCart {
        #[serde(alias = "items")]
        #[schemars(extend("x-aliases" = ["items"]))]
        lines: Vec<String>,
        state: State,
    }
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
enum State {
    #[default]
    Open,
    Ordered,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
enum MoreStates {
    #[default]
    Open,
    Ordered,
    Abandoned,
}

fn entity<E: Entity + JsonSchema>() -> App {
    stores(Stored::entity::<E>())
}

fn view<V: View + JsonSchema>() -> App {
    stores(Stored::view::<V>())
}

fn stores(stored: Stored) -> App {
    App::new().service(Service::new("carts").stores(stored))
}

#[test]
fn each_change_of_an_entity_is_judged() {
    let case = Case::new;
    let none = || App::new().service(Service::new("carts"));
    let cases = [
        case("no change", entity::<Cart>(), entity::<Cart>(), &[]),
        case(
            "a field with a default more",
            entity::<Cart>(),
            entity::<NotedCart>(),
            &[],
        ),
        case(
            "a field more",
            entity::<Cart>(),
            entity::<OwnedCart>(),
            &[
                "the entity `cart` of carts: this release cannot read … `owner` may be missing … \
               affects: carts … `#[serde(default)]`",
            ],
        ),
        case(
            "a field less",
            entity::<OwnedCart>(),
            entity::<Cart>(),
            &["replicas of the last release … `owner` may be missing … rolling upgrade"],
        ),
        case(
            "a variant more",
            entity::<Cart>(),
            entity::<EndedCart>(),
            &["replicas of the last release … `state` may be `Abandoned`"],
        ),
        case(
            "a variant less",
            entity::<EndedCart>(),
            entity::<Cart>(),
            &["this release cannot read … `state` may be `Abandoned`"],
        ),
        case(
            "a renamed field with an alias",
            entity::<Cart>(),
            entity::<RenamedCart>(),
            &["replicas of the last release … `items` may be missing"],
        ),
        case(
            "another name",
            entity::<Cart>(),
            none(),
            &["orphaned … keep the name of the type"],
        ),
        case("a new entity", none(), entity::<Cart>(), &[]),
    ];
    Case::all_hold(&cases);
}

#[test]
fn each_change_of_a_view_is_judged() {
    let case = Case::new;
    let cases = [
        case(
            "a view with a default more",
            view::<Cart>(),
            view::<NotedCart>(),
            &[],
        ),
        case(
            "a view with a field more",
            view::<Cart>(),
            view::<OwnedCart>(),
            &["the view `carts` of carts: this release cannot read … another name and fill it"],
        ),
        case(
            "no view any more",
            view::<Cart>(),
            App::new().service(Service::new("carts")),
            &["orphaned … delete the rows"],
        ),
    ];
    Case::all_hold(&cases);
}

/// An event of the first release.
#[derive(Serialize, Deserialize, JsonSchema)]
enum Paid {
    Paid { euros: u64 },
}

/// An event that the first release cannot read.
#[derive(Serialize, Deserialize, JsonSchema)]
enum PaidCents {
    Paid { cents: u64 },
}

/// An event with a field that may be absent.
#[derive(Serialize, Deserialize, JsonSchema)]
enum NotedPaid {
    Paid {
        euros: u64,
        #[serde(default)]
        note: String,
    },
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Last {
    cents: u64,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct CountedLast {
    cents: u64,
    #[serde(default)]
    count: u32,
}

macro_rules! aggregates {
    ($($name:ident($event:ty, $last:ty, $upcasts:expr) { $($field:tt)* })*) => {
        $(
            #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
            struct $name {
                last: Option<$last>,
                $($field)*
            }

            impl Aggregate for $name {
                const NAME: &'static str = "account";
                type Id = String;
                type Command = ();
                type Event = $event;
                type Error = ();

                fn decide(&self, (): ()) -> Result<Vec<$event>, ()> {
                    Ok(Vec::new())
                }

                fn apply(&mut self, _: &$event) {}

                fn upcasts() -> Upcasts<$event> {
                    $upcasts
                }
            }
        )*
    };
}

fn in_cents() -> Upcasts<PaidCents> {
    Upcasts::first().then(|Paid::Paid { euros }| PaidCents::Paid { cents: euros * 100 })
}

fn in_cents_later() -> Upcasts<PaidCents> {
    Upcasts::first().then_later(
        |Paid::Paid { euros }| PaidCents::Paid { cents: euros * 100 },
        |PaidCents::Paid { cents }| Paid::Paid { euros: cents / 100 },
    )
}

aggregates! {
    Account(Paid, Last, Upcasts::first()) {}
    NotedAccount(NotedPaid, Last, Upcasts::first()) {}
    Incompatible(PaidCents, Last, Upcasts::first()) {}
    Upcast(PaidCents, Last, in_cents()) {}
    UpcastLater(PaidCents, Last, in_cents_later()) {}
    Within(Paid, CountedLast, Upcasts::first()) {}
    Counted(Paid, Last, Upcasts::first()) { #[serde(default)] count: u32, }
}

fn aggregate<A: Aggregate<Event: JsonSchema> + JsonSchema>() -> App {
    stores(Stored::aggregate::<A>())
}

#[test]
fn each_change_of_the_form_of_events_is_judged() {
    let case = Case::new;
    let cases = [
        case(
            "another form without an upcast",
            aggregate::<Account>(),
            aggregate::<Incompatible>(),
            &[
                "the events `account` of carts: this release cannot read … `Paid.cents` may be \
                 missing … add a step to `Aggregate::upcasts`",
                "replicas of the last release … `Paid.euros` may be missing",
            ],
        ),
        case(
            "another form that is written at once",
            aggregate::<Account>(),
            aggregate::<Upcast>(),
            &["replicas of the last release … the form 1, which it does not know … `then_later`"],
        ),
        case(
            "another form that is not written yet",
            aggregate::<Account>(),
            aggregate::<UpcastLater>(),
            &[],
        ),
        case(
            "another form that the last release knows",
            aggregate::<UpcastLater>(),
            aggregate::<Upcast>(),
            &[],
        ),
        case(
            "an upcast less",
            aggregate::<Upcast>(),
            aggregate::<Incompatible>(),
            &["a step of `upcasts` is gone"],
        ),
    ];
    Case::all_hold(&cases);
}

#[test]
fn each_change_of_an_aggregate_is_judged() {
    let case = Case::new;
    let cases = [
        case(
            "no change",
            aggregate::<Account>(),
            aggregate::<Account>(),
            &[],
        ),
        case(
            "an event with a default more",
            aggregate::<Account>(),
            aggregate::<NotedAccount>(),
            &[],
        ),
        case(
            "a field more in the state",
            aggregate::<Account>(),
            aggregate::<Counted>(),
            &[],
        ),
        case(
            "a field more within an option of the state",
            aggregate::<Account>(),
            aggregate::<Within>(),
            &[],
        ),
        case(
            "no aggregate any more",
            aggregate::<Account>(),
            App::new().service(Service::new("carts")),
            &[
                "the events `account` of carts: stored data is orphaned",
                "the snapshot `account`",
            ],
        ),
    ];
    Case::all_hold(&cases);
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "carts.opened", version = 1, key = cart)]
struct Opened {
    cart: String,
}

macro_rules! timers {
    ($($name:ident { $($field:tt)* })*) => {
        $(
            #[derive(Command, Serialize, Deserialize, JsonSchema)]
            #[command(name = "carts.overdue", version = 1, key = cart)]
            struct $name {
                cart: String,
                $($field)*
            }
        )*
    };
}

timers! {
    Overdue {}
    RemindedOverdue { #[serde(default)] reminders: u32, }
    CountedOverdue { reminders: u32, }
}

macro_rules! inputs {
    ($($name:ident($timer:ty))*) => {
        $(
            #[derive(SagaInput)]
            enum $name {
                #[saga(start)]
                Opened(Opened),
                #[saga(timer)]
                Overdue($timer),
            }
        )*
    };
}

inputs! {
    Input(Overdue)
    RemindedInput(RemindedOverdue)
    CountedInput(CountedOverdue)
}

#[derive(SagaInput)]
enum Untimed {
    #[saga(start)]
    Opened(Opened),
}

macro_rules! sagas {
    ($($name:ident($input:ty, $state:ty))*) => {
        $(
            #[derive(Default, Serialize, Deserialize, JsonSchema)]
            struct $name {
                state: $state,
            }

            impl Saga for $name {
                const NAME: &'static str = "waiting";
                type Input = $input;

                fn step(&mut self, _: $input, _: &mut SagaEffects<$input>) {}

                fn unexpected(&mut self, _: Unexpected, _: $input, _: &mut SagaEffects<$input>) {}
            }
        )*
    };
}

sagas! {
    Waiting(Input, State)
    Reminded(RemindedInput, State)
    CountedReminders(CountedInput, State)
    Abandoning(Input, MoreStates)
    WithoutTimer(Untimed, State)
}

fn saga<G: Saga + JsonSchema>() -> App {
    let carts = Service::new("carts").saga::<G>();
    App::new().service(carts.stores(Stored::saga::<G>()).publishes::<Opened>())
}

#[test]
fn each_change_of_a_saga_or_a_timer_is_judged() {
    let case = Case::new;
    let undescribed = Service::new("carts")
        .saga::<Waiting>()
        .publishes::<Opened>();
    let cases = [
        case("no change", saga::<Waiting>(), saga::<Waiting>(), &[]),
        case(
            "a state more",
            saga::<Waiting>(),
            saga::<Abandoning>(),
            &["the saga `waiting` of carts: replicas of the last release … `Abandoned`"],
        ),
        case(
            "a state less",
            saga::<Abandoning>(),
            saga::<Waiting>(),
            &[
                "the saga `waiting` of carts: this release cannot read … `Abandoned` … keep variants",
            ],
        ),
        case(
            "a timer with a default more",
            saga::<Waiting>(),
            saga::<Reminded>(),
            &[],
        ),
        case(
            "a timer with a field more",
            saga::<Waiting>(),
            saga::<CountedReminders>(),
            &[
                "the timer `carts.overdue.v1` of carts: this release cannot read … `reminders` may be \
               missing … a timer with another version",
            ],
        ),
        case(
            "no timer any more",
            saga::<Waiting>(),
            saga::<WithoutTimer>(),
            &["the timer `carts.overdue.v1` … until the last timer that was set has come due"],
        ),
        case(
            "no schema any more",
            saga::<Waiting>(),
            App::new().service(undescribed),
            &[
                "carts stores the saga `waiting` … no schema",
                "the saga `waiting` … orphaned",
            ],
        ),
    ];
    Case::all_hold(&cases);
}

macro_rules! calls {
    ($($name:ident { $($field:tt)* })*) => {
        $(
            #[derive(Call, Serialize, Deserialize, JsonSchema)]
            #[call(name = "carts.ask", target = "bank", key = cart, outcome = Opened)]
            struct $name {
                cart: String,
                $($field)*
            }

            impl GaveUp<$name> for Opened {
                fn gave_up(call: &$name, _: &Error) -> Self {
                    Self { cart: call.cart.clone() }
                }
            }
        )*
    };
}

calls! {
    Ask {}
    AskAmount { cents: u64, }
    AskPerhaps { #[serde(default)] cents: u64, }
}

async fn ask<C: Call>(_: C) -> Result<Opened> {
    Ok(Opened {
        cart: String::new(),
    })
}

fn call<C: Call<Outcome = Opened> + JsonSchema>() -> App {
    let carts = Service::new("carts")
        .calls(ask::<C>)
        .target("bank", TargetPolicy::default());
    App::new().service(carts.stores(Stored::call::<C>()))
}

#[test]
fn each_change_of_a_call_is_judged() {
    let case = Case::new;
    let cases = [
        case(
            "a field with a default more",
            call::<Ask>(),
            call::<AskPerhaps>(),
            &[],
        ),
        case(
            "a field more",
            call::<Ask>(),
            call::<AskAmount>(),
            &["the call `carts.ask` of carts: this release cannot read … `cents` may be missing"],
        ),
        case(
            "no call any more",
            call::<Ask>(),
            App::new().service(Service::new("carts").publishes::<Opened>()),
            &["the call `carts.ask` … keep the executor until no call waits"],
        ),
    ];
    Case::all_hold(&cases);
}
