//! The whole runtime on the model, under the seeded executor.

mod cached;
mod conformance;
mod controls;
mod crashes;
mod described;
mod early;
mod found;
mod isolation;
mod misled;
mod ordered;
mod paging;
mod sessions;
mod sql;
mod suites;
mod traces;
mod transfers;
mod unsent;

/// Code that must compile, and the messages that users see when theirs does not.
#[test]
fn compile_errors_are_in_the_language_of_the_domain() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
