//! Code that must compile, and the messages that users see when theirs does not.
//!
//! The tests stand here and not beside the traits, since this crate needs few features of
//! `wingbeat`: each of its dependencies is compiled once more for these tests.

#[test]
fn compile_errors_are_in_the_language_of_the_domain() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
