//! TLS settings of connections to other systems; with the feature `https`, also their content.

pub use wingbeat_core::tls::{TlsFiles, is_private_host};
#[cfg(feature = "https")]
pub use wingbeat_tls::{Identity, client_config, identity, roots};
