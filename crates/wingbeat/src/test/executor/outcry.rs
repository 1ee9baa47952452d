//! Prints the seed of a failing test.

/// Prints the seed that repeats the run, if it is dropped by a panic.
pub(super) struct SayOnPanic(pub(super) u64);

impl Drop for SayOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed with seed {}", self.0);
        }
    }
}
