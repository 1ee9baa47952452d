//! The tests of the HTTP API against services behind their gateway, on RabbitMQ, PostgreSQL and
//! Redis.

use std::net::SocketAddr;
use std::pin::Pin;

use shop_e2e::fleet::{Fleet, PASSWORD};
use shop_e2e::http_suite::{Access, Api, Cache, Host, Subject};
use tokio::sync::RwLockReadGuard;

use crate::shared::{Alone, PLAIN};

shop_e2e::http_suite!(crate::over_http::subject);

/// The fleet for as long as a test has it.
enum Held {
    Shared(RwLockReadGuard<'static, Fleet>),
    Exclusive(Alone),
}

async fn subject(access: Access) -> Subject {
    let held = match access {
        Access::Shared => Held::Shared(PLAIN.beside_others().await),
        Access::Exclusive => Held::Exclusive(PLAIN.alone().await),
    };
    let fleet = match &held {
        Held::Shared(fleet) => &**fleet,
        Held::Exclusive(fleet) => &**fleet,
    };
    let api = Api {
        address: address(fleet),
        admin_password: PASSWORD.into(),
        cache: Some(Cache {
            port: fleet.servers.cache.port(),
            database: 0,
        }),
    };
    let host = Box::new(held);
    Subject { api, host }
}

/// The gateway's address.
fn address(fleet: &Fleet) -> SocketAddr {
    let gateway = fleet.members.last().unwrap();
    SocketAddr::from(([127, 0, 0, 1], gateway.port))
}

impl Host for Held {
    fn restart(&mut self) -> Pin<Box<dyn Future<Output = SocketAddr> + '_>> {
        let Self::Exclusive(fleet) = self else {
            panic!("a test that restarts the shop needs it for itself");
        };
        Box::pin(async {
            for member in fleet.members.iter_mut().rev() {
                let status = member.terminate().await;
                assert!(status.success(), "{member} ended with {status}");
            }
            for member in &mut fleet.members {
                member.start();
            }
            fleet.ready().await;
            address(fleet)
        })
    }
}
