//! Verification of what services store: nothing is found in a store that nobody touched, and each
//! planted fault is.

mod faults;
mod meanwhile;
#[cfg(all(feature = "embedded", feature = "servers"))]
mod stores;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::Store;
use wingbeat::prelude::*;
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Simulation};
use wingbeat::verify::{Checked, Defect, Step};
use wingbeat::{Name, Running, Scope, Unexpected, ViewColumns, ViewRow, run_unit};

use crate::found::Nowhere;

const LIBRARY: Name = Name::new("library");

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.lent", version = 1, key = book)]
struct Lent {
    book: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "library.overdue", version = 1, key = book)]
struct Overdue {
    book: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.torn", version = 1, key = book)]
struct Torn {
    book: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.reminded", version = 1, key = book)]
struct Reminded {
    book: String,
}

#[derive(Call, Clone, Serialize, Deserialize, JsonSchema)]
#[call(name = "library.remind", target = "post", key = book, outcome = Reminded)]
struct Remind {
    book: String,
}

impl GaveUp<Remind> for Reminded {
    fn gave_up(call: &Remind, _: &Error) -> Self {
        let book = call.book.clone();
        Self { book }
    }
}

/// A row of the list of books, of a release with or without its column `year`.
#[derive(Clone, Serialize, Deserialize)]
struct Line<const YEAR: bool> {
    title: String,
}

impl<const YEAR: bool> View for Line<YEAR> {
    const NAME: &'static str = "books";

