//! The `shop` program.

use std::process::ExitCode;

use clap::{Args as _, FromArgMatches as _};
use shop::Shop;
use shop::users::{self, UsersArgs};
use shop_client::audit::{self, AuditArgs};
use shop_client::flash::{self, FlashSaleArgs};
use shop_client::traffic::{self, TrafficArgs};
use shop_simulation::{self as simulation, SimulateArgs};
use wingbeat::run::Command;

/// Handlers spend half of their time on allocating and freeing small objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "sabotage")]
    apply_sabotage();
    wingbeat::run_program(Shop { commands })
}

/// The commands for a running shop, and the simulation.
fn commands() -> Vec<Command> {
    vec![
        Command {
            definition: TrafficArgs::augment_args(clap::Command::new("traffic")),
            run: |args| {
                let args = TrafficArgs::from_arg_matches(&args).expect("clap has parsed them");
                Box::pin(traffic::run(args))
            },
        },
        Command {
            definition: FlashSaleArgs::augment_args(clap::Command::new("flash-sale")),
            run: |args| {
                let args = FlashSaleArgs::from_arg_matches(&args).expect("clap has parsed them");
                Box::pin(flash::run(args))
            },
        },
        Command {
            definition: AuditArgs::augment_args(clap::Command::new("audit")),
            run: |args| {
                let args = AuditArgs::from_arg_matches(&args).expect("clap has parsed them");
                Box::pin(audit::run(args))
            },
        },
        Command {
            definition: SimulateArgs::augment_args(clap::Command::new("simulate")),
            run: |args| {
                let args = SimulateArgs::from_arg_matches(&args).expect("clap has parsed them");
                Box::pin(async move { simulation::run(&args) })
            },
        },
        Command {
            definition: UsersArgs::augment_args(clap::Command::new("users")),
            run: |args| {
                let args = UsersArgs::from_arg_matches(&args).expect("clap has parsed them");
                Box::pin(async move { users::run(&args) })
            },
        },
    ]
}

/// Disables the mechanism that the environment names, and arms the step at which the process ends.
#[cfg(feature = "sabotage")]
#[allow(
    clippy::disallowed_methods,
    reason = "only in builds for negative controls"
)]
fn apply_sabotage() {
    if let Ok(mechanism) = std::env::var("WINGBEAT_SABOTAGE") {
        wingbeat::sabotage::remove(&mechanism).expect("a mechanism");
    }
    if let Ok(step) = std::env::var("WINGBEAT_FAILPOINT") {
        wingbeat::failpoint::arm(&step).expect("a step");
    }
}
