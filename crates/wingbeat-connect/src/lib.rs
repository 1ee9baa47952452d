//! Server URLs, TLS and connections for the adapters of Wingbeat.
//!
//! - [`ServerUrl`]: a URL of which every part is used, or refused by its name.
//! - [`TlsFiles`], [`Tls`]: certificates, what is verified, and the configuration of rustls.
//! - [`connect`]: a connection to a host.
//! - [`warn_if_exposed`]: a warning about plain text outside private networks.

#![deny(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "connections to real servers are made on the real clock"
)]

mod url;

mod tls;
mod verifier;

mod connector;

mod exposure;

pub use connector::{BoxedStream, ConnectError, Stream, connect, is_tls_error};
pub use exposure::{Protection, warn_if_exposed};
pub use rustls;
pub use tls::{Identity, Tls, Verify, has_paths, identity, pem, roots};
pub use url::{Host, InvalidUrl, ServerUrl};
pub use wingbeat_core::Error;
pub use wingbeat_core::tls::TlsFiles;