    fn columns(&self) -> Vec<(&'static str, String)> {
        let mut columns = vec![("title", self.title.clone())];
        if YEAR {
            columns.push(("year", "1999".into()));
        }
        columns
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Book<const YEAR: bool> {
    title: String,
}

impl<const YEAR: bool> Entity for Book<YEAR> {
    const NAME: &'static str = "book";
    type Id = String;
    const VIEWS: &'static [ViewColumns] = if YEAR {
        &[ViewColumns::of::<Line<YEAR>>(&["title", "year"])]
    } else {
        &[ViewColumns::of::<Line<YEAR>>(&["title"])]
    };

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        assert_ne!(self.title, "Panic");
        let title = self.title.clone();
        vec![ViewRow::of(id, &Line::<YEAR> { title })]
    }
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Account {
    cents: u64,
    /// Whose order differs between two maps with the same content.
    by: wingbeat::HashMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Paid(u64),
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type Id = String;
    type Command = u64;
    type Event = AccountEvent;
    type Error = ();

    fn decide(&self, cents: u64) -> Result<Vec<AccountEvent>, ()> {
        Ok(vec![AccountEvent::Paid(cents)])
    }

    fn apply(&mut self, AccountEvent::Paid(cents): &AccountEvent) {
        self.cents += cents;
        *self.by.entry(format!("size {cents}")).or_default() += 1;
    }
}

/// A row that a handler writes.
#[derive(Serialize, Deserialize)]
struct Shelf {
    books: u32,
}

impl View for Shelf {
    const NAME: &'static str = "shelves";
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Lent(Lent),
    #[saga(timer)]
    Overdue(Overdue),
    Reminded(Reminded),
}

#[derive(Default, Serialize, Deserialize)]
struct Loan {
    book: String,
}

impl Saga for Loan {
    const NAME: &'static str = "loan";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        if let Input::Lent(Lent { book }) = input {
            self.book.clone_from(&book);
            effects.call(&Remind { book: book.clone() });
            effects.after(Duration::from_secs(86_400), &Overdue { book });
        }
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

async fn remind(_: Remind) -> Result<Reminded> {
    Err(Error::retry("closed", "the post office is closed"))
}

async fn shelve(event: Lent, shelves: Rows<Shelf>) -> Result<()> {
    shelves.put(event.book, &Shelf { books: 1 })
}

async fn mend(_: Torn) -> Result<()> {
    Err(Error::retry("glue", "there is no glue"))
}

async fn nothing<E: Entity>(_: Table<E>, _: Repo<Account>) -> Result<()> {
    Ok(())
}

fn release<const YEAR: bool>() -> App {
    let hour = Duration::from_secs(3_600);
    let library = Service::new("library")
        .saga::<Loan>()
        .calls(remind)
        .target("post", TargetPolicy::default())
        .on(shelve)
        .on(mend)
        .every("nothing", hour, nothing::<Book<YEAR>>);
    App::new().service(library)
}

fn library() -> App {
    release::<false>()
}

/// Stores something of each kind.
async fn fill(running: &Running) {
    let service = running.service("library").expect("it runs");
    let filled = run_unit(&service, |scope: Scope| async move {
        for number in 0..100 {
            let title = format!("Title {number}");
            Table::of(&scope).put(&format!("{number:03}"), Book::<false> { title })?;
        }
        for number in 0..3 {
            let book = format!("{number:03}");
            scope.publish(&Lent { book })?;
        }
        let book = String::from("torn");
        scope.publish(&Torn { book })
    });
    filled.await.expect("it is stored");
    for account in ["one", "two", "three", "four"] {
        for cents in [2, 3, 5] {
            let paid = run_unit(&service, |scope: Scope| async move {
                let accounts = Repo::<Account>::of(&scope);
                let paid = accounts.execute(&account.to_owned(), cents).await?;
                paid.expect("never refused");
                Ok::<(), Error>(())
            });
            paid.await.expect("it is stored");
        }
    }
}

/// Returns whether all that `fill` causes is stored.
async fn is_filled(store: &dyn Store) -> bool {
    for (table, count) in [
        ("wb.timer", 3),
        ("wb.call", 3),
        ("wb.parked", 1),
        ("wb.schedule", 1),
    ] {
        let records = store.scan(LIBRARY, Name::new(table), None, 10).await;
        if records.map_or(0, |it| it.len()) != count {
            return false;
        }
    }
    true
}

/// What a verification has shown.
#[derive(Default)]
struct Seen {
    defects: Vec<Defect>,
    done: Vec<Checked>,
    rebuilding: Vec<Name>,
}

async fn verified(app: &App, store: Arc<dyn Store>) -> Seen {
    let mut seen = Seen::default();
    let summary = app.verify(store, |step| match step {
        Step::Found(defect) => seen.defects.push(defect),
        Step::Done(checked) => seen.done.push(checked),
        Step::Rebuilding(_, table) => seen.rebuilding.push(table),
        _ => {}
    });
    let summary = summary.await.expect("the store reads");
    assert_eq!(summary.defects, seen.defects.len() as u64);
    assert_eq!(
        summary.records,
        seen.done.iter().map(|it| it.records).sum::<u64>()
    );
    seen
}

fn assert_untouched(seen: &Seen) {
    assert_eq!(seen.defects, []);
    assert!(seen.rebuilding.is_empty());
    let checked = |kind, table: &str| {
        let is = |it: &&Checked| (it.kind, it.table.as_str()) == (kind, table);
        seen.done.iter().find(is).map(|it| it.records)
    };
    for (kind, table, records) in [
        ("entity", "book", 100),
        ("aggregate", "account", 4),
        ("view", "books", 100),
        ("view", "shelves", 3),
        ("saga", "saga.loan", 3),
        ("runtime", "wb.timer", 3),
        ("runtime", "wb.call", 3),
        ("runtime", "wb.parked", 1),
        ("runtime", "wb.schedule", 1),
        ("runtime", "wb.rows", 1),
    ] {
        assert_eq!(checked(kind, table), Some(records), "{kind} {table}");
    }
}

/// The model, with the service that has filled it.
struct Filled {
    simulation: Simulation,
    model: Model,
    running: Running,
    _process: Arc<Group>,
}

impl Filled {
    fn start() -> Self {
        let simulation = Simulation::new(1);
        let model = Model::new(simulation.runtime());
        let process = simulation.group();
        let ports = model.ports(&process, Arc::new(Nowhere));
        let running = simulation.run(library().start(ports)).expect("it starts");
        simulation.run(fill(&running));
        simulation.advance(Duration::from_secs(10));
        assert!(simulation.run(is_filled(&*model.store)));
        Self {
            simulation,
            model,
            running,
            _process: process,
        }
    }

    fn verified(&self, app: &App) -> Seen {
        let store = self.model.store.clone();
        self.simulation.run(verified(app, store))
    }
}

#[test]
fn nothing_is_found_in_a_store_that_nobody_touched() {
    let filled = Filled::start();
    assert_untouched(&filled.verified(&library()));
}

#[test]
fn only_the_chosen_services_are_verified() {
    let filled = Filled::start();
    let system = || library().service(Service::new("museum"));
    let services = |seen: Seen| -> BTreeSet<_> {
        let done = seen.done.into_iter();
        done.map(|it| it.service.to_string()).collect()
    };
    let seen = filled.verified(&system());
    assert_eq!(
        services(seen),
        ["library", "museum"].map(String::from).into()
    );
    let seen = filled.verified(&system().run_only(["museum"]));
    assert_eq!(services(seen), ["museum"].map(String::from).into());
}

#[test]
fn rows_that_a_rebuild_is_still_to_write_are_no_defects() {
    let filled = Filled::start();
    let seen = filled.verified(&release::<true>());
    assert_eq!(seen.defects, []);
    assert_eq!(seen.rebuilding, [Name::new("book")]);
}
