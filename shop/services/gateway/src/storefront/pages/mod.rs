//! One module a page: ask the API, fill the template.

pub(super) mod account;
pub(super) mod cart;
pub(super) mod order;
pub(super) mod orders;
pub(super) mod products;
