//! Which services the shop has.

use std::time::Duration;

use wingbeat::http::session::Sessions;
use wingbeat::{App, TargetPolicy};

use crate::Settings;
use crate::host::Build;

/// The shop's services, each as what starts it anew.
#[must_use]
pub fn services(settings: &Settings, sessions: &Sessions, provider: &str) -> Vec<(&'static str, Build)> {
    let orders = shop_orders::Config {
        deadlines: shop_orders::checkout::Deadlines {
            resend_after: settings.checkout_resend_after,
            delayed_after: settings.checkout_delayed_after,
            payment_timeout: settings.checkout_payment_timeout,
        },
        cart_wait: settings.checkout_cart_wait,
    };
    let inventory = shop_inventory::Config {
        hold_for: settings.inventory_hold_for,
        extend_for: settings.inventory_extend_for,
        ..shop_inventory::Config::default()
    };
    let identity = shop_identity::Config {
        rate_limits: settings.rate_limits,
        ..shop_identity::Config::default()
    };
    let catalog = shop_catalog::Config {
        cached_for: settings.catalog_cached_for,
    };
    let payments = shop_payments::Config {
        provider: shop_payments::config::ProviderUrl(provider.into()),
        target: TargetPolicy {
            give_up_after: settings.checkout_payment_timeout + Duration::from_secs(3600),
            ..TargetPolicy::default()
        },
    };
    let shipping = shop_shipping::Config {
        dispatch_after: settings.shipping_dispatch_after,
        deliver_after: settings.shipping_deliver_after,
    };
    let (of_identity, of_carts, of_orders) = (sessions.clone(), sessions.clone(), sessions.clone());
    vec![
        ("carts", build(move || App::new().service(shop_carts::service(of_carts.clone())))),
        ("catalog", build(move || App::new().service(shop_catalog::service(&catalog)))),
        (
            "identity",
            build(move || App::new().service(shop_identity::service(&identity, of_identity.clone()))),
        ),
        ("inventory", build(move || App::new().service(shop_inventory::service(&inventory)))),
        (
            "notifications",
            build(|| {
                let config = shop_notifications::Config::default();
                App::new().service(shop_notifications::service(&config))
            }),
        ),
        (
            "orders",
            build(move || App::new().service(shop_orders::service(&orders, of_orders.clone()))),
        ),
        ("payments", build(move || App::new().service(shop_payments::service(&payments)))),
        (
            "promotions",
            build(|| {
                let config = shop_promotions::Config::default();
                App::new().service(shop_promotions::service(&config))
            }),
        ),
        ("shipping", build(move || App::new().service(shop_shipping::service(&shipping)))),
    ]
}

fn build(app: impl Fn() -> App + Send + Sync + 'static) -> Build {
    Box::new(app)
}
