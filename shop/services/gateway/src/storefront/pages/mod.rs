//! The pages, one module each: call the API and fill the template.

pub(super) mod account;
pub(super) mod cart;
pub(super) mod order;
pub(super) mod orders;
pub(super) mod products;
