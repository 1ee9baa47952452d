//! The `shop` binary. The services run in its tests, on the model; the store that it will run on comes next.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!(
        "shop: the embedded store is not built yet; `cargo xtask test` runs the services on the model"
    );
    ExitCode::from(2)
}
