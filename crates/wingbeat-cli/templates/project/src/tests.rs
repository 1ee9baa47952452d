use wingbeat::serde_json::{Value, json};
use wingbeat::test::TestApp;

use super::*;

#[test]
fn a_book_is_lent_to_one_reader_and_counted_once() {
    let app = TestApp::start(1, system());
    let lend = |reader: &str| {
        let loan = json!({ "book": "Emma", "reader": reader });
        app.ask("POST", "/loans", "", &loan).0
    };
    assert_eq!([lend("Ada"), lend("Eve")], [202, 409]);
    app.until_idle();
    let (status, ada) = app.ask("GET", "/readers/Ada", "", &Value::Null);
    assert_eq!((status, &ada["books"]), (200, &json!(1)));
    assert_eq!(app.dead_letters("statistics"), 0);
}
