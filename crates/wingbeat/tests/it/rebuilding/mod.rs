//! Releases with other index columns over the records of older releases.

mod aggregates;
#[cfg(feature = "personal")]
mod erased;
mod failing;
#[cfg(all(feature = "embedded", feature = "servers"))]
mod replicas;
mod simulated;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::app::RebuildStatus;
use wingbeat::prelude::*;
use wingbeat::test::TestApp;
use wingbeat::{Running, Select, ViewColumns, ViewRow};

/// A release that shows no rows.
const PLAIN: u8 = 0;
/// A release that lists books by title.
const TITLE: u8 = 1;
/// A release that lists them by year, too.
const YEAR: u8 = 2;
/// A release with the same columns, whose titles are folded.
const FOLDED: u8 = 3;

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "library.put", version = 1, key = book)]
struct Put {
    book: String,
    title: String,
    year: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct Book<const RELEASE: u8> {
    title: String,
    year: u32,
}

#[derive(Serialize, Deserialize)]
struct Line<const RELEASE: u8> {
    title: String,
    year: u32,
}

impl<const RELEASE: u8> View for Line<RELEASE> {
    const NAME: &'static str = "books";

    fn columns(&self) -> Vec<(&'static str, String)> {
        let title = match RELEASE {
            FOLDED => self.title.to_lowercase(),
            _ => self.title.clone(),
        };
        let mut columns = vec![("title", title)];
        if RELEASE >= YEAR {
            columns.push(("year", format!("{:04}", self.year)));
        }
        columns
    }
}

impl<const RELEASE: u8> Entity for Book<RELEASE> {
    const NAME: &'static str = "book";
    type Id = String;
    const VIEWS: &'static [ViewColumns] = match RELEASE {
        PLAIN => &[],
        TITLE => &[ViewColumns::of::<Line<RELEASE>>(&["title"])],
        _ => &[ViewColumns::of::<Line<RELEASE>>(&["title", "year"])],
    };
    const ROWS: u32 = if RELEASE == FOLDED { 1 } else { 0 };

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        if RELEASE == PLAIN {
            return Vec::new();
        }
        let line = Line::<RELEASE> {
            title: self.title.clone(),
            year: self.year,
        };
        vec![ViewRow::of(id, &line)]
    }
}

async fn put_book<const RELEASE: u8>(command: Put, books: Table<Book<RELEASE>>) -> Result<()> {
    let Put { book, title, year } = command;
    books.put(&book, Book { title, year })
}

async fn list<const RELEASE: u8>(reads: Reads) -> Result<Reply, Problem> {
    let listed = by::<RELEASE>(&reads, "year").await?;
    Ok(wingbeat::http::ok(&listed))
}

fn library<const RELEASE: u8>() -> Service {
    Service::new("library")
        .on(put_book::<RELEASE>)
        .routes(Routes::new().route("/books", get(list::<RELEASE>)))
}

fn release<const RELEASE: u8>() -> App {
    App::new().service(library::<RELEASE>())
}

fn put(app: &TestApp, books: std::ops::Range<u32>, year: u32) {
    for number in books {
        let (book, title) = (format!("{number:04}"), format!("Title {number}"));
        app.publish(Uuid::nil(), &Put { book, title, year });
    }
    app.until_idle();
}

/// Returns the keys of all books in the order of a column.
async fn by<const RELEASE: u8>(reads: &Reads, column: &'static str) -> Result<Vec<String>> {
    let select = Select::Prefix {
        column: wingbeat::Name::new(column),
        prefix: String::new(),
        descending: false,
    };
    let listed = reads.rows::<Line<RELEASE>>(select, None, 10_000).await?;
    Ok(listed.rows.into_iter().map(|(key, _)| key).collect())
}

