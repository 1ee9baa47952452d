//! Code that must compile, and the messages that users see when theirs does not.
//!
//! The tests stand here and not beside the traits, since this crate needs few features of
//! `wingbeat`: trybuild checks each of its dependencies once more for these tests. It does no more
//! than that as long as all files must fail. Code that must compile is part of this program.

mod service;

#[test]
fn compile_errors_are_in_the_language_of_the_domain() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}
