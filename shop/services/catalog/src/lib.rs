//! The catalog service: its messages are in `shop_contracts::catalog`; the service itself comes next.
