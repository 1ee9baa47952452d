//! Tests of the Helm chart in `deploy/helm`: Helm renders it offline, and the objects are validated
//! against the schemas of Kubernetes, KEDA and the Prometheus operator. `cargo xtask test install`
//! fetches Helm and the schemas. One test needs `cargo build --release`.

mod kit;
mod network;
mod program;
mod scaling;
mod schemas;
mod secrets;
mod values;
mod workloads;
