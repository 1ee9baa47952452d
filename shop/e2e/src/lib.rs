//! Tests of the `shop` binary as its users meet it: started as a process, driven over HTTP and in a
//! browser, and killed. They live in `tests/it`.