/// Returns the number of books in a list, or the code of its refusal.
fn listed<const RELEASE: u8>(app: &TestApp, column: &'static str) -> Result<usize, &'static str> {
    let listed = app.run(by::<RELEASE>(&app.reads("library"), column));
    listed.map(|it| it.len()).map_err(|why| why.code())
}

async fn rebuilds(running: &Running) -> Vec<RebuildStatus> {
    running.rebuilds().await.expect("the store answers")
}

fn status(app: &TestApp) -> RebuildStatus {
    let mut all = app.run(rebuilds(app.running()));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Lets time pass until the only rebuild is done, at most ten minutes.
fn until_done(app: &TestApp) -> RebuildStatus {
    for _ in 0..600 {
        let status = status(app);
        if status.done.is_some() {
            return status;
        }
        app.pass(Duration::from_secs(1));
    }
    panic!("it is not done: {:?}", status(app));
}

/// Lets time pass in small steps until some records, but not all, have been written again.
fn until_amid(app: &TestApp) -> RebuildStatus {
    for _ in 0..60_000 {
        let status = status(app);
        if status.records > 0 {
            assert_eq!(status.done, None);
            return status;
        }
        app.pass(Duration::from_millis(10));
    }
    panic!("it does not begin: {:?}", status(app));
}

/// Asserts that each row is the one that its book shows.
fn verified<const RELEASE: u8>(app: &TestApp, books: u64) {
    let verified = app.run(
        app.reads("library")
            .verify_entities::<Book<RELEASE>>(None, 10_000),
    );
    let verified = verified.expect("all can be read");
    assert_eq!((verified.checked, verified.differences), (books, vec![]));
}

#[test]
fn a_new_column_is_filled_and_lists_by_it_are_refused_until_then() {
    let mut app = TestApp::start(1, release::<TITLE>());
    put(&app, 0..200, 1999);
    app.crash(release::<YEAR>());
    for _ in 0..30 {
        assert_eq!(listed::<YEAR>(&app, "year"), Err("index_incomplete"));
        assert_eq!(listed::<YEAR>(&app, "title"), Ok(200));
        app.pass(Duration::from_secs(1));
    }
    assert_eq!(status(&app).incomplete, ["books.year"]);
    let done = until_done(&app);
    assert_eq!((done.records, done.incomplete), (200, vec![]));
    assert_eq!(listed::<YEAR>(&app, "year"), Ok(200));
    verified::<YEAR>(&app, 200);
}

#[test]
fn a_refused_list_is_an_answer_503_with_the_time_to_ask_again() {
    let mut app = TestApp::start(1, release::<TITLE>());
    put(&app, 0..1, 1999);
    app.crash(release::<YEAR>());
    let ask = || {
        let request = axum::http::Request::get("/books");
        app.send(request.body(axum::body::Body::empty()).expect("a request"))
    };
    let answer = ask();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    let problem = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(
        problem.contains(r#""code":"index_incomplete""#),
        "{problem}"
    );
    until_done(&app);
    assert_eq!(ask().status(), 200);
}

#[test]
fn a_new_system_and_an_unchanged_release_rebuild_nothing() {
    let mut app = TestApp::start(1, release::<YEAR>());
    assert_eq!(listed::<YEAR>(&app, "year"), Ok(0));
    put(&app, 0..70, 1999);
    for _ in 0..2 {
        app.crash(release::<YEAR>());
        assert_eq!(listed::<YEAR>(&app, "year"), Ok(70));
        assert_eq!(app.run(rebuilds(app.running())), []);
        app.pass(Duration::from_secs(120));
    }
}

#[test]
fn a_release_with_a_column_less_rebuilds_nothing_until_it_comes_back() {
    let mut app = TestApp::start(1, release::<YEAR>());
    put(&app, 0..3, 1999);
    app.crash(release::<TITLE>());
    assert_eq!(listed::<TITLE>(&app, "title"), Ok(3));
    put(&app, 3..5, 2001); // Without a year.
    app.pass(Duration::from_secs(120));
    assert_eq!(app.run(rebuilds(app.running())), []);
    app.crash(release::<YEAR>());
    assert_eq!(listed::<YEAR>(&app, "year"), Err("index_incomplete"));
    until_done(&app);
    assert_eq!(listed::<YEAR>(&app, "year"), Ok(5));
}

#[test]
fn a_raised_number_writes_all_rows_again_while_lists_go_on() {
    let mut app = TestApp::start(1, release::<YEAR>());
    put(&app, 0..70, 1999);
    app.crash(release::<FOLDED>());
    assert_eq!(listed::<FOLDED>(&app, "title"), Ok(70));
    assert_eq!(until_done(&app).records, 70);
    let select = Select::Contains {
        column: wingbeat::Name::new("title"),
        part: "title 6".into(),
    };
    let reads = app.reads("library");
    let found = app.run(reads.rows::<Line<FOLDED>>(select, None, 100));
    assert_eq!(found.expect("it is complete").rows.len(), 11);
}

#[test]
fn the_first_index_of_a_table_is_filled() {
    let mut app = TestApp::start(1, release::<PLAIN>());
    put(&app, 0..70, 1999);
    app.crash(release::<TITLE>());
    let reads = app.reads("library");
    let all = app.run(reads.rows::<Line<TITLE>>(Select::All, None, 10));
    assert_eq!(all.err().map(|why| why.code()), Some("index_incomplete"));
    let one = app.run(reads.row::<Line<TITLE>>("0001"));
    assert_eq!(one.err().map(|why| why.code()), Some("index_incomplete"));
    // A row that exists is no incomplete answer.
    put(&app, 1..2, 2002);
    let one = app.run(reads.row::<Line<TITLE>>("0001"));
    assert_eq!(one.expect("it is there").map(|it| it.year), Some(2002));
    assert_eq!(until_done(&app).records, 70);
    assert_eq!(listed::<TITLE>(&app, "title"), Ok(70));
}

#[test]
fn a_killed_rebuild_continues_at_its_position() {
    let mut app = TestApp::start(1, release::<TITLE>());
    put(&app, 0..400, 1999);
    app.crash(release::<YEAR>());
    let amid = until_amid(&app);
    app.crash(release::<YEAR>());
    let done = until_done(&app);
    // One that starts again has another beginning, or writes records twice.
    assert_eq!((done.began, done.records), (amid.began, 400));
    verified::<YEAR>(&app, 400);
}

#[test]
fn records_that_change_during_a_rebuild_keep_their_newest_rows() {
    for seed in 1..8 {
        let mut app = TestApp::start(seed, release::<TITLE>());
        put(&app, 0..130, 1999);
        app.crash(release::<YEAR>());
        until_amid(&app);
        for number in (0..130).rev().chain(130..140) {
            let (book, title) = (format!("{number:04}"), "Changed".into());
            let year = 2000 + number;
            app.publish(Uuid::nil(), &Put { book, title, year });
            app.pass(Duration::from_millis(1));
        }
        until_done(&app);
        app.until_idle();
        assert_eq!(listed::<YEAR>(&app, "year"), Ok(140));
        verified::<YEAR>(&app, 140);
    }
}

#[test]
fn an_app_that_drains_rebuilds_nothing() {
    let mut app = TestApp::start(1, release::<TITLE>());
    put(&app, 0..400, 1999);
    app.crash(release::<YEAR>());
    let amid = until_amid(&app);
    app.run(app.running().drain());
    let drained = status(&app).records;
    assert!(drained <= amid.records + 64, "{drained}");
    app.pass(Duration::from_secs(60));
    assert_eq!(status(&app).records, drained);
}
