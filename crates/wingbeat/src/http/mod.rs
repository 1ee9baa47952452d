//! The HTTP interface of services: writes run in a unit of work, errors are problems (RFC 9457).

mod audit;
mod command;
mod connections;
mod cursor;
mod describe;
mod endpoint;
mod host;
mod idempotency;
pub mod measure;
mod objects;
mod peers;
pub mod plain;
mod problem;
mod reply;
mod request;
mod routes;
mod server;
pub mod session;
mod traced;
mod unread;
mod wire;

pub use command::{command, delete, post, put};
pub use connections::Limits;
pub use cursor::Cursor;
pub use describe::{DescribeArguments, DescribeRequest};
pub use endpoint::{Endpoint, InUnit, Plain};
pub use host::{is_of_foreign_page, names_this_machine};
pub use peers::{Peers, peers_only};
pub use plain::get;
pub use problem::{FieldError, Problem, problems};
pub use reply::{IntoReply, Reply, ReplyBody, accepted, created, no_content, ok};
pub use request::{
    Admin, Caller, Context, IdempotencyKey, Json, Path, Query, RequestInfo, read_body,
};
pub use routes::Routes;
pub use server::{BODY_MAX, serve, serve_within};
pub use traced::traced;
