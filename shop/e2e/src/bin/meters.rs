//! A service with a partitioned subscription, which chaos runs beside the shop.

use std::process::ExitCode;

use shop_e2e::meters::{OwnSettings, service};
use wingbeat::{App, Settings};

fn main() -> ExitCode {
    #[cfg(feature = "sabotage")]
    apply_sabotage();
    wingbeat::run(|settings: &Settings<OwnSettings>| App::new().service(service(&settings.own)))
}

/// Disables the mechanism that the environment names.
#[cfg(feature = "sabotage")]
#[allow(
    clippy::disallowed_methods,
    reason = "only in builds for negative controls"
)]
fn apply_sabotage() {
    if let Ok(mechanism) = std::env::var("WINGBEAT_SABOTAGE") {
        wingbeat::sabotage::remove(&mechanism).expect("a mechanism");
    }
}
