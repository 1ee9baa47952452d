//! The stored types of a service, with their schemas.

use wingbeat_core::{HasSchema, SchemaOf};

use crate::describe::{StoredKind, StoredName, StoredType};
use crate::state::snapshot_shape;
use crate::{Aggregate, Call, Entity, Saga, View};

/// A stored type with its JSON Schema, for [`Service::stores`](crate::Service::stores).
///
/// The type derives [`JsonSchema`](macro@crate::JsonSchema). [`contracts`](crate::contracts)
/// compares the schema with that of the last release.
///
/// ```
/// use wingbeat::prelude::*;
/// use wingbeat::Stored;
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// impl Entity for Cart {
///     const NAME: &'static str = "cart";
///     type Id = u64;
/// }
///
/// let carts = Service::new("carts").stores(Stored::entity::<Cart>());
/// # drop(carts);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Stored(pub(crate) Vec<StoredType>);

impl Stored {
    /// The records of an entity.
    pub fn entity<E: Entity + HasSchema>() -> Self {
        Self::one::<E>(StoredKind::Entity, E::NAME)
    }

    /// The events of an aggregate, and its snapshots.
    pub fn aggregate<A>() -> Self
    where
        A: Aggregate<Event: HasSchema> + HasSchema,
    {
        let named = |kind| StoredName::new(kind, A::NAME);
        let (events, snapshot) = (named(StoredKind::Events), named(StoredKind::Snapshot));
        Self(vec![
            StoredType::new(events, SchemaOf::of::<A::Event>(), Some(forms::<A>)),
            StoredType::new(snapshot, SchemaOf::of::<A>(), Some(snapshot_shape::<A>)),
        ])
    }

    /// The rows of a view.
    pub fn view<V: View + HasSchema>() -> Self {
        Self::one::<V>(StoredKind::View, V::NAME)
    }

    /// The states of a saga. [`Service::saga`](crate::Service::saga) describes its timers.
    pub fn saga<G: Saga + HasSchema>() -> Self {
        Self::one::<G>(StoredKind::Saga, G::NAME)
    }

    /// The calls to an outside system that wait for their turn.
    pub fn call<C: Call + HasSchema>() -> Self {
        Self::one::<C>(StoredKind::Call, C::NAME)
    }

    fn one<T: HasSchema>(kind: StoredKind, name: &'static str) -> Self {
        let of = StoredName::new(kind, name);
        Self(vec![StoredType::new(of, SchemaOf::of::<T>(), None)])
    }
}

fn forms<A: Aggregate>() -> u32 {
    u32::try_from(A::upcasts().forms()).unwrap_or(u32::MAX)
}
