//! Projections: rows that are folded from the events of all aggregates of a type.

mod applying;
mod changes;
mod comparison;
mod control;
mod recount;
mod shown;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::Timestamp;

use super::aggregate::Aggregate;
use super::view::View;

pub(crate) use applying::{Applied, Applying, Projecting};
pub use changes::Changes;
pub(crate) use comparison::{Keys, Recount, WrongRow};
pub(crate) use control::{Built, Control, Parts, STORED, Walk};
pub(super) use shown::{decoded, row, rows};

/// Rows that are folded from the events of all aggregates of one type: revenue per day, orders per
/// status.
///
/// [`Service::projects`](crate::Service::projects) registers a projection. It begins with the first
/// stored event, and follows new events within about a second. Each event counts once, whatever
/// crashes, and however many replicas run. [`Reads::row`](crate::Reads::row) and
/// [`Reads::rows`](crate::Reads::rows) return the rows.
///
/// The value itself is what the projection remembers of *one* aggregate; it is stored beside the
/// position up to which the aggregate's events count. Most projections remember nothing and are
/// unit structs. Use a view of the aggregate ([`Aggregate::rows`]) for rows that show one
/// aggregate: they are written in the same unit.
///
/// If a release derives other rows from the same events, increase [`VERSION`](Self::VERSION).
/// The rows are then built beside those of the last version, which readers see until the new ones
/// have caught up (`docs/projections.md`).
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::{Changes, PastEvent, Projection};
/// # #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
/// # struct Order;
/// # #[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
/// # enum OrderEvent { Placed, Paid, Shipped }
/// # impl Aggregate for Order {
/// #     const NAME: &'static str = "order";
/// #     type Id = String;
/// #     type Command = OrderEvent;
/// #     type Event = OrderEvent;
/// #     type Error = ();
/// #     fn decide(&self, event: OrderEvent) -> std::result::Result<Vec<OrderEvent>, ()> {
/// #         Ok(vec![event])
/// #     }
/// #     fn apply(&mut self, _: &OrderEvent) {}
/// # }
///
/// /// The number of orders in a status: a row of the view.
/// #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
/// struct InStatus {
///     orders: u64,
/// }
///
/// impl View for InStatus {
///     const NAME: &'static str = "orders_by_status";
/// }
///
/// /// The status of one order, as far as its events have been counted.
/// #[derive(Default, Serialize, Deserialize)]
/// struct ByStatus(Option<String>);
///
/// impl Projection for ByStatus {
///     type Aggregate = Order;
///     type Row = InStatus;
///     const VERSION: u32 = 1;
///
///     fn project(&mut self, past: &PastEvent<'_, Order>, rows: &mut Changes<InStatus>) {
///         let next = match past.event {
///             OrderEvent::Placed => "placed",
///             OrderEvent::Paid => "paid",
///             OrderEvent::Shipped => "shipped",
///         };
///         if let Some(before) = self.0.replace(next.into()) {
///             rows.update(before, |row| row.orders -= 1);
///         }
///         rows.update(next, |row| row.orders += 1);
///     }
/// }
///
/// async fn place(order: Place, orders: Repo<Order>) -> Result<()> {
///     orders.execute(&order.order, OrderEvent::Placed).await?;
///     Ok(())
/// }
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "orders.place", version = 1, key = order)]
/// # struct Place { order: String }
///
/// let service = Service::new("orders").on(place).projects::<ByStatus>();
/// # #[cfg(feature = "test")]
/// # {
/// # let app = wingbeat::test::TestApp::start(1, App::new().service(service));
/// # for order in ["a", "b"].map(String::from) {
/// #     app.publish(Default::default(), &Place { order });
/// # }
/// # app.until_idle();
/// # app.pass(std::time::Duration::from_secs(2));
/// # let row = app.run(app.reads("orders").row::<InStatus>("placed"));
/// # assert_eq!(row.unwrap(), Some(InStatus { orders: 2 }));
/// # }
/// ```
pub trait Projection: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The aggregate type whose events are folded.
    type Aggregate: Aggregate;
    /// The rows. Their [`View::NAME`] is the name of the projection: only one may write them.
    type Row: View;
    /// The version of [`project`](Self::project), of the columns, and of the form in which the
    /// projection and its rows are stored. Increase it with every change of them.
    const VERSION: u32;
    /// The index columns that [`View::columns`] returns for any row.
    const COLUMNS: &'static [&'static str] = &[];

    /// Adds the changes of rows that an event of an aggregate causes. `self` is what was remembered
    /// of this aggregate before the event.
    ///
    /// The events of an aggregate come in order, those of different aggregates in any order: the
    /// changes of different aggregates must commute, as additions do. It must be pure.
    fn project(&mut self, past: &PastEvent<'_, Self::Aggregate>, rows: &mut Changes<Self::Row>);
}

/// A stored event of an aggregate, for a [`Projection`].
#[non_exhaustive]
pub struct PastEvent<'a, A: Aggregate> {
    /// The id of the aggregate, as it is stored.
    pub id: &'a str,
    /// The event.
    pub event: &'a A::Event,
    /// The position of the event in the history, counted from 1.
    pub sequence: u64,
    /// The time of the event.
    pub at: Timestamp,
}
