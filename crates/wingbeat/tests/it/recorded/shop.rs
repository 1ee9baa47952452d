//! A small shop to record: stock, a saga with a timer, an outside call, an aggregate, a batch.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Uuid;
use wingbeat::call::Http;
use wingbeat::outgoing::{Request, Response};
use wingbeat::prelude::*;

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.place", version = 1, key = order)]
pub(super) struct Place {
    pub(super) order: u32,
    pub(super) item: String,
    pub(super) count: u32,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "stock.reserve", version = 1, key = item)]
struct Reserve {
    order: u32,
    item: String,
    count: u32,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "stock.reserved", version = 1, key = order)]
struct Reserved {
    order: u32,
    left: u32,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "stock.refused", version = 1, key = order)]
struct Refused {
    order: u32,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.reminder", version = 1, key = order)]
struct Reminder {
    order: u32,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "orders.order_pickup", target = "carrier", key = order, outcome = Pickup)]
struct OrderPickup {
    order: u32,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.pickup", version = 1, key = order)]
struct Pickup {
    order: u32,
    parcel: Option<String>,
}

impl GaveUp<OrderPickup> for Pickup {
    fn gave_up(call: &OrderPickup, _: &Error) -> Self {
        let order = call.order;
        Self {
            order,
            parcel: None,
        }
    }
}

/// The free units of an item: an aggregate, so snapshots and histories are recorded.
#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Shelf {
    taken: u32,
}

impl Aggregate for Shelf {
    const NAME: &'static str = "shelf";
    type Id = String;
    type Command = u32;
    type Event = u32;
    type Error = ();

    fn decide(&self, count: u32) -> std::result::Result<Vec<u32>, ()> {
        if self.taken + count > 100 {
            return Err(());
        }
        Ok(vec![count])
    }

    fn apply(&mut self, count: &u32) {
        self.taken += count;
    }
}

/// The same aggregate in a release with another state, which folds the history again.
#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct CountingShelf {
    taken: u32,
    orders: u32,
}

impl Aggregate for CountingShelf {
    const NAME: &'static str = "shelf";
    type Id = String;
    type Command = u32;
    type Event = u32;
    type Error = ();

    fn decide(&self, count: u32) -> std::result::Result<Vec<u32>, ()> {
        if self.taken + count > 100 {
            return Err(());
        }
        Ok(vec![count])
    }

    fn apply(&mut self, count: &u32) {
        self.taken += count;
        self.orders += 1;
    }
}

async fn reserve(it: Reserve, shelves: Repo<Shelf>) -> Result<Effects> {
    let mut effects = Effects::new();
    match shelves.execute(&it.item, it.count).await? {
        Ok(shelf) => effects.publish(&Reserved {
            order: it.order,
            left: 100 - shelf.taken,
        }),
        Err(()) => effects.publish(&Refused { order: it.order }),
    };
    Ok(effects)
}

/// The bug: it reserves one unit, whatever was ordered.
async fn reserve_one(it: Reserve, shelves: Repo<Shelf>) -> Result<Effects> {
    reserve(Reserve { count: 1, ..it }, shelves).await
}

async fn reserve_counting(it: Reserve, shelves: Repo<CountingShelf>) -> Result<Effects> {
    let mut effects = Effects::new();
    match shelves.execute(&it.item, it.count).await? {
        Ok(shelf) => effects.publish(&Reserved {
            order: it.order,
            left: 100 - shelf.taken,
        }),
        Err(()) => effects.publish(&Refused { order: it.order }),
    };
    Ok(effects)
}

/// Another bug: large orders cannot be handled at all.
async fn reserve_or_fail(it: Reserve, shelves: Repo<Shelf>) -> Result<Effects> {
    let taken = shelves.get(&it.item).await?.unwrap_or_default().taken;
    if it.count > 50.min(100 - taken) {
        return Err(Error::reject(
            "too_many",
            format!("{} is too many", it.count),
        ));
    }
    reserve(it, shelves).await
}

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    id: Uuid,
    order: u32,
    before: Option<Uuid>,
}

impl Entity for Note {
    const NAME: &'static str = "note";
    type Id = Uuid;
}

