//! The checks that a saga has a variant for each timer that it sets and each outcome of its calls.

use crate::effects::Either;

/// Inputs with a variant for `M`. The derive of `SagaInput` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no variant for `{M}`",
    label = "no variant handles `{M}`",
    note = "add a variant `Variant({M})` to `{Self}`"
)]
pub trait Accepts<M> {}

/// Inputs with a variant for `M` that is marked `#[saga(timer)]`. The derive of `SagaInput`
/// implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no timer variant for `{M}`",
    note = "add a variant `#[saga(timer)] Variant({M})` to `{Self}`"
)]
pub trait AcceptsTimer<M> {}

/// Outcomes of calls whose messages are all inputs of `I`.
pub trait Answers<I> {}

impl<I, L: Answers<I>, R: Answers<I>> Answers<I> for Either<L, R> {}
