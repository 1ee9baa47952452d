//! The identity service: its messages are in `shop_contracts::identity`; the service itself comes next.
