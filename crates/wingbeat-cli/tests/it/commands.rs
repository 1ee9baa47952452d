//! The other commands, against an app that runs here.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use ::wingbeat::test::replay::Recorded;
use serde_json::{Value, json};

use crate::app::{Running, wingbeat};

/// Asks until the JSON of a command is as expected.
async fn until(app: &Running, arguments: &[&str], expected: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let (_, answer) = app.json(arguments).await;
        if expected(&answer) {
            return answer;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{arguments:?}: {answer}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables_for_people_and_json_for_programs() {
    let app = Running::start().await;
    app.lend(["Emma".into()]).await;
    let handled = |all: &Value| {
        let mut items = all["items"].as_array().expect("a list").iter();
        let count = items.find(|it| it["name"] == "count");
        count.is_some_and(|it| it["handled"] == 1)
    };
    until(&app, &["subscriptions", "list"], handled).await;
    for (arguments, shown) in [
        (vec!["subscriptions", "list"], "statistics"),
        (vec!["schedules", "list"], "every 3600s"),
        (vec!["graph"], "library.book_lent.v1"),
        (vec!["graph", "--format", "mermaid"], "flowchart LR"),
        (vec!["graph", "--format", "dot"], "digraph"),
        (vec!["dead-letters", "list"], "There are no dead letters."),
        (vec!["incidents", "list"], "There are no dead letters."),
        (vec!["incidents", "redrives"], "There were no redrives."),
        (vec!["topology", "plan"], "All queues are as"),
        (vec!["completions", "bash"], "_wingbeat"),
        (vec!["doctor", "--explain"], "queue_without_consumer"),
    ] {
        let (code, text) = app.wingbeat(&arguments).await;
        assert!(code == 0 && text.contains(shown), "{arguments:?}: {text}");
    }
    let (_, graph) = app.json(&["graph"]).await;
    let routes = graph["items"].as_array().expect("a list");
    let lent = routes
        .iter()
        .find(|it| it["message"] == "library.book_lent.v1");
    let queues = &lent.expect("the event")["subscribers"];
    assert_eq!(queues.as_array().map(Vec::len), Some(4), "{queues}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sagas_are_counted_and_listed() {
    let app = Running::start().await;
    app.lend((0..3).map(|it| format!("book {it}"))).await;
    let three = |all: &Value| {
        let states = all["items"][0]["states"].as_object();
        let counts = states
            .into_iter()
            .flatten()
            .filter_map(|(_, it)| it.as_i64());
        counts.sum::<i64>() == 3
    };
    let sagas = until(&app, &["sagas"], three).await;
    assert_eq!(sagas["items"][0]["saga"], "loan");
    let (code, loans) = app.json(&["sagas", "library.loan"]).await;
    let loans = loans["items"].as_array().expect("a list");
    assert_eq!((code, loans.len()), (0, 3));
    assert_eq!(loans[0]["id"], "book 0");
    assert_eq!(loans[0]["timers"], json!(["library.book_due.v1"]));
    let (code, _) = app.wingbeat(&["sagas", "library.none"]).await;
    assert_eq!(code, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_sagas_follow_one_another() {
    let app = Running::start().await;
    app.lend((0..130).map(|it| format!("book {it:03}"))).await;
    let all = |answer: &Value| answer["items"].as_array().map(Vec::len) == Some(130);
    let loans = ["sagas", "library.loan", "--limit", "500"];
    let begun = Instant::now();
    // Until the first saga was started there is no such list.
    while app.wingbeat(&loans).await.0 != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = until(&app, &loans, all).await;
    let ids = answer["items"].as_array().expect("a list").iter();
    let ids: Vec<&str> = ids.filter_map(|it| it["id"].as_str()).collect();
    assert!(
        ids.is_sorted() && ids.first() == Some(&"book 000"),
        "{ids:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_and_its_story_are_exported_and_passed_to_a_program() {
    let app = Running::start().await;
    app.lend(["Lost".into()]).await;
    let one = |all: &Value| all["items"].as_array().map(Vec::len) == Some(1);
    let letters = until(&app, &["dead-letters", "list"], one).await;
    let id = letters["items"][0]["id"].as_str().expect("an id");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("story.json");
    let out = file.to_str().expect("UTF-8");

    let (code, shown) = app.json(&["replay", id, "--out", out]).await;
    assert_eq!((code, &shown["units"]), (0, &json!(1)), "{shown}");
    let recorded = Recorded::load(&file).expect("a story");
    let failed = serde_json::to_value(&recorded.story().units[0]).expect("JSON");
    assert_eq!(failed["outcome"]["failed"]["code"], "lost");
    assert_eq!(
        failed["input"]["messages"]["messages"][0]["body"]["book"],
        "Lost"
    );

    let (_, whole) = app.json(&["dead-letters", "show", id]).await;
    let story = whole["headers"]["correlationid"].as_str().expect("an id");
    let is_written = ["replay", story, "--out", out, "--", "test", "-s"];
    let (code, text) = app.wingbeat(&is_written).await;
    assert_eq!(code, 0, "{text}");
    let units = Recorded::load(&file).expect("a story").story().units.len();
    assert!(units > 1, "{text}");
    let differs = ["replay", story, "--out", out, "--", "test", "!", "-s"];
    assert_eq!(app.wingbeat(&differs).await.0, 1, "the program failed");

    let absent = ::wingbeat::Uuid::from_u128(9).to_string();
    assert_eq!(app.wingbeat(&["replay", &absent]).await.0, 5);
    assert_eq!(app.wingbeat(&["replay", "../x"]).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_shown_with_its_story_and_retried() {
    let app = Running::start().await;
    app.lend(["Lost".into(), "Emma".into()]).await;
    let one = |all: &Value| all["items"].as_array().map(Vec::len) == Some(1);
    let letters = until(&app, &["dead-letters", "list"], one).await;
    let id = letters["items"][0]["id"].as_str().expect("an id");
    for (filter, number) in [(["--reason", "lost"], 1), (["--reason", "other"], 0)] {
        let list = [&["dead-letters", "list"][..], &filter].concat();
        let (_, found) = app.json(&list).await;
        assert_eq!(found["items"].as_array().map(Vec::len), Some(number));
    }
    let (code, whole) = app.json(&["dead-letters", "show", id]).await;
    assert_eq!((code, &whole["body"]), (0, &json!({ "book": "Lost" })));
    let story = whole["headers"]["correlationid"].as_str().expect("an id");
    let (code, steps) = app.json(&["story", story]).await;
    assert_eq!(
        (code, &steps["items"][0]["name"]),
        (0, &json!("library.book_lent.v1"))
    );
    let (code, text) = app.wingbeat(&["dead-letters", "retry", id]).await;
    assert_eq!((code, text), (0, format!("retried {id}\n")));
    // It fails again, as a new dead letter or under the same id.
    until(&app, &["dead-letters", "list"], one).await;
    let absent = ::wingbeat::Uuid::from_u128(9).to_string();
    assert_eq!(app.wingbeat(&["dead-letters", "retry", &absent]).await.0, 5);
    assert_eq!(app.wingbeat(&["dead-letters", "show", "../x"]).await.0, 2);
    assert_eq!(app.wingbeat(&["story", &absent]).await.0, 5);
}

/// The only element of a list, once there is one.
fn only(all: &Value) -> bool {
    all["items"].as_array().map(Vec::len) == Some(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_listed_shown_and_retried_with_a_canary() {
    let app = Running::start().await;
    app.lend(["Lost".into()]).await;
    let found = until(&app, &["incidents", "list"], only).await;
    let incident = &found["items"][0];
    let (service, group) = (&incident["service"], &incident["group"]);
    let (service, group) = (
        service.as_str().expect("a name"),
        group.as_str().expect("an id"),
    );
    assert_eq!(
        (&incident["reason"], &incident["count"]),
        (&json!("lost"), &json!(1))
    );
    let (code, whole) = app.json(&["incidents", "show", service, group]).await;
    assert_eq!((code, &whole["items"][0]["key"]), (0, &json!("Lost")));
    assert_eq!(
        app.wingbeat(&["incidents", "show", service, "../x"])
            .await
            .0,
        5
    );

    let retry = [
        "incidents",
        "retry",
        service,
        "--group",
        group,
        "--rate",
        "500",
    ];
    let retry = [&retry[..], &["--why", "it was found & returned"]].concat();
    let (code, begun) = app.json(&retry).await;
    assert_eq!((code, &begun["rate"]), (0, &json!(500)));
    let stopped = |all: &Value| only(all) && all["items"][0]["state"] == "stopped";
    let redrives = until(&app, &["incidents", "redrives"], stopped).await;
    assert_eq!(redrives["items"][0]["failed"], 1);
    let id = begun["id"].as_str().expect("an id");
    assert_eq!(app.wingbeat(&["incidents", "stop", service, id]).await.0, 5);
    let (_, actions) = app.json(&["incidents", "actions"]).await;
    let actions = actions["items"].as_array().expect("a list");
    let first = actions.last().expect("two actions");
    assert_eq!(
        (&first["what"], &first["target"]),
        (&json!("redrive"), &json!(id))
    );
    assert_eq!(first["why"], "it was found & returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_are_compared_with_the_running_app_and_between_directories() {
    let app = Running::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let (golden, broken) = (
        directory.path().join("golden"),
        directory.path().join("broken"),
    );
    let message = "messages/library.book_lent.v1.json";
    for folder in [&golden, &broken] {
        app.contracts().write(folder).expect("they are written");
    }
    // The release before had a field that its consumers need.
    let file = broken.join(message);
    let text = std::fs::read_to_string(&file).expect("a file");
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    schema["properties"]["reader"] = json!({ "type": "string" });
    schema["required"] = json!(["book", "reader"]);
    std::fs::write(&file, schema.to_string()).expect("it is written");
    let [golden, broken] = [golden, broken].map(|it| it.display().to_string());
    for (arguments, code, shown) in [
        (
            vec!["contracts", "check", &golden],
            0,
            "Nothing has changed.",
        ),
        (
            vec!["contracts", "check", &broken],
            1,
            "library.book_lent.v1",
        ),
        (
            vec!["contracts", "check", &golden, "--with", &golden],
            0,
            "Nothing",
        ),
        (
            vec!["contracts", "check", &broken, "--with", &golden],
            1,
            "consumers",
        ),
        (
            vec!["contracts", "check", "no-such-directory"],
            2,
            "no contracts",
        ),
    ] {
        let (found, text) = app.wingbeat(&arguments).await;
        assert!(
            found == code && text.contains(shown),
            "{arguments:?}: {found} {text}"
        );
    }
    let (code, report) = app.json(&["contracts", "check", &broken]).await;
    assert_eq!(
        (code, report["breaks"].as_array().map(Vec::len)),
        (1, Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_and_reset() {
    let app = Running::start().await;
    for (arguments, code, shown) in [
        (
            "subscriptions limit statistics.count --concurrency 3 --rate 50/s",
            0,
            "at most 3 at once in each process, 50/s in all",
        ),
        ("subscriptions list", 0, "50/s"),
        ("subscriptions limit statistics.count", 0, "no rate"),
        (
            "subscriptions limit statistics.count --rate fast",
            2,
            "is no rate",
        ),
        (
            "subscriptions limit statistics.none",
            5,
            "no process has it",
        ),
        (
            "targets limit library.insurer --rate 300/min",
            0,
            "300/min in all",
        ),
        ("targets list", 0, "300/min"),
        ("targets limit library.none", 5, "no process has it"),
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let (found, text) = app.wingbeat(&arguments).await;
        let is_right = found == code && text.contains(shown);
        assert!(is_right, "{arguments:?}: {found} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_went_wrong() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = format!("http://{}", closed.local_addr().expect("its address"));
    for (arguments, code) in [
        (vec!["subscriptions", "list"], 3),
        (vec!["graph"], 3),
        (vec!["nonsense"], 2),
        (vec!["subscriptions", "pause", "nonsense"], 2),
        (vec!["story", "nonsense"], 2),
        (vec!["topology", "apply"], 2),
        (vec!["topology", "migrate"], 2),
        (vec!["new", "Nonsense"], 2),
    ] {
        let (found, text) = wingbeat(&closed, &arguments).await;
        assert_eq!(found, code, "{arguments:?}: {text}");
    }
    let app = Running::start().await;
    let (code, _) = app
        .wingbeat(&["subscriptions", "pause", "library.none"])
        .await;
    assert_eq!(code, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_is_written_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("hotel");
    let folder = folder.to_str().expect("UTF-8");
    let new = ["new", "hotel", "--directory", folder];
    let (code, text) = wingbeat("http://127.0.0.1:1", &new).await;
    assert_eq!(code, 0, "{text}");
    let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).expect("a file");
    assert!(read("Cargo.toml").contains("name = \"hotel\""));
    assert!(read("Cargo.toml").contains("wingbeat = { version = \""));
    assert!(!read("README.md").contains("{{"));
    assert!(read("src/main.rs").contains("wingbeat::run("));
    let (code, text) = wingbeat("http://127.0.0.1:1", &new).await;
    assert!(code == 2 && text.contains("exists already"), "{text}");
}
