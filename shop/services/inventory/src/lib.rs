//! Inventory: the stock, the reservations of orders, and a ledger of every change.
//!
//! - [`domain`]: stock and reservations; pure.
//! - `handlers`: load, decide, record. `shelves`: the stock and its ledger, which change in one
//!   unit.
//! - `flash`: flash sales. `prices`: the copies of the catalogue's prices.
//! - [`views`]: the ledger, and the held reservations by expiry.
//! - [`api`]: the admin's routes. [`audit`]: figures for the invariants.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
mod flash;
pub mod flash_audit;
mod handlers;
pub mod prices;
#[cfg(feature = "sabotage")]
mod sabotage;
mod shelves;
pub mod views;

pub use config::Config;
pub use flash::claiming::InFlight;
pub use flash::open_sales::OpenSales;
use shop_contracts::inventory::FlashSaleCreated;
use wingbeat::{Parts, Service, Stored};

/// The state that handlers extract.
#[derive(Clone, Debug, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The flash sales that this process serves.
    pub sales: OpenSales,
    /// The claims that this process is deciding.
    pub in_flight: InFlight,
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    #[cfg(feature = "sabotage")]
    use sabotage as handlers;

    #[cfg(not(feature = "sabotage"))]
    use flash::draining;
    #[cfg(feature = "sabotage")]
    use sabotage as draining;

    Service::new("inventory")
        .with_state(State {
            config: config.clone(),
            sales: OpenSales::default(),
            in_flight: InFlight::default(),
        })
        .on(handlers::reserve_stock)
        .on(handlers::release_stock)
        .on(handlers::commit_stock)
        .on(handlers::restock_order)
        .on(handlers::extend_reservation)
        .on(handlers::adjust_stock)
        .on(handlers::expire_reservation)
        .poll(
            "expire_reservations",
            config.expiry_scan,
            handlers::find_expired,
        )
        .on(prices::product_listed)
        .on(flash::orders::use_flash_claim)
        .on(flash::orders::commit_flash_claim)
        .on(flash::orders::return_flash_claim)
        .on(flash::tending::expire_flash_claim)
        .on(flash::tending::close_flash_sale)
        .poll("drain_claims", config.claims_drain, draining::drain_claims)
        .poll(
            "tend_flash_sales",
            config.sales_scan,
            flash::tending::tend_sales,
        )
        .poll(
            "forget_flash_sales",
            config.sales_forget,
            flash::forgetting::forget_sales,
        )
        .routes(api::routes())
        .stores(Stored::entity::<domain::Stock>())
        .stores(Stored::entity::<domain::Reservation>())
        .stores(Stored::view::<views::HeldRow>())
        .stores(Stored::view::<views::LedgerRow>())
        .stores(Stored::entity::<prices::PriceCopy>())
        .stores(Stored::entity::<domain::FlashSale>())
        .stores(Stored::view::<domain::SaleRow>())
        .stores(Stored::entity::<domain::FlashClaim>())
        .stores(Stored::view::<domain::HeldClaimRow>())
        .stores(Stored::entity::<domain::FlashHolder>())
        .stores(Stored::view::<domain::FlashHolder>())
        .publishes::<FlashSaleCreated>()
}
