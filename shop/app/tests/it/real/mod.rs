//! The real shop in this process, with real sockets and a data directory of its own, in two modes:
//! on the data directory alone, and on RabbitMQ, PostgreSQL and Redis.
//!
//! The tests of the HTTP API (`shop_e2e::http_suite`) run in both modes here, and a third time
//! against services behind their gateway in `shop/e2e/tests/it/over_http.rs`. The tests of this
//! module look into the process as well.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test of the real thing runs on the real clock, and ends where something is missing"
)]

mod alike;
mod audit;
mod corrupt;
mod erasure;
mod forged;
mod in_process;
mod internal;
mod letters;
mod overload;
mod place;

use in_process::Shop;
use place::Shape;

/// Declares each test once in every mode.
macro_rules! in_both_shapes {
    ($($test:ident),* $(,)?) => {
        mod embedded {
            use crate::real::{Shape, Shop};

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let shop = Shop::open(Shape::Embedded).await;
                    super::$test(shop).await;
                }
            )*
        }

        mod on_servers {
            use crate::real::{Shape, Shop};

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let shop = Shop::open(Shape::OnServers).await;
                    super::$test(shop).await;
                }
            )*
        }
    };
}
use in_both_shapes;

/// The HTTP API of the shop on its data directory.
mod embedded {
    shop_e2e::http_suite!(crate::real::in_process::embedded);
}

/// The HTTP API of the shop on servers.
mod on_servers {
    shop_e2e::http_suite!(crate::real::in_process::on_servers);
}
