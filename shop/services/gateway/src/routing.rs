//! The choice of the service that answers a request.

/// Returns the name of the service that answers a path; `None` if the gateway answers it.
#[must_use]
pub fn owner(path: &str) -> Option<&'static str> {
    // The gateway collects a timeline from all services.
    if path.starts_with("/api/v1/orders/") && path.ends_with("/timeline") {
        return None;
    }
    shop_registry::owner(path)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn requests_that_concern_all_services_stay_at_the_gateway() {
        for (path, service) in [
            ("/api/v1/orders/7", Some("orders")),
            ("/api/v1/orders/7/timeline", None),
            // The gateway pauses a subscription on each replica.
            ("/api/v1/admin/subscriptions/payments/authorize/pause", None),
            ("/api/v1/admin/audit", None),
            ("/internal/story/7", None),
            ("/", None),
        ] {
            assert_eq!(owner(path), service, "{path}");
        }
    }
}
