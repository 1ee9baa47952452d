//! The registry of the shop's services: their names, and the HTTP paths that each one owns.
//!
//! Whoever needs a list of the services takes it from here: the roles of `shop run`, the gateway's
//! routing, the fleets of the end-to-end tests and benchmarks, and the tests that compare the
//! deployment with the code. The crate has no dependencies, so that tools which only speak HTTP can
//! use it without compiling the framework.
//!
//! ```
//! assert!(shop_registry::NAMES.contains(&"orders"));
//! assert_eq!(shop_registry::owner("/api/v1/orders/7/cancel"), Some("orders"));
//! assert_eq!(shop_registry::owner("/api/v1/admin/audit"), None);
//! ```

/// A service of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name. Processes, queues, message types and SQL schemas begin with it.
    pub name: &'static str,
    /// Prefixes of the HTTP paths that the service answers.
    pub paths: &'static [&'static str],
}

/// The name of the gateway, the only process with a public port.
pub const GATEWAY: &str = "gateway";

/// The name of the stand-in for the payment company.
pub const PROVIDER: &str = "provider";

/// All services, sorted by name.
pub const SERVICES: [Service; 9] = [
    Service {
        name: "carts",
        paths: &["/api/v1/cart"],
    },
    Service {
        name: "catalog",
        paths: &["/api/v1/products", "/api/v1/admin/products"],
    },
    Service {
        name: "identity",
        paths: &[
            "/api/v1/users",
            "/api/v1/sessions",
            "/api/v1/me",
            "/dev/shoppers",
        ],
    },
    Service {
        name: "inventory",
        paths: &[
            "/api/v1/admin/stock",
            "/api/v1/admin/flash-sales",
            "/api/v1/flash-sales",
            "/api/v1/flash-claims",
        ],
    },
    Service {
        name: "notifications",
        paths: &["/dev/mailbox"],
    },
    Service {
        name: "orders",
        paths: &["/api/v1/orders", "/api/v1/stream"],
    },
    Service {
        name: "payments",
        paths: &[],
    },
    Service {
        name: "promotions",
        paths: &["/api/v1/promotions"],
    },
    Service {
        name: "shipping",
        paths: &[],
    },
];

/// The names of [`SERVICES`].
pub const NAMES: [&str; SERVICES.len()] = names();

const fn names() -> [&'static str; SERVICES.len()] {
    let mut names = [""; SERVICES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = SERVICES[at].name;
        at += 1;
    }
    names
}

/// Returns the name of the service that owns an HTTP path, or `None` if no service does.
///
/// A prefix matches whole segments, and the longest matching prefix decides.
#[must_use]
pub fn owner(path: &str) -> Option<&'static str> {
    let owned = SERVICES
        .iter()
        .flat_map(|service| service.paths.iter().map(|prefix| (*prefix, service.name)));
    owned
        .filter(|(prefix, _)| is_below(path, prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, name)| name)
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sorted() {
        assert!(NAMES.is_sorted_by(|one, next| one < next), "{NAMES:?}");
    }

    #[test]
    fn a_path_belongs_to_one_service_at_most() {
        for (path, service) in [
            ("/api/v1/users", Some("identity")),
            ("/api/v1/me/password", Some("identity")),
            ("/api/v1/mean", None),
            ("/api/v1/orders/7/cancel", Some("orders")),
            ("/api/v1/admin/products/a", Some("catalog")),
            ("/api/v1/admin/subscriptions", None),
            ("/", None),
        ] {
            assert_eq!(owner(path), service, "{path}");
        }
    }
}
