//! Extractors: the arguments of a handler besides its message.

use wingbeat_core::{Result, Timestamp};

use crate::describe::RequestDescription;
use crate::unit::{Meta, Scope};

/// An argument of handlers that run in the context `Cx` of a service with the state `S`.
///
/// Handlers of messages, HTTP commands and schedules run in a [`Scope`] and can take:
///
/// | Extractor | Gives access to |
/// |---|---|
/// | [`State<T>`](State) | a part of the service's state, such as a setting |
/// | [`Table<E>`](crate::Table) | entities of one type |
/// | [`Repo<A>`](crate::Repo) | aggregates of one type |
/// | [`Claims`](crate::Claims) | unique values, such as e-mail addresses |
/// | [`Rows<V>`](crate::Rows) | rows of one view, for writing |
/// | [`Reads`](crate::Reads) | the service's data, for reads that the commit does not validate |
/// | [`Now`] | the time of this attempt |
/// | [`Meta`] | metadata of the message, such as its id |
/// | [`Scope`] | the unit of work itself |
///
/// HTTP commands can also take `http::Caller` and `http::IdempotencyKey`.
///
/// Executors of outside calls have no unit of work. They can take `State<T>`,
/// [`Http`](crate::call::Http) and [`OperationKey`](crate::OperationKey).
///
/// ```
/// use wingbeat::{Meta, Now, Result, Service, State};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Event, JsonSchema, Parts};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "parcels.delivered", version = 1, key = parcel)]
/// # struct Delivered { parcel: u32 }
/// # #[derive(Clone)]
/// # struct Limit(u64);
/// # #[derive(Clone, Parts)]
/// # struct Settings { limit: Limit }
///
/// async fn measure(
///     _: Delivered, // the message comes first
///     State(Limit(seconds)): State<Limit>,
///     Now(now): Now,
///     meta: Meta,
/// ) -> Result<()> {
///     if now.since(meta.time).as_secs() > seconds {
///         tracing::warn!(id = ?meta.message, "a delivery was reported late");
///     }
///     Ok(())
/// }
///
/// let settings = Settings { limit: Limit(60) };
/// let service = Service::new("reports").with_state(settings).on(measure);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(service));
/// # app.publish(uuid::Uuid::nil(), &Delivered { parcel: 1 });
/// # app.until_idle();
/// # assert_eq!(app.dead_letters("reports"), 0);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument here",
    label = "not available to this handler",
    note = "handlers can take `State<_>`, `Table<_>`, `Repo<_>`, `Claims`, `Rows<_>`, `Reads`, `Now`, `Meta` and `Scope`; executors of calls `State<_>`, `Http` and `OperationKey`"
)]
pub trait Extract<Cx, S>: Sized + Send + 'static {
    /// Extracts the argument.
    ///
    /// # Errors
    ///
    /// Any error that the extractor documents. The runtime treats it as an error of the handler.
    fn extract(cx: &Cx, state: &S) -> Result<Self>;

    /// Adds the parts of a request that this extractor reads to the description of a route. Does
    /// nothing by default.
    fn describe(_request: &mut RequestDescription) {}
}

/// An extractor for a part of the service's state.
///
/// The state is a struct that derives [`Parts`](macro@crate::Parts). Each of its fields is a part,
/// which handlers and executors take by its type.
///
/// ```
/// use wingbeat::{Parts, Result, Service, State};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, Event, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "prices.quote", version = 1, key = sku)]
/// # struct Quote { sku: String, cents: u64 }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "prices.quoted", version = 1, key = sku)]
/// # struct Quoted { sku: String, gross: u64 }
///
/// #[derive(Clone)]
/// struct TaxPercent(u64);
///
/// #[derive(Clone, Parts)]
/// struct Settings {
///     tax: TaxPercent,
/// }
///
/// async fn quote(command: Quote, State(TaxPercent(tax)): State<TaxPercent>) -> Result<Quoted> {
///     Ok(Quoted { sku: command.sku, gross: command.cents * (100 + tax) / 100 })
/// }
///
/// let settings = Settings { tax: TaxPercent(19) };
/// let service = Service::new("prices").with_state(settings).on(quote);
/// # drop(service);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct State<T>(pub T);

