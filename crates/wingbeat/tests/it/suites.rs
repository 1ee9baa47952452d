//! The lists in the macros of the contract tests are complete.

/// Returns the test functions in the sources that the list lacks.
fn unlisted<'a>(list: &str, sources: &[&'a str]) -> Vec<&'a str> {
    let listed: Vec<&str> = list
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let functions = sources
        .iter()
        .flat_map(|source| source.split("\npub async fn ").skip(1));
    let names = functions.filter_map(|function| function.split('(').next());
    names.filter(|name| !listed.contains(name)).collect()
}

macro_rules! core {
    ($file:literal) => {
        include_str!(concat!("../../../wingbeat-core/src/", $file))
    };
}

#[test]
fn every_store_test_is_listed() {
    let tests = [
        core!("conformance/store/commit.rs"),
        core!("conformance/store/due.rs"),
        core!("conformance/store/outbox.rs"),
        core!("conformance/store/reading.rs"),
        core!("conformance/store/settling.rs"),
        core!("conformance/store/views.rs"),
    ];
    let missing = unlisted(core!("conformance/store/mod.rs"), &tests);
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_transport_and_cache_test_is_listed() {
    for suite in [
        core!("conformance/transport/mod.rs"),
        core!("conformance/cache.rs"),
    ] {
        let (_, rest) = suite.split_once("macro_rules!").expect("a macro");
        let (list, tests) = rest.split_once("\n}\n").expect("tests after the macro");
        let missing = unlisted(list, &[tests]);
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn an_unlisted_test_is_detected() {
    assert_eq!(
        unlisted("[a_b]", &["\npub async fn a_b(x)", "\npub async fn b(x)"]),
        ["b"]
    );
}
