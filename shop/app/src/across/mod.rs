//! Routes that combine several services: timelines, lists, the stand-ins, and the gateway's
//! forwarding.

pub mod admin;
pub mod cross_schema;
pub mod dev;
pub mod docs;
pub mod fan_out;
pub(crate) mod forward;
pub(crate) mod peers;
pub mod timeline;
