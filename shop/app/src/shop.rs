//! Which services the shop has.

use std::time::Duration;

use wingbeat::http::session::Sessions;
use wingbeat::{App, Service, TargetPolicy};

use crate::Settings;
use crate::cast::{Cast, SERVICES};
use crate::host::Build;

/// The shop's services, each as what starts it anew.
#[must_use]
pub fn services(
    settings: &Settings,
    cast: &Cast,
    sessions: &Sessions,
    provider: &str,
) -> Vec<(&'static str, Build)> {
    let (orders, inventory) = (orders(settings), inventory(settings));
    let (identity, catalog) = (identity(settings, cast), catalog(settings));
    let (payments, shipping) = (payments(settings, provider), shipping(settings));
    let notifications = shop_notifications::Config::default();
    let promotions = shop_promotions::Config::default();
    let signed_in = || sessions.clone();
    let (at_carts, at_identity, at_orders) = (signed_in(), signed_in(), signed_in());
    vec![
        one("carts", move || shop_carts::service(at_carts.clone())),
        one("catalog", move || shop_catalog::service(&catalog)),
        one("identity", move || {
            shop_identity::service(&identity, at_identity.clone())
        }),
        one("inventory", move || shop_inventory::service(&inventory)),
        one("notifications", move || {
            shop_notifications::service(&notifications)
        }),
        one("orders", move || {
            shop_orders::service(&orders, at_orders.clone())
        }),
        one("payments", move || shop_payments::service(&payments)),
        one("promotions", move || shop_promotions::service(&promotions)),
        one("shipping", move || shop_shipping::service(&shipping)),
    ]
}

fn one<S>(
    name: &'static str,
    service: impl Fn() -> Service<S> + Send + Sync + 'static,
) -> (&'static str, Build) {
    let app = move || App::new().service(service()).family(SERVICES);
    (name, Box::new(app))
}

fn orders(settings: &Settings) -> shop_orders::Config {
    shop_orders::Config {
        deadlines: shop_orders::config::Deadlines {
            resend_after: settings.checkout_resend_after,
            delayed_after: settings.checkout_delayed_after,
            payment_timeout: settings.checkout_payment_timeout,
        },
        cart_wait: settings.checkout_cart_wait,
    }
}

fn inventory(settings: &Settings) -> shop_inventory::Config {
    shop_inventory::Config {
        hold_for: settings.inventory_hold_for,
        extend_for: settings.inventory_extend_for,
        ..shop_inventory::Config::default()
    }
}

fn identity(settings: &Settings, cast: &Cast) -> shop_identity::Config {
    shop_identity::Config {
        trust_forwarded: cast.is_behind_gateway(),
        rate_limits: settings.rate_limits,
        secure_cookies: settings.secure_cookies,
        hashing: hashing(settings),
        ..shop_identity::Config::default()
    }
}

/// What hashing a password may cost.
pub(crate) fn hashing(settings: &Settings) -> shop_identity::config::Hashing {
    shop_identity::config::Hashing {
        memory_kib: settings.password_memory_kib,
        passes: settings.password_passes,
        ..shop_identity::config::Hashing::default()
    }
}

fn catalog(settings: &Settings) -> shop_catalog::Config {
    shop_catalog::Config {
        cached_for: settings.catalog_cached_for,
    }
}

/// The provider is asked for a while longer than an order waits, so that what it did is known.
fn payments(settings: &Settings, provider: &str) -> shop_payments::Config {
    shop_payments::Config {
        provider: shop_payments::config::ProviderUrl(provider.into()),
        target: TargetPolicy {
            give_up_after: settings.checkout_payment_timeout + Duration::from_secs(3600),
            ..TargetPolicy::default()
        },
    }
}

fn shipping(settings: &Settings) -> shop_shipping::Config {
    shop_shipping::Config {
        dispatch_after: settings.shipping_dispatch_after,
        deliver_after: settings.shipping_deliver_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_told_who_calls_where_the_gateway_is_another_process() {
        let settings = Settings::default();
        let whole = Cast::whole(&settings);
        assert!(!identity(&settings, &whole).trust_forwarded);
        let alone = Cast {
            services: ["identity"].into(),
            gateway: false,
            ..whole
        };
        assert!(identity(&settings, &alone).trust_forwarded);
    }
}
