//! Checks that a reservation that was refused for want of stock is recorded, so that a repeated
//! command gets the same answer.

use std::collections::BTreeMap;
use std::time::Duration;

use shop_contracts::inventory::{StockLevelChanged, StockReserved};
use shop_contracts::{OrderId, RejectReason};
use shop_inventory::domain::Reservation;
use shop_orders::domain::Order;
use wingbeat::ports::Envelope;
use wingbeat::test::{Violation, World};
use wingbeat::{Message as _, Timestamp};

const NAME: &str = "a refused reservation is recorded";

/// The command by which inventory releases a reservation that has expired.
const EXPIRE: &str = "inventory.expire_reservation.v1";

/// Returns the reservations that were refused and are not recorded. `hold_for` is the time after
/// which a reservation expires.
pub(super) fn check(
    world: &World,
    orders: &BTreeMap<OrderId, Order>,
    hold_for: Duration,
) -> Vec<Violation> {
    let refused = orders.iter().filter(|(_, order)| {
        let reason = order.last.as_ref().and_then(|last| last.reason);
        reason == Some(RejectReason::OutOfStock)
    });
    let reservations = world.entities::<Reservation>("inventory");
    let reservations: BTreeMap<_, _> = reservations.into_iter().collect();
    let refused = refused.map(|(id, _)| id.to_string());
    let refused = refused.map(|id| (reservations.get(&id), id));
    let doubtful: Vec<_> = refused
        .filter(|(known, _)| !is_recorded(*known, None))
        .collect();
    if doubtful.is_empty() {
        return Vec::new();
    }
    let log = world.model().store.log();
    let messages: Vec<_> = log.iter().flat_map(|unit| &unit.messages).collect();
    let wrong = doubtful.into_iter().filter_map(|(known, id)| {
        let expiry = Expiry::of(&messages, &id, hold_for);
        let detail = format!("{known:?}, {expiry:?}");
        (!is_recorded(known, expiry)).then(|| Violation::new(NAME, id, detail))
    });
    wrong.collect()
}

/// The end of a reservation that nobody committed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expiry {
    /// The time from which it could be released.
    due: Timestamp,
    /// The time of the release, by the clock of the process that released it.
    released: Timestamp,
}

impl Expiry {
    /// Finds the expiry of an order's reservation among the messages of all committed units.
    ///
    /// Nothing has extended the reservation: the checkout of an order that was refused has never
    /// learned of it.
    fn of(messages: &[&Envelope], order: &str, hold_for: Duration) -> Option<Self> {
        let about = |kind: &str, id: &str| {
            let all = messages.iter().copied();
            let found = all.filter(|it| it.kind == *kind && it.key == *id);
            found.collect::<Vec<_>>()
        };
        // Later ones repeat the reply.
        let reserved = *about(StockReserved::NAME, order).first()?;
        let commands = about(EXPIRE, order);
        let released = messages.iter().find(|message| {
            let is_level = message.kind == *StockLevelChanged::NAME;
            let mut causes = commands.iter();
            is_level && causes.any(|command| message.causation == Some(command.id))
        })?;
        Some(Self {
            due: reserved.time + hold_for,
            released: released.time,
        })
    }
}

/// Returns whether a reservation that was refused is recorded. If the command arrives again after
/// the reservation has expired, it is refused, too; then the reservation is released.
fn is_recorded(known: Option<&Reservation>, expiry: Option<Expiry>) -> bool {
    match known {
        Some(Reservation::Rejected { .. }) => true,
        Some(Reservation::Released) => expiry.is_some_and(|it| it.due <= it.released),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use shop_contracts::Sku;
    use wingbeat::ports::published_by;
    use wingbeat::test::Simulation;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000) + Duration::from_secs(seconds)
    }

    fn expiry(due: u64, released: u64) -> Option<Expiry> {
        Some(Expiry {
            due: at(due),
            released: at(released),
        })
    }

    #[test]
    fn a_reservation_that_was_refused_is_released_only_once_it_has_expired() {
        let sku: Sku = "TEA-1".parse().unwrap();
        let rejected = Reservation::Rejected { sku };
        assert!(is_recorded(Some(&rejected), None));
        assert!(is_recorded(Some(&Reservation::Released), expiry(5, 5)));
        assert!(!is_recorded(Some(&Reservation::Released), expiry(5, 4)));
        assert!(!is_recorded(Some(&Reservation::Released), None));
        assert!(!is_recorded(Some(&Reservation::Tombstone), None));
        assert!(!is_recorded(None, None));
    }

    /// The messages of a reservation that expires.
    fn story(order_id: OrderId) -> Vec<Envelope> {
        let simulation = Simulation::new(1);
        let runtime = simulation.runtime();
        let reserved = published_by("inventory", &StockReserved { order_id }, &*runtime);
        let level = StockLevelChanged {
            sku: "TEA-1".parse().unwrap(),
            available: 1,
            version: 2,
        };
        let level = published_by("inventory", &level, &*runtime);
        let again = Envelope {
            time: at(4),
            ..reserved.clone()
        };
        let expire = Envelope {
            id: simulation_id(&simulation),
            kind: EXPIRE.into(),
            ..reserved.clone()
        };
        let released = Envelope {
            time: at(6),
            causation: Some(expire.id),
            ..level.clone()
        };
        let reserved = Envelope {
            time: at(0),
            ..reserved
        };
        vec![level, reserved, again, expire, released]
    }

    fn simulation_id(simulation: &Simulation) -> wingbeat::ports::MessageId {
        use wingbeat::RuntimeExt as _;
        simulation.id().into()
    }

    #[test]
    fn an_expiry_is_found_among_the_messages_of_inventory() {
        let order = OrderId::default();
        let messages = story(order);
        let found = |messages: &[Envelope]| {
            let messages: Vec<_> = messages.iter().collect();
            Expiry::of(&messages, &order.to_string(), 5 * SECOND)
        };
        assert_eq!(found(&messages), expiry(5, 6));
        assert_eq!(found(&messages[..4]), None, "it was not released");
        assert_eq!(found(&messages[3..]), None, "it was not reserved");
    }
}
