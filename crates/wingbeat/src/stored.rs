//! The stored types of a service, with their schemas.

use std::fmt;

use wingbeat_core::{HasSchema, SchemaOf};

use crate::describe::{StoredKind, StoredName, StoredType};
use crate::state::{CheckedView, Derived, snapshot_shape};
use crate::{Aggregate, Call, Entity, Repo, Saga, Table, View};

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
#[derive(Clone)]
#[must_use]
pub struct Stored {
    pub(crate) types: Vec<StoredType>,
    /// The table, if its records can show rows.
    pub(crate) table: Option<Derived>,
    pub(crate) view: Option<CheckedView>,
}

impl Stored {
    /// The records of an entity.
    pub fn entity<E: Entity + HasSchema>() -> Self {
        Self {
            table: Some(Table::<E>::derived()),
            ..Self::one::<E>(StoredKind::Entity, E::NAME)
        }
    }

    /// The events of an aggregate, and its snapshots.
    pub fn aggregate<A>() -> Self
    where
        A: Aggregate<Event: HasSchema> + HasSchema,
    {
        let named = |kind| StoredName::new(kind, A::NAME);
        let (events, snapshot) = (named(StoredKind::Events), named(StoredKind::Snapshot));
        let types = vec![
            StoredType::new(events, SchemaOf::of::<A::Event>(), Some(forms::<A>))
                .writing(written_form::<A>),
            StoredType::new(snapshot, SchemaOf::of::<A>(), Some(snapshot_shape::<A>)),
        ];
        let table = Some(Repo::<A>::derived());
        Self {
            types,
            table,
            view: None,
        }
    }

    /// The rows of a view.
    pub fn view<V: View + HasSchema>() -> Self {
        Self {
            view: Some(CheckedView::of::<V>()),
            ..Self::one::<V>(StoredKind::View, V::NAME)
        }
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
        let types = vec![StoredType::new(of, SchemaOf::of::<T>(), None)];
        Self {
            types,
            table: None,
            view: None,
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stored").field(&self.types).finish()
    }
}

fn forms<A: Aggregate>() -> u32 {
    u32::try_from(A::upcasts().forms()).unwrap_or(u32::MAX)
}

fn written_form<A: Aggregate>() -> u32 {
    u32::try_from(A::upcasts().written()).unwrap_or(u32::MAX)
}
