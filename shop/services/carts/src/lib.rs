//! The carts service: its messages are in `shop_contracts::carts`; the service itself comes next.