/// A part of the service state `S`. Derive [`Parts`](macro@crate::Parts) on the state to implement
/// it for the type of each field.
///
/// ```
/// use wingbeat::{Part, Parts};
///
/// #[derive(Clone, Parts)]
/// struct Settings {
///     currency: String,
///     decimals: u8,
/// }
///
/// let settings = Settings { currency: "EUR".into(), decimals: 2 };
/// assert_eq!(u8::part(&settings), 2);
/// assert_eq!(String::part(&settings), "EUR");
/// ```
#[diagnostic::on_unimplemented(
    message = "the service's state `{S}` has no `{Self}`",
    label = "`State<{Self}>`: no such part",
    note = "if the state is `()`, `.with_state(..)` is missing; otherwise give the state a field of this type and derive `Parts`"
)]
pub trait Part<S>: Sized {
    /// Returns a clone of the part.
    fn part(state: &S) -> Self;
}

impl<Cx, S, T: Part<S> + Send + 'static> Extract<Cx, S> for State<T> {
    fn extract(_cx: &Cx, state: &S) -> Result<Self> {
        Ok(Self(T::part(state)))
    }
}

/// An extractor for the time of this attempt. All extractors of one attempt see the same time.
///
/// Handlers use it instead of the system clock, so that tests and simulations can control time.
///
/// ```
/// use wingbeat::{Now, Result, Service, Timestamp};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, Event, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "offers.accept", version = 1, key = offer)]
/// # struct Accept { offer: u32, valid_until: Timestamp }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "offers.accepted", version = 1, key = offer)]
/// # struct Accepted { offer: u32 }
///
/// async fn accept(command: Accept, Now(now): Now) -> Result<Option<Accepted>> {
///     let valid = now <= command.valid_until;
///     Ok(valid.then_some(Accepted { offer: command.offer }))
/// }
/// # drop(Service::new("offers").on(accept));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Now(pub Timestamp);

impl<S> Extract<Scope, S> for Now {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self(scope.now()))
    }
}

impl<S> Extract<Scope, S> for Meta {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(scope.meta())
    }
}

impl<S> Extract<Scope, S> for Scope {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(scope.clone())
    }
}

/// The arguments of a handler, split into the first and the others. Implemented for tuples.
pub trait Arguments: Sized + Send {
    /// The first argument.
    type First;
    /// The other arguments, as a tuple.
    type Rest;
    /// Joins the first argument and the others.
    fn join(first: Self::First, rest: Self::Rest) -> Self;
}

/// A tuple of extractors; see [`Extract`].
pub trait ExtractAll<Cx, S>: Sized + Send {
    /// Extracts all arguments.
    ///
    /// # Errors
    ///
    /// The first error of an extractor.
    fn extract_all(cx: &Cx, state: &S) -> Result<Self>;

    /// Calls [`Extract::describe`] of each extractor.
    fn describe(request: &mut RequestDescription);
}

macro_rules! arguments {
    ($($rest:ident)*) => {
        impl<First: Send, $($rest: Send),*> Arguments for (First, $($rest,)*) {
            type First = First;
            type Rest = ($($rest,)*);

            #[allow(non_snake_case, reason = "one variable per type parameter")]
            fn join(first: First, ($($rest,)*): ($($rest,)*)) -> Self {
                (first, $($rest,)*)
            }
        }

        #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple extracts nothing")]
        impl<Cx, S, $($rest: Extract<Cx, S>),*> ExtractAll<Cx, S> for ($($rest,)*) {
            fn extract_all(cx: &Cx, state: &S) -> Result<Self> {
                Ok(($($rest::extract(cx, state)?,)*))
            }

            fn describe(request: &mut RequestDescription) {
                $($rest::describe(request);)*
            }
        }
    };
}
arguments!();
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);
arguments!(A B C D E F G H);
