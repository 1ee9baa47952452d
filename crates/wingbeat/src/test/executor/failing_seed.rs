//! Prints the seed of a failing test.

/// Prints the seed if it is dropped by a panic, so that the run can be repeated.
pub(super) struct PrintSeedOnPanic(pub(super) u64);

impl Drop for PrintSeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed with seed {}", self.0);
        }
    }
}
