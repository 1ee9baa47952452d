//! Routes that combine several services: timelines, the administrator's lists, the stand-ins, and
//! the gateway's forwarding.

pub mod admin;
pub mod dev;
pub mod docs;
pub(crate) mod forward;
pub mod timeline;
