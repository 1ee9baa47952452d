//! The entry to the saga. A saga is pure and has no settings, so its start carries those it needs.

use shop_contracts::shipping::CreateShipment;
use wingbeat::{Result, State};

use crate::Config;
use crate::shipment::BeginShipment;

/// Starts the saga of a shipment with the durations from the settings.
pub(crate) async fn create_shipment(
    command: CreateShipment,
    State(config): State<Config>,
) -> Result<BeginShipment> {
    Ok(BeginShipment {
        order_id: command.order_id,
        dispatch_after: config.dispatch_after,
        deliver_after: config.deliver_after,
    })
}
