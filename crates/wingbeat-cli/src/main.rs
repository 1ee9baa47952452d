//! The program `wingbeat`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wingbeat_cli::main()
}
