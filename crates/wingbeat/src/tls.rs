//! TLS settings of connections to other systems; with the feature `https`, also their content.

#[cfg(feature = "https")]
pub use wingbeat_connect::{
    Host, Identity, InvalidUrl, Protection, ServerUrl, has_paths, identity, pem, roots,
    warn_if_exposed,
};
pub use wingbeat_core::tls::TlsFiles;
