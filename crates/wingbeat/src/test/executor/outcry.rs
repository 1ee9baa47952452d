//! A failing test tells its seed.

/// Says which seed repeats the run, when a test fails in it.
pub(super) struct SayOnPanic(pub(super) u64);

impl Drop for SayOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed with seed {}", self.0);
        }
    }
}
