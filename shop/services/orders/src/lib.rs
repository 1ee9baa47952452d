//! Orders: the event-sourced order, the checkout saga, and the customer's view of both.
//!
//! - [`domain`]: an order and the changes it allows; pure. [`checkout`]: the saga. [`messages`]:
//!   its private messages.
//! - [`placing`]: `POST /orders`. [`api`]: the other routes. [`views`]: the order list.
//! - `handlers`, [`copies`]: the copies of the catalogue, of carts, of promos and of flash sales.
//! - [`feed`], [`stream`](mod@stream), [`followed`], [`open_streams`]: the live changes of a user's
//!   orders.

pub mod api;
pub mod checkout;
pub mod config;
pub mod copies;
pub mod domain;
pub mod feed;
pub mod followed;
mod handlers;
pub mod messages;
pub mod open_streams;
pub mod placing;
pub mod stream;
pub mod views;

use shop_contracts::inventory::{
    CommitFlashClaim, CommitStock, ExtendReservation, ReleaseStock, ReserveStock, RestockOrder,
    ReturnFlashClaim, UseFlashClaim,
};
use shop_contracts::orders::{
    OrderCancelled, OrderCompleted, OrderPaid, OrderPaymentDelayed, OrderPlaced, OrderRejected,
    OrderShipped,
};
use shop_contracts::payments::{AuthorizePayment, CapturePayment, RefundPayment, VoidPayment};
use shop_contracts::promotions::{RedeemPromo, ReleasePromo, ReservePromo};
use shop_contracts::shipping::{CancelShipment, CreateShipment};
use wingbeat::http::session::Sessions;
use wingbeat::{Parts, Service, Stored};

pub use config::Config;
use followed::Followed;
use open_streams::OpenStreams;

/// The state that handlers and routes extract.
#[derive(Clone, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The sessions, which end the streams of users who sign out.
    pub sessions: Sessions,
    /// The feeds with open streams in this process.
    pub followed: Followed,
    /// The open streams of each user in this process.
    pub streams: OpenStreams,
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config, sessions: Sessions) -> Service<State> {
    Service::new("orders")
        .with_state(State {
            config: config.clone(),
            sessions,
            followed: Followed::default(),
            streams: OpenStreams::default(),
        })
        .promise(checkout::PAID)
        .saga::<checkout::Checkout>()
        .on(handlers::product_listed)
        .on(handlers::product_retired)
        .on(handlers::cart_changed)
        .on(handlers::promo_issued)
        .on(handlers::flash_sale_created)
        .on(handlers::flash_claim_confirmed)
        .on(handlers::flash_claim_expired)
        .poll(
            "forget_flash_sales",
            config.sales_forget,
            handlers::forget_sales,
        )
        .on(handlers::user_erased)
        .on(handlers::scrub_addresses)
        .routes(api::routes())
        .stores(Stored::saga::<checkout::Checkout>())
        .stores(Stored::aggregate::<domain::Order>())
        .stores(Stored::view::<views::OrderRow>())
        .stores(Stored::entity::<feed::Feed>())
        .stores(Stored::view::<feed::FeedRow>())
        .stores(Stored::entity::<copies::ProductCopy>())
        .stores(Stored::entity::<copies::CartCopy>())
        .stores(Stored::entity::<copies::PromoCopy>())
        .stores(Stored::entity::<copies::SaleCopy>())
        .stores(Stored::view::<copies::SaleCopy>())
        .stores(Stored::entity::<copies::ClaimCopy>())
        .stores(Stored::entity::<placing::StoredAddress>())
        .publishes::<OrderPlaced>()
        .publishes::<OrderPaymentDelayed>()
        .publishes::<OrderPaid>()
        .publishes::<OrderShipped>()
        .publishes::<OrderCompleted>()
        .publishes::<OrderRejected>()
        .publishes::<OrderCancelled>()
        .sends::<ReservePromo>()
        .sends::<RedeemPromo>()
        .sends::<ReleasePromo>()
        .sends::<ReserveStock>()
        .sends::<ExtendReservation>()
        .sends::<CommitStock>()
        .sends::<ReleaseStock>()
        .sends::<RestockOrder>()
        .sends::<AuthorizePayment>()
        .sends::<CapturePayment>()
        .sends::<VoidPayment>()
        .sends::<RefundPayment>()
        .sends::<CreateShipment>()
        .sends::<CancelShipment>()
        .sends::<UseFlashClaim>()
        .sends::<CommitFlashClaim>()
        .sends::<ReturnFlashClaim>()
}
