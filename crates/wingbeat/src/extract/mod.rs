//! What a handler may ask for besides its message.

use wingbeat_core::{Result, Timestamp};

use crate::describe::RequestDescription;
use crate::unit::{Meta, Scope};

/// Can be an argument of a handler that runs in context `Cx` with service state `S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument here",
    label = "not available to this handler",
    note = "while a message is handled there are: `State<_>`, `Repo<_>`, `Table<_>`, `Claims`, `Rows<_>`, `Now`, `Meta`, `Scope`"
)]
pub trait Extract<Cx, S>: Sized + Send + 'static {
    /// Takes it out of the context.
    ///
    /// # Errors
    ///
    /// When it is not there.
    fn extract(cx: &Cx, state: &S) -> Result<Self>;

    /// Adds what it reads from a request to the description of a route. Most extractors read
    /// nothing.
    fn describe(_request: &mut RequestDescription) {}
}

/// A part of the service's state, for handlers and routes alike.
#[derive(Clone, Copy, Debug)]
pub struct State<T>(pub T);

/// What a service's state `S` can give: derive `Parts` on the state.
#[diagnostic::on_unimplemented(
    message = "the service's state `{S}` has no `{Self}`",
    label = "`State<{Self}>` cannot be filled in",
    note = "if the state is `()`, `.with_state(..)` is missing; otherwise give the state a field of this type and derive `Parts`"
)]
pub trait Part<S>: Sized {
    /// The part.
    fn part(state: &S) -> Self;
}

impl<Cx, S, T: Part<S> + Send + 'static> Extract<Cx, S> for State<T> {
    fn extract(_cx: &Cx, state: &S) -> Result<Self> {
        Ok(Self(T::part(state)))
    }
}

/// The time of this attempt; the same for everything in it.
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

/// Splits a handler's arguments into the first and the rest.
pub trait Arguments: Sized + Send {
    /// The first argument.
    type First;
    /// The others, as a tuple.
    type Rest;
    /// Puts them together again.
    fn join(first: Self::First, rest: Self::Rest) -> Self;
}

/// A tuple of extractors.
pub trait ExtractAll<Cx, S>: Sized + Send {
    /// Takes all of them out of the context.
    ///
    /// # Errors
    ///
    /// The first that is not there.
    fn extract_all(cx: &Cx, state: &S) -> Result<Self>;

    /// Adds what all of them read from a request to the description of a route.
    fn describe(request: &mut RequestDescription);
}

macro_rules! arguments {
    ($($rest:ident)*) => {
        impl<First: Send, $($rest: Send),*> Arguments for (First, $($rest,)*) {
            type First = First;
            type Rest = ($($rest,)*);

            #[allow(non_snake_case, reason = "one variable a type parameter")]
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
