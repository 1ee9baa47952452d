//! The comparison of a release with the one before it.

mod messages;
mod stored;

use serde::{Deserialize, Serialize};
use wingbeat::contracts::{Comparison, Contracts, assert_kept};
use wingbeat::describe::Info;
use wingbeat::{App, Entity, Event, JsonSchema, Result, Service, Stored, Table, schemars};

fn contracts(app: &App) -> Contracts {
    Contracts::of(app, &Info::new("The shop", "1"))
}

/// One change, and the report on it: a part of the text for each break, in order.
struct Case {
    name: &'static str,
    old: App,
    new: App,
    breaks: &'static [&'static str],
}

impl Case {
    fn new(name: &'static str, old: App, new: App, breaks: &'static [&'static str]) -> Self {
        Self {
            name,
            old,
            new,
            breaks,
        }
    }

    fn comparison(&self) -> Comparison {
        contracts(&self.new).compare(&contracts(&self.old))
    }

    /// Returns the faults of the report.
    fn faults(&self) -> Vec<String> {
        let comparison = self.comparison();
        let found: Vec<String> = comparison.breaks.iter().map(ToString::to_string).collect();
        let name = self.name;
        if found.len() != self.breaks.len() {
            return vec![format!("{name}: {found:#?}")];
        }
        let pairs = found.iter().zip(self.breaks);
        let parts = pairs.flat_map(|(found, expected)| {
            let parts = expected.split(" … ").chain(["to do: "]);
            parts.map(move |part| (found, part))
        });
        let missing = parts.filter(|(found, part)| !found.contains(part));
        let mut faults: Vec<_> = missing
            .map(|(found, part)| format!("{name}: {part:?} is not in {found}"))
            .collect();
        // Anything that differs asks for a refresh, or breaks something.
        let is_same = contracts(&self.new) == contracts(&self.old);
        let is_silent = comparison.breaks.is_empty() && comparison.changes.is_empty();
        if is_same != is_silent {
            faults.push(format!("{name}: {comparison}"));
        }
        faults
    }

    fn all_hold<'a>(cases: impl IntoIterator<Item = &'a Self>) {
        let faults: Vec<String> = cases.into_iter().flat_map(Self::faults).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.placed", version = 1, key = order)]
struct Placed {
    order: String,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Cart {
    items: Vec<String>,
}

impl Entity for Cart {
    const NAME: &'static str = "cart";
    type Id = String;
}

async fn clear(event: Placed, carts: Table<Cart>) -> Result<()> {
    carts.remove(&event.order)
}

fn carts() -> Service {
    Service::new("carts").on(clear)
}

fn app(carts: Service) -> App {
    let orders = Service::new("orders").publishes::<Placed>();
    App::new().service(orders).service(carts)
}

#[test]
fn the_files_are_written_read_and_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let first = contracts(&app(carts().stores(Stored::entity::<Cart>())));
    assert_eq!(first.write(at).expect("written"), 4);
    let files = [
        "openapi.json",
        "asyncapi.json",
        "messages/orders.placed.v1.json",
    ];
    assert!(
        files.iter().all(|file| first.file(file).is_some()),
        "{first:?}"
    );
    let read = Contracts::read(at).expect("read");
    assert_eq!(read.file("asyncapi.json"), first.file("asyncapi.json"));
    assert!(first.compare(&read).changes.is_empty());
    let cart = at.join("stored/carts/entity.cart.json");
    assert!(cart.exists());
    contracts(&app(carts())).write(at).expect("written");
    assert!(!cart.exists(), "the file of a type that is gone is removed");
}

#[test]
fn a_file_names_the_publishers_and_the_consumers() {
    let contracts = contracts(&app(carts()));
    let placed = contracts
        .file("messages/orders.placed.v1.json")
        .expect("a file");
    let facts = &placed["x-wingbeat"];
    assert_eq!(facts["publishers"][0], "orders");
    assert_eq!(facts["consumers"][0], "carts.placed");
    assert_eq!(placed["$defs"]["Placed"]["required"][0], "order");
}

#[test]
fn a_used_type_without_a_schema_is_reported() {
    let comparison = contracts(&app(carts())).compare(&Contracts::default());
    let [missing] = &comparison.breaks[..] else {
        panic!("{comparison}");
    };
    let text = missing.to_string();
    assert!(text.contains("carts stores the entity `cart`"), "{text}");
    assert!(text.contains(".stores(Stored::entity::<..>())"), "{text}");
    let described = contracts(&app(carts().stores(Stored::entity::<Cart>())));
    assert!(described.compare(&Contracts::default()).is_kept());
}

#[test]
fn the_test_of_an_app_passes_until_something_breaks() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = || app(carts().stores(Stored::entity::<Cart>()));
    contracts(&kept()).write(directory.path()).expect("written");
    assert_kept(&kept(), directory.path());
    let renamed = || {
        let carts = Service::new("carts").on(wingbeat::Handler::named(clear, "cleared"));
        app(carts.stores(Stored::entity::<Cart>()))
    };
    let broken = std::panic::catch_unwind(|| assert_kept(&renamed(), directory.path()));
    let report = broken.expect_err("the queue is gone");
    let report = report.downcast_ref::<String>().expect("a text");
    assert!(
        report.contains("carts.placed no longer takes it"),
        "{report}"
    );
    let absent = directory.path().join("absent");
    let absent = std::panic::catch_unwind(|| assert_kept(&kept(), absent));
    assert!(absent.is_err(), "without files nothing is compared");
}
