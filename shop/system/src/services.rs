//! The shop's services, configured from its settings.

use std::time::Duration;

use shop_notifications::Delivery;
use wingbeat::describe::System;
use wingbeat::http::session::Sessions;
use wingbeat::run::Roles;
use wingbeat::test::Model;
use wingbeat::{App, TargetPolicy, TokioRuntime};

use crate::roles::{is_behind_gateway, whole};
use crate::settings::Settings;

/// Builds the app of the whole shop. `provider` is the base URL of the payment provider, `mails`
/// their delivery.
pub fn system(
    settings: &Settings,
    roles: &Roles,
    sessions: &Sessions,
    provider: &str,
    mails: &Delivery,
) -> App {
    let sessions = || sessions.clone();
    App::new()
        .service(shop_carts::service(sessions()))
        .service(shop_catalog::service(&catalog(settings)))
        .service(shop_identity::service(
            &identity(settings, roles),
            sessions(),
        ))
        .service(shop_inventory::service(&inventory(settings)))
        .service(shop_notifications::service(&shop_notifications::Config {
            delivery: mails.clone(),
            ..shop_notifications::Config::default()
        }))
        .service(shop_orders::service(&orders(settings), sessions()))
        .service(shop_payments::service(&payments(settings, provider)))
        .service(shop_promotions::service(&shop_promotions::Config::default()))
        .service(shop_shipping::service(&shipping(settings)))
}

/// Describes the services for documents. They are never started, so they need neither a cache nor a
/// provider.
pub fn described() -> System {
    let runtime = TokioRuntime::new();
    let sessions = Sessions::new(Model::new(runtime.clone()).cache, runtime);
    let (settings, roles) = (Settings::default(), whole());
    let app = system(
        &settings,
        &roles,
        &sessions,
        "http://provider",
        &Delivery::Mailbox,
    );
    System::from(&app)
}

fn orders(settings: &Settings) -> shop_orders::Config {
    shop_orders::Config {
        deadlines: shop_orders::config::Deadlines {
            resend_after: settings.own.checkout_resend_after,
            delayed_after: settings.own.checkout_delayed_after,
            payment_timeout: settings.own.checkout_payment_timeout,
            flash_payment_timeout: settings.own.checkout_flash_payment_timeout,
        },
        cart_wait: settings.own.checkout_cart_wait,
        ..shop_orders::Config::default()
    }
}

fn inventory(settings: &Settings) -> shop_inventory::Config {
    shop_inventory::Config {
        hold_for: settings.own.inventory_hold_for,
        extend_for: settings.own.inventory_extend_for,
        claims_drain: settings.own.inventory_claims_drain,
        rate_limits: settings.own.rate_limits,
        ..shop_inventory::Config::default()
    }
}

fn identity(settings: &Settings, roles: &Roles) -> shop_identity::Config {
    shop_identity::Config {
        trust_forwarded: is_behind_gateway(roles),
        rate_limits: settings.own.rate_limits,
        secure_cookies: settings.own.secure_cookies,
        hashing: hashing(settings),
        ..shop_identity::Config::default()
    }
}

/// The cost of hashing a password.
#[must_use]
pub fn hashing(settings: &Settings) -> shop_identity::config::Hashing {
    shop_identity::config::Hashing {
        memory_kib: settings.own.password_memory_kib.get(),
        passes: settings.own.password_passes.get(),
        ..shop_identity::config::Hashing::default()
    }
}

fn catalog(settings: &Settings) -> shop_catalog::Config {
    shop_catalog::Config {
        cached_for: settings.own.catalog_cached_for,
    }
}

/// Calls to the provider are retried for an hour longer than an order waits, so that their outcome
/// is known.
fn payments(settings: &Settings, provider: &str) -> shop_payments::Config {
    shop_payments::Config {
        provider: shop_payments::config::ProviderUrl(provider.into()),
        target: TargetPolicy {
            give_up_after: settings.own.checkout_payment_timeout + Duration::from_secs(3600),
            ..TargetPolicy::default()
        },
    }
}

fn shipping(settings: &Settings) -> shop_shipping::Config {
    shop_shipping::Config {
        dispatch_after: settings.own.shipping_dispatch_after,
        deliver_after: settings.own.shipping_deliver_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::SERVICES;

    #[test]
    fn identity_trusts_forwarded_addresses_behind_a_gateway_only() {
        let settings = Settings::default();
        assert!(!identity(&settings, &whole()).trust_forwarded);
        let alone = Roles {
            services: ["identity"].into(),
            others: [].into(),
            whole: false,
        };
        assert!(identity(&settings, &alone).trust_forwarded);
    }

    #[test]
    fn the_system_has_the_services_of_the_registry() {
        let runtime = wingbeat::TokioRuntime::new();
        let cache = wingbeat::test::Model::new(runtime.clone()).cache;
        let sessions = Sessions::new(cache, runtime);
        let app = system(
            &Settings::default(),
            &whole(),
            &sessions,
            "http://provider",
            &Delivery::Mailbox,
        );
        let names: Vec<_> = app.names().map(|name| name.as_str()).collect();
        assert_eq!(names, SERVICES);
        app.check().expect("the wiring is right");
    }
}
