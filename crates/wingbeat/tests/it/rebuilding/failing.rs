//! Records that cannot be read, and rows that nobody has declared.

use super::*;
use wingbeat::run_unit;

/// A book as a release long ago stored it.
#[derive(Clone, Serialize, Deserialize)]
struct Damaged {
    pages: u32,
}

impl Entity for Damaged {
    const NAME: &'static str = "book";
    type Id = String;
}

fn damage(app: &TestApp, book: &str) {
    let library = app.service("library");
    let written = run_unit(&library, |scope| async move {
        Table::of(&scope).put(&book.to_owned(), Damaged { pages: 7 })
    });
    app.run(written).expect("it is stored");
}

#[test]
fn a_record_that_cannot_be_read_stops_the_rebuild_visibly_until_it_can() {
    let mut app = TestApp::start(1, release::<TITLE>());
    put(&app, 0..100, 1999);
    damage(&app, "0080");
    app.crash(release::<YEAR>());
    app.pass(Duration::from_secs(200));
    let failing = status(&app);
    let failure = failing.failure.expect("it fails");
    assert!(failure.starts_with("book 0080: undecodable"), "{failure}");
    assert_eq!((failing.records, failing.done), (64, None));
    assert_eq!(listed::<YEAR>(&app, "year"), Err("index_incomplete"));
    put(&app, 80..81, 1999);
    assert_eq!(until_done(&app).records, 100);
    assert_eq!(listed::<YEAR>(&app, "year"), Ok(100));
}

/// An entity that shows rows without listing them.
#[derive(Clone, Serialize, Deserialize)]
struct Undeclared {
    with_view: bool,
}

impl View for Undeclared {
    const NAME: &'static str = "undeclared";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![("unknown", String::new())]
    }
}

/// A view that `VIEWS` lists, without its column.
#[derive(Clone, Serialize, Deserialize)]
struct Other;

impl View for Other {
    const NAME: &'static str = "other";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![("unknown", String::new())]
    }
}

impl Entity for Undeclared {
    const NAME: &'static str = "undeclared";
    type Id = u32;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Other>(&["known"])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        if self.with_view {
            vec![ViewRow::of(id, self)]
        } else {
            vec![ViewRow::of(id, &Other)]
        }
    }
}

#[test]
fn a_row_that_is_not_declared_is_refused_with_its_name() {
    let app = TestApp::start(1, release::<TITLE>());
    let library = app.service("library");
    let write = |with_view| {
        let written = run_unit(&library, |scope| async move {
            Table::of(&scope).put(&1, Undeclared { with_view })
        });
        let why = app.run(written).expect_err("it is refused");
        assert_eq!(why.code(), "rows_undeclared");
        why.to_string()
    };
    let why = write(true);
    assert!(why.contains("the view undeclared"), "{why}");
    let why = write(false);
    assert!(why.contains("the column unknown of other"), "{why}");
}
