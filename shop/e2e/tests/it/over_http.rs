//! The tests of the shop over HTTP, word for word, against services by themselves on RabbitMQ, PostgreSQL and Redis, asked
//! through their gateway. What reaches into the process (`audit`, `corrupt`, `letters`) stays where the shop is one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use shop_e2e::fleet::{Fleet, PASSWORD};
use shop_e2e::process::binary;

#[path = "../../../app/tests/it/real/admin.rs"]
mod admin;
#[path = "../../../app/tests/it/real/asking.rs"]
mod asking;
#[path = "../../../app/tests/it/real/documented.rs"]
mod documented;
#[path = "../../../app/tests/it/real/http.rs"]
mod http;
#[path = "../../../app/tests/it/real/raw.rs"]
mod raw;
#[path = "../../../app/tests/it/real/sessions.rs"]
mod sessions;
#[path = "../../../app/tests/it/real/stream.rs"]
mod stream;

pub(crate) use asking::{SOON, address, order};
pub(crate) use raw::Reply;

/// As the shop of these tests is set elsewhere.
const SETTINGS: [(&str, &str); 3] = [
    ("WINGBEAT_RATE_LIMITS", "on"),
    ("WINGBEAT_SHIPPING_DISPATCH_AFTER", "50ms"),
    ("WINGBEAT_SHIPPING_DELIVER_AFTER", "50ms"),
];

/// A shop of its own for each test.
pub(crate) struct Shop {
    fleet: Fleet,
    _folder: tempfile::TempDir,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::start_lean(folder.path().to_owned(), binary(), &SETTINGS).await;
        Self {
            fleet,
            _folder: folder,
        }
    }

    /// Ends every process and starts it again.
    pub(crate) async fn again(mut self) -> Self {
        for member in self.fleet.members.iter_mut().rev() {
            let status = member.terminate().await;
            assert!(status.success(), "{} ends with {status}", member.service);
        }
        for member in &mut self.fleet.members {
            member.start();
        }
        self.fleet.ready().await;
        self
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let gateway = self.fleet.members.last().unwrap();
        SocketAddr::from(([127, 0, 0, 1], gateway.port))
    }

    fn admin_password(&self) -> String {
        PASSWORD.to_owned()
    }

    /// Whether Redis has the key.
    pub(crate) fn has_key(&self, key: &str) -> Option<bool> {
        let mut socket =
            TcpStream::connect(("127.0.0.1", self.fleet.servers.cache.port())).unwrap();
        socket
            .write_all(format!("EXISTS {key}\r\n").as_bytes())
            .unwrap();
        let mut told = [0; 4];
        socket.read_exact(&mut told).unwrap();
        Some(told == *b":1\r\n")
    }
}
