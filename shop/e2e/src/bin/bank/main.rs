//! A bank of three services in several releases: the worked example of `docs/evolution.md`.
//!
//! - `bank` keeps accounts as aggregates, and publishes their deposits.
//! - `statements` notes the deposits of each account in their order.
//! - `receipts` writes one receipt for each deposit.
//!
//! [`first`] and [`second`] are the releases; one program contains both, so that a test can run
//! replicas of both side by side (`shop/e2e/tests/it/evolving.rs`). What they share is unchanged
//! between them: [`deposits`], [`routes`] and [`statements`].

mod deposits;
mod first;
mod routes;
mod second;
mod statements;

use std::process::ExitCode;

use serde::Deserialize;
use wingbeat::{JsonSchema, Settings, schemars};

/// The settings of the bank.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Bank {
    /// The release that runs
    release: Release,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Release {
    #[default]
    First,
    /// Knows the new form of stored events, and publishes both versions of the message.
    Second,
    /// Writes the new form, too.
    Third,
    /// The second one with a fault: it reads no event of the first one.
    WithoutUpcast,
    /// The second one with a fault: it publishes only the new version of the message.
    WithoutV1,
}

fn main() -> ExitCode {
    wingbeat::run(|settings: &Settings<Bank>| match settings.own.release {
        Release::First => first::app(),
        Release::Second => second::app::<{ second::KNOWS }>(true),
        Release::Third => second::app::<{ second::WRITES }>(true),
        Release::WithoutUpcast => second::app::<{ second::IGNORES }>(true),
        Release::WithoutV1 => second::app::<{ second::KNOWS }>(false),
    })
}
