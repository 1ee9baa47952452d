//! Texts that not every store can keep are refused before a store sees them.

use serde::{Deserialize, Serialize};
use wingbeat::http::Problem;
use wingbeat::store::{Position, Select, TEXT_MAX};
use wingbeat::test::TestApp;
use wingbeat::{
    App, Claims, Class, Entity, Error, Name, Reads, Result, Rows, Service, Table, View, run_unit,
};

/// A text with the character that PostgreSQL cannot store.
const NUL: &str = "a\0b";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Book {
    shelf: String,
}

impl Entity for Book {
    const NAME: &'static str = "book";
    type Id = String;
}

impl View for Book {
    const NAME: &'static str = "books";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![("shelf", self.shelf.clone())]
    }
}

fn app() -> TestApp {
    TestApp::start(1, App::new().service(Service::new("library")))
}

/// Writes a record and a row in units of their own, and returns their errors.
fn written(app: &TestApp, key: &str, shelf: &str) -> [Option<Error>; 2] {
    let library = app.service("library");
    let book = Book {
        shelf: shelf.to_owned(),
    };
    let (key, book) = (&key.to_owned(), &book);
    let record = app.run(run_unit::<(), Error, _>(&library, |scope| async move {
        Table::<Book>::of(&scope).put(key, book.clone())
    }));
    let row = app.run(run_unit::<(), Error, _>(&library, |scope| async move {
        Rows::<Book>::of(&scope).put(key, book)
    }));
    [record.err(), row.err()]
}

#[test]
fn ids_and_keys_and_indexed_values_that_a_store_cannot_keep_are_refused() {
    let app = app();
    let longest = "k".repeat(TEXT_MAX);
    assert!(
        written(&app, &longest, &longest)
            .iter()
            .all(Option::is_none)
    );
    let too_long = "k".repeat(TEXT_MAX + 1);
    for wrong in [NUL, &too_long] {
        for refused in written(&app, wrong, "shelf") {
            let why = refused.expect("it is refused");
            assert_eq!((why.code(), why.class()), ("unstorable", Class::Reject));
            assert!(!why.to_string().contains(wrong), "the error repeats it");
            assert_eq!(Problem::from(why).status, 422);
        }
        let [record, row] = written(&app, "key", wrong);
        assert!(record.is_none(), "bodies may contain anything");
        assert_eq!(row.map(|why| why.code()), Some("unstorable"));
    }
}

#[test]
fn a_claim_of_such_a_text_is_refused() {
    let app = app();
    let library = app.service("library");
    let claimed = app.run(run_unit::<bool, Error, _>(&library, |scope| async move {
        Claims::of(&scope).claim("seat", NUL, "ada").await
    }));
    assert_eq!(claimed.map_err(|why| why.code()), Err("unstorable"));
}

#[test]
fn nothing_is_found_under_a_text_that_no_store_has() {
    let app = app();
    let reads = app.reads("library");
    let (record, row) = (
        app.run(reads.entity::<Book>(&NUL.to_owned())),
        app.run(reads.row::<Book>(NUL)),
    );
    assert_eq!(record.expect("it is read"), None);
    assert_eq!(row.expect("it is read"), None);
    let library = app.service("library");
    let found = app.run(run_unit::<_, Error, _>(&library, |scope| async move {
        Table::<Book>::of(&scope).get(&NUL.to_owned()).await
    }));
    assert_eq!(found.expect("it is read"), None);
}

#[test]
fn a_list_from_or_of_such_a_text_is_refused() {
    let app = app();
    let reads = app.reads("library");
    let column = Name::new("shelf");
    let part = || NUL.to_owned();
    let selects = [
        Select::Contains {
            column,
            part: part(),
        },
        Select::Prefix {
            column,
            prefix: part(),
            descending: false,
        },
        Select::Range {
            column,
            from: part(),
            until: None,
            descending: false,
        },
        Select::Range {
            column,
            from: String::new(),
            until: Some(part()),
            descending: true,
        },
    ];
    let list = |reads: &Reads, select, after| {
        let listed: Result<_> = app.run(reads.rows::<Book>(select, after, 1));
        listed
            .map(|listed| listed.rows.len())
            .map_err(|why| why.code())
    };
    for select in selects {
        assert_eq!(list(&reads, select, None), Err("unstorable"));
    }
    let position = |value: &str, key: &str| Position {
        value: value.to_owned(),
        key: key.to_owned(),
    };
    for after in [position(NUL, "a"), position("a", NUL)] {
        assert_eq!(list(&reads, Select::All, Some(after)), Err("unstorable"));
    }
    let scanned = app.run(reads.entities::<Book>(Some(part()), 1));
    assert_eq!(
        scanned.map(|it| it.len()).map_err(|why| why.code()),
        Err("unstorable")
    );
    assert_eq!(list(&reads, Select::All, None), Ok(0));
}