#[derive(Clone, Serialize, Deserialize)]
struct LastNote(Uuid);

impl Entity for LastNote {
    const NAME: &'static str = "last_note";
    type Id = String;
}

/// Makes new ids, and refers to them in two records and a row.
async fn note(
    event: Reserved,
    scope: Scope,
    notes: Table<Note>,
    last: Table<LastNote>,
    reads: Reads,
) -> Result<()> {
    let id = scope.new_id();
    let before = reads.entity::<LastNote>(&"last".into()).await?;
    let before = before.map(|LastNote(id)| id);
    let order = event.order;
    notes.put(&id, Note { id, order, before })?;
    last.put(&"last".into(), LastNote(id))
}

/// Counts in batches.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen(u32);

impl Entity for Seen {
    const NAME: &'static str = "seen";
    type Id = String;
}

async fn count(batch: Batch<Reserved>, seen: Table<Seen>) -> Result<()> {
    let more = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let Seen(before) = seen.get(&"all".into()).await?.unwrap_or_default();
    seen.put(&"all".into(), Seen(before + more))
}

async fn order_pickup(call: OrderPickup, key: OperationKey, http: Http) -> Result<Pickup> {
    let response = http.client.send(Request {
        method: "POST",
        url: format!("http://carrier.example/{}", call.order),
        headers: vec![("idempotency-key".into(), key.0)],
        body: Default::default(),
        timeout: http.policy.timeout,
    });
    let response = response.await?;
    if response.status != 201 {
        return Err(Error::retry("carrier_failed", "the carrier failed"));
    }
    Ok(Pickup {
        order: call.order,
        parcel: Some(String::from_utf8_lossy(&response.body).into_owned()),
    })
}

/// Answers with the parcel's number; the first request of an order with an odd number fails.
pub(super) fn carrier() -> impl Fn(Request) -> Result<Response> + Send + Sync + 'static {
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    move |request| {
        let order = request
            .url
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let is_odd = order.parse::<u32>().is_ok_and(|it| it % 2 == 1);
        let is_first = seen.lock().expect("not poisoned").insert(order.clone());
        let status = if is_odd && is_first { 503 } else { 201 };
        Ok(Response {
            status,
            body: format!("parcel {order}").into_bytes().into(),
            ..Response::default()
        })
    }
}

#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Ordering {
    item: String,
    parcel: Option<String>,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Place(Place),
    Reserved(Reserved),
    Refused(Refused),
    Pickup(Pickup),
    #[saga(timer)]
    Reminder(Reminder),
}

impl Saga for Ordering {
    const NAME: &'static str = "ordering";
    type Input = Input;

    fn step(&mut self, input: Input, fx: &mut SagaEffects<Input>) {
        match input {
            Input::Place(Place { order, item, count }) => {
                self.item.clone_from(&item);
                fx.send(&Reserve { order, item, count });
                fx.after(Duration::from_secs(600), &Reminder { order });
            }
            Input::Reserved(Reserved { order, .. }) => {
                fx.call(&OrderPickup { order });
            }
            Input::Pickup(Pickup { parcel, .. }) => {
                self.parcel = parcel;
            }
            Input::Refused(_) | Input::Reminder(_) => {
                fx.end();
            }
        }
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

/// The releases of the small shop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    /// As it should be.
    Good,
    /// Reserves one unit, whatever was ordered.
    ReservesOne,
    /// Cannot handle large orders.
    Fails,
    /// As it should be, with another state of the aggregate.
    OtherState,
}

pub(super) fn shop(release: Release) -> App {
    let stock = Service::new("stock");
    let stock = match release {
        Release::Good => stock.on(reserve),
        Release::ReservesOne => stock.on(reserve_one),
        Release::Fails => stock.on(reserve_or_fail),
        Release::OtherState => stock.on(reserve_counting),
    };
    let orders = Service::new("orders")
        .saga::<Ordering>()
        .target("carrier", TargetPolicy::default())
        .calls(order_pickup);
    let notes = Service::new("notes")
        .on(note)
        .on(count.named("count").within(Duration::from_millis(50)));
    App::new().service(stock).service(orders).service(notes)
}
