//! The services of the shop, and the requirements of a process that runs some of them.

use wingbeat::run::{Roles, RunError};

use crate::settings::Settings;

pub use shop_registry::NAMES as SERVICES;

/// The public port in front of the services.
pub const GATEWAY: &str = "gateway";
/// The stand-in for the payment company.
pub const PROVIDER: &str = "provider";

/// The roles of a process with the whole shop.
#[must_use]
pub fn whole() -> Roles {
    Roles {
        services: SERVICES.into(),
        others: [GATEWAY, PROVIDER].into(),
        whole: true,
    }
}

/// Returns whether callers come through a gateway in another process, which reports their
/// addresses.
#[must_use]
pub fn is_behind_gateway(roles: &Roles) -> bool {
    !roles.has(GATEWAY)
}

/// Checks the settings that services in production require.
pub fn check(settings: &Settings, roles: &Roles) -> Result<(), RunError> {
    let own = &settings.own;
    let mut missing = Vec::new();
    if settings
        .upstreams
        .get(PROVIDER)
        .is_some_and(|urls| urls.contains(','))
    {
        missing.push("there is one payment provider: WINGBEAT_URL_PROVIDER must be one URL");
    }
    if !roles.whole && !own.dev {
        missing.extend(required(settings, roles));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(RunError::Program(missing.join("; ")))
}

/// Returns the settings that services in production lack.
fn required(settings: &Settings, roles: &Roles) -> Vec<&'static str> {
    let own = &settings.own;
    let mut missing = Vec::new();
    if roles.has("payments") && own.provider.is_none() && !roles.has(PROVIDER) {
        missing.push("payments needs --provider (or --dev, for the stand-in)");
    }
    if roles.has("notifications") && own.smtp.is_none() {
        missing.push("notifications needs --smtp (or --dev, for the mailbox)");
    }
    if roles.has("identity") && own.admin_password.is_none() {
        missing.push("identity needs SHOP_ADMIN_PASSWORD (or --dev)");
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&'static str]) -> Roles {
        let (services, others) = names.iter().partition(|name| SERVICES.contains(name));
        Roles {
            services,
            others,
            whole: false,
        }
    }

    fn problem(names: &[&'static str], settings: &Settings) -> String {
        let checked = check(settings, &of(names));
        checked.err().map(|why| why.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_services_without_a_gateway_of_their_own_are_behind_one() {
        assert!(is_behind_gateway(&of(&["identity"])));
        assert!(!is_behind_gateway(&of(&["identity", "gateway"])));
        assert!(!is_behind_gateway(&whole()));
    }

    #[test]
    fn a_missing_requirement_is_reported_before_anything_starts() {
        let mut settings = Settings::default();
        assert!(problem(&["payments"], &settings).contains("--provider"));
        assert!(problem(&["notifications"], &settings).contains("--smtp"));
        settings.own.smtp = Some("smtp://mail.example.com".parse().expect("a URL"));
        assert_eq!(problem(&["notifications"], &settings), "");
        assert!(problem(&["identity"], &settings).contains("SHOP_ADMIN_PASSWORD"));
        let all = problem(&SERVICES, &settings);
        for part in ["--provider", "SHOP_ADMIN_PASSWORD"] {
            assert!(all.contains(part), "{all}");
        }
        assert_eq!(problem(&["orders"], &settings), "");
        settings.own.dev = true;
        assert_eq!(problem(&SERVICES, &settings), "");
        let replicas = "http://a,http://b".to_owned();
        settings.upstreams.insert(PROVIDER.into(), replicas);
        assert!(problem(&SERVICES, &settings).contains("WINGBEAT_URL_PROVIDER"));
    }
}
