//! The guide shows exactly the code that these tests run.

const GUIDE: &str = include_str!("../../../../docs/writing-an-adapter.md");
const FILES: [&str; 4] = [
    include_str!("cache.rs"),
    include_str!("conformance.rs"),
    include_str!("controls.rs"),
    include_str!("outage.rs"),
];

#[test]
fn the_guide_shows_the_code_that_is_tested() {
    let blocks = GUIDE.split("```rust\n").skip(1);
    let blocks: Vec<&str> = blocks
        .map(|rest| rest.split_once("```").expect("the block ends").0)
        .collect();
    assert_eq!(blocks, FILES);
}
