//! Installs missing programs and packages that the steps need.
//!
//! - [`programs`]: programs of Debian, such as servers and a browser.
//! - [`packages`]: packages of Node and Python, in the target folder.
//! - [`deny`]: cargo-deny, which checks the dependencies.

pub(crate) mod deny;
pub(crate) mod packages;
pub(crate) mod programs;
