//! Which service answers which path.

/// Path prefixes and their services; the longest that fits decides.
const OWNERS: [(&str, &str); 15] = [
    ("/api/v1/users", "identity"),
    ("/api/v1/sessions", "identity"),
    ("/api/v1/me", "identity"),
    ("/dev/shoppers", "identity"),
    ("/api/v1/products", "catalog"),
    ("/api/v1/admin/products", "catalog"),
    ("/api/v1/cart", "carts"),
    ("/api/v1/promotions", "promotions"),
    ("/api/v1/orders", "orders"),
    ("/api/v1/stream", "orders"),
    ("/api/v1/admin/stock", "inventory"),
    ("/api/v1/admin/flash-sales", "inventory"),
    ("/api/v1/flash-sales", "inventory"),
    ("/api/v1/flash-claims", "inventory"),
    ("/dev/mailbox", "notifications"),
];

/// The service that answers the path; `None` where it is the gateway itself, or nobody.
#[must_use]
pub fn owner(path: &str) -> Option<&'static str> {
    if path.starts_with("/api/v1/orders/") && path.ends_with("/timeline") {
        return None; // Told by all services together.
    }
    let fits = |(prefix, _): &&(&str, &str)| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let fitting = OWNERS.iter().filter(fits);
    let longest = fitting.max_by_key(|(prefix, _)| prefix.len());
    longest.map(|(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn a_path_belongs_to_one_service_or_to_the_gateway() {
        for (path, service) in [
            ("/api/v1/users", Some("identity")),
            ("/api/v1/me/password", Some("identity")),
            ("/api/v1/mean", None),
            ("/api/v1/orders/7/cancel", Some("orders")),
            ("/api/v1/orders/7/timeline", None),
            ("/api/v1/admin/products/a", Some("catalog")),
            ("/api/v1/admin/subscriptions", None),
            // Each replica is told.
            ("/api/v1/admin/subscriptions/payments/authorize/pause", None),
            ("/api/v1/admin/audit", None),
            ("/internal/story/7", None),
            ("/", None),
        ] {
            assert_eq!(owner(path), service, "{path}");
        }
    }
}
