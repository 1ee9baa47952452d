//! A shop that is open in this process.

use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use shop::{Open, start};
use shop_e2e::http_suite::{Access, Api, Host, Subject};
use shop_e2e::wait::until;
use shop_system::Settings;

use super::place::{Place, Shape};

/// An open shop. It dereferences to its API.
pub(crate) struct Shop {
    pub(crate) open: Open,
    pub(crate) place: Place,
    api: Api,
}

impl Deref for Shop {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Free ports, quick parcels, and no payment that counts as delayed on a slow machine.
fn settings(place: &Place) -> Settings {
    let any_port = || "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings::default();
    settings.listen = any_port();
    settings.ops_listen = any_port();
    settings.data.clone_from(&place.data);
    settings.servers.clone_from(&place.servers);
    settings.trust.clone_from(&place.trust);
    settings.own.dev = place.servers.is_some();
    settings.own.shipping_dispatch_after = Duration::from_millis(50);
    settings.own.shipping_deliver_after = Duration::from_millis(50);
    settings.own.checkout_delayed_after = Duration::from_secs(600);
    settings
}

impl Shop {
    pub(crate) async fn open(shape: Shape) -> Self {
        Self::open_in(tokio::task::block_in_place(|| Place::new(shape))).await
    }

    /// Opens a shop whose services sign their commands.
    pub(crate) async fn signed(shape: Shape) -> Self {
        Self::open_in(tokio::task::block_in_place(|| Place::new(shape)).signed()).await
    }

    async fn open_in(place: Place) -> Self {
        let settings = settings(&place);
        Self::start(place, &settings).await
    }

    /// Closes the shop, and opens it with changed settings.
    pub(crate) async fn again(self, change: impl FnOnce(&mut Settings)) -> Self {
        self.open.close().await;
        let mut settings = settings(&self.place);
        change(&mut settings);
        Self::start(self.place, &settings).await
    }

    async fn start(place: Place, settings: &Settings) -> Self {
        // The last tasks of a closed shop release the data directory a moment later.
        let open = until("the shop opens", async || start(settings).await).await;
        let password = std::fs::read_to_string(place.data.join("admin-password")).unwrap();
        let api = Api {
            address: open.address,
            admin_password: password.trim().to_owned(),
            cache: place.cache,
        };
        Self { open, place, api }
    }

    fn into_subject(self) -> Subject {
        let host = InProcess {
            open: Some(self.open),
            place: self.place,
        };
        Subject {
            api: self.api,
            host: Box::new(host),
        }
    }
}

/// The shop that the HTTP suite gets.
pub(crate) async fn embedded(_: Access) -> Subject {
    Shop::open(Shape::Embedded).await.into_subject()
}

/// The shop that the HTTP suite gets.
pub(crate) async fn on_servers(_: Access) -> Subject {
    Shop::open(Shape::OnServers).await.into_subject()
}

struct InProcess {
    open: Option<Open>,
    place: Place,
}

impl Host for InProcess {
    fn restart(&mut self) -> Pin<Box<dyn Future<Output = SocketAddr> + '_>> {
        Box::pin(async {
            if let Some(open) = self.open.take() {
                open.close().await;
            }
            let settings = settings(&self.place);
            // The last tasks of a closed shop release the data directory a moment later.
            let open = until("the shop opens again", async || start(&settings).await).await;
            self.open.insert(open).address
        })
    }
}
