//! The way in: a saga is pure and has no settings, so what it needs of them travels with its start.

use shop_contracts::shipping::CreateShipment;
use wingbeat::{Result, State};

use crate::Config;
use crate::shipment::BeginShipment;

/// Begins a shipment with the times that are set now.
///
/// # Errors
///
/// Never.
pub async fn create_shipment(
    command: CreateShipment,
    State(config): State<Config>,
) -> Result<BeginShipment> {
    Ok(BeginShipment {
        order_id: command.order_id,
        dispatch_after: config.dispatch_after,
        deliver_after: config.deliver_after,
    })
}
