//! What compiles, and what a user is told when it does not.

#[test]
fn mistakes_are_told_in_words_a_user_understands() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
