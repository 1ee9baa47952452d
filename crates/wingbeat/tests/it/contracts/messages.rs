//! Changes of messages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wingbeat::{App, Command, Event, Handler as _, JsonSchema, Message, Result, Service, schemars};

use super::Case;

macro_rules! messages {
    ($($(#[$attribute:meta])* $name:ident { $($field:tt)* })*) => {
        $(
            #[derive(Event, Serialize, Deserialize, JsonSchema)]
            #[event(name = "orders.placed", version = 1, key = order)]
            $(#[$attribute])*
            struct $name {
                order: String,
                $($field)*
            }
        )*
    };
}

messages! {
    Plain {}
    /// With another comment.
    Commented {}
    Noted { #[serde(default)] note: Option<String>, }
    Counted { count: u32, }
    Recounted { #[serde(rename = "number")] count: u32, }
    Worded { count: String, }
    Wide { count: u64, }
    Defaulted { #[serde(default)] count: u32, }
    Perhaps { count: Option<u32>, }
    Absent { #[serde(default, skip_serializing_if = "Option::is_none")] count: Option<u32>, }
    #[serde(deny_unknown_fields)]
    Strict {}
    #[serde(deny_unknown_fields)]
    StrictCounted { #[serde(default)] count: u32, }
    Paid { by: Way, }
    PaidLater { by: MoreWays, }
    Long { #[schemars(length(max = 80))] name: String, }
    Short { #[schemars(length(max = 40))] name: String, }
    Lines { lines: Vec<Line>, }
    PricedLines { lines: Vec<PricedLine>, }
    Tags { tags: BTreeMap<String, u32>, }
    WordTags { tags: BTreeMap<String, String>, }
    Couple { pair: (u8, u8), }
    Triple { pair: (u8, u8, u8), }
    Tree { tree: Node, }
    Forest { tree: DeepNode, }
    At { at: wingbeat::Timestamp, }
    Text { at: String, }
    Tagged { by: Method, }
    MoreTagged { by: MoreMethods, }
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum Way {
    Cash,
    Card { number: String },
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum MoreWays {
    Cash,
    Card { number: String },
    Invoice,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Method {
    Card { number: String },
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum MoreMethods {
    Card { number: String },
    Voucher { code: String },
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Line {
    sku: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct PricedLine {
    sku: String,
    cents: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Node {
    name: String,
    children: Vec<Node>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct DeepNode {
    name: String,
    depth: u32,
    children: Vec<DeepNode>,
}

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.placed", version = 1, key = order)]
struct AsCommand {
    order: String,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.placed", version = 2, key = order)]
struct Second {
    order: String,
    count: u64,
}

async fn take<M: Message>(_: M) -> Result<()> {
    Ok(())
}

/// Orders publish the message, and mails take it.
fn both<M: wingbeat::Message>() -> App
where
    Service: Publishes<M>,
{
    let mails = Service::new("mails").on(take::<M>);
    let orders = Service::new("orders").declares();
    App::new().service(orders).service(mails)
}

/// Declares an event or a command.
trait Publishes<M> {
    fn declares(self) -> Self;
}

impl<M: wingbeat::handler::EventMessage> Publishes<M> for Service {
    fn declares(self) -> Self {
        self.publishes::<M>()
    }
}

fn published<M: wingbeat::handler::EventMessage>() -> App {
    App::new().service(Service::new("orders").publishes::<M>())
}

const TO_OLD: &str = "consumers of the last release cannot read it … affects: mails.placed … \
                      publish orders.placed.v2 beside it";
const IN_FLIGHT: &str = "this release cannot read what is in queues … affects: mails.placed";

fn fields() -> Vec<Case> {
    let case = Case::new;
    vec![
        case("no change", both::<Plain>(), both::<Plain>(), &[]),
        case("a comment", both::<Plain>(), both::<Commented>(), &[]),
        case(
            "an optional field more",
            both::<Plain>(),
            both::<Noted>(),
            &[],
        ),
        case(
            "a field with a default more",
            both::<Plain>(),
            both::<Defaulted>(),
            &[],
        ),
        case(
            "a field more",
            both::<Plain>(),
            both::<Counted>(),
            &["cannot read what is in queues … `count` may be missing … `#[serde(default)]`"],
        ),
        case(
            "a field less",
            both::<Counted>(),
            both::<Plain>(),
            &["consumers of the last release … `count` may be missing … affects: mails.placed"],
        ),
        case(
            "an optional field less",
            both::<Noted>(),
            both::<Plain>(),
            &[],
        ),
        case(
            "a renamed field",
            both::<Counted>(),
            both::<Recounted>(),
            &["`count` may be missing", "`number` may be missing"],
        ),
        case(
            "another type",
            both::<Counted>(),
            both::<Worded>(),
            &[TO_OLD, IN_FLIGHT],
        ),
        case(
            "a wider number",
            both::<Counted>(),
            both::<Wide>(),
            &[TO_OLD],
        ),
        case(
            "a narrower number",
            both::<Wide>(),
            both::<Counted>(),
            &[IN_FLIGHT],
        ),
        case("a default", both::<Counted>(), both::<Defaulted>(), &[]),
        case(
            "no default any more",
            both::<Defaulted>(),
            both::<Counted>(),
            &["cannot read what is in queues … `count` may be missing"],
        ),
    ]
}

fn values() -> Vec<Case> {
    let case = Case::new;
    vec![
        case(
            "a field that may be null",
            both::<Counted>(),
            both::<Perhaps>(),
            &["consumers of the last release … `count` is `null`"],
        ),
        case(
            "a field that may be absent",
            both::<Counted>(),
            both::<Absent>(),
            &["consumers of the last release … `count` may be missing"],
        ),
        case(
            "a field that may not be null any more",
            both::<Perhaps>(),
            both::<Counted>(),
            &["cannot read what is in queues … `count`"],
        ),
        case(
            "a field for consumers that deny unknown ones",
            both::<Strict>(),
            both::<StrictCounted>(),
            &["consumers of the last release … `count` is refused as an unknown field"],
        ),
        case(
            "a variant more",
            both::<Paid>(),
            both::<PaidLater>(),
            &[
                "consumers of the last release … `by` may be `Invoice`, but the reader knows Card, Cash",
            ],
        ),
        case(
            "a variant less",
            both::<PaidLater>(),
            both::<Paid>(),
            &["cannot read what is in queues … `by` may be `Invoice`"],
        ),
        case(
            "a tagged variant more",
            both::<Tagged>(),
            both::<MoreTagged>(),
            &["consumers of the last release … `by` … voucher"],
        ),
        case(
            "a shorter text",
            both::<Long>(),
            both::<Short>(),
            &["what is in queues … `name` … maxLength"],
        ),
        case(
            "a longer text",
            both::<Short>(),
            both::<Long>(),
            &["consumers of the last … `name` … maxLength"],
        ),
    ]
}

fn nested() -> Vec<Case> {
    let case = Case::new;
    vec![
        case(
            "a field more in a list",
            both::<Lines>(),
            both::<PricedLines>(),
            &["what is in queues … `lines[].cents` may be missing"],
        ),
        case(
            "another type in a map",
            both::<Tags>(),
            both::<WordTags>(),
            &["`tags.*` is `string`", "`tags.*` is `integer`"],
        ),
        case(
            "a place more in a tuple",
            both::<Couple>(),
            both::<Triple>(),
            &["`pair` has 3 fixed places", "`pair` has 2 fixed places"],
        ),
        case("a recursive type", both::<Tree>(), both::<Tree>(), &[]),
        case(
            "a field more in a recursive type",
            both::<Tree>(),
            both::<Forest>(),
            &["what is in queues … `tree.depth` may be missing"],
        ),
        case(
            "any text for a time",
            both::<At>(),
            both::<Text>(),
            &["consumers of … `at` … date-time"],
        ),
        case(
            "a time for any text",
            both::<Text>(),
            both::<At>(),
            &["what is in queues … `at` … date-time"],
        ),
        case(
            "an event that nobody here takes",
            published::<Counted>(),
            published::<Plain>(),
            &["consumers of … `count` may be missing … affects: programs outside of this system"],
        ),
    ]
}

#[test]
fn each_change_of_a_message_is_judged_by_its_direction() {
    Case::all_hold(&fields());
    Case::all_hold(&values());
    Case::all_hold(&nested());
}

/// Changes of who sends a message, and of who takes it.
#[test]
fn each_change_of_the_way_of_a_message_is_reported() {
    let with = |mails: Service| {
        let orders = Service::new("orders").publishes::<Plain>();
        App::new().service(orders).service(mails)
    };
    let mails = || Service::new("mails").on(take::<Plain>);
    let command = App::new()
        .service(Service::new("orders").sends::<AsCommand>())
        .service(Service::new("mails").on(take::<AsCommand>));
    let second = Service::new("mails")
        .on(take::<Plain>)
        .on(take::<Second>.named("placed_v2"));
    let beside = App::new()
        .service(
            Service::new("orders")
                .publishes::<Plain>()
                .publishes::<Second>(),
        )
        .service(second);
    let both_names = mails().on(take::<Plain>.named("again"));
    let silent = App::new().service(Service::new("orders")).service(mails());
    let case = Case::new;
    let cases = [
        case(
            "another kind",
            with(mails()),
            command,
            &["it was event, and is command … mails.placed"],
        ),
        case("a version beside it", with(mails()), beside, &[]),
        case("a subscription more", with(mails()), with(both_names), &[]),
        case(
            "a renamed queue",
            with(mails()),
            with(Service::new("mails").on(take::<Plain>.named("mail"))),
            &["mails.placed no longer takes it … affects: mails.placed … `.named(..)`"],
        ),
        case(
            "no subscription any more",
            with(mails()),
            with(Service::new("mails")),
            &["mails.placed no longer takes it"],
        ),
        case(
            "no publisher any more",
            with(mails()),
            silent,
            &["no service publishes it any more … affects: mails.placed"],
        ),
        case(
            "a message less",
            with(mails()),
            App::new().service(Service::new("orders")),
            &["mails.placed no longer takes it"],
        ),
    ];
    Case::all_hold(&cases);
}
