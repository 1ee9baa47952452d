//! Stock, reservations, flash sales and the changes they allow. Pure.

mod flash_claim;
mod flash_sale;
mod reservation;
mod stock;

pub use flash_claim::{CLAIMS_KEPT, ClaimStatus, FlashClaim, FlashHolder, HeldClaimRow, Share};
pub use flash_sale::{FlashSale, SALES_KEPT, SaleRow, SaleTerms};
pub use reservation::{Change, Reservation, Step, merged};
pub use stock::{BelowReserved, Stock};
