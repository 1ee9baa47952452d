use crate::effects::Either;

/// Inputs with a variant for `M`. The derive of `SagaInput` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no variant for `{M}`",
    label = "nothing would handle `{M}`",
    note = "add a variant `Variant({M})` to `{Self}`"
)]
pub trait Accepts<M> {}

/// Inputs with a variant for `M` that is marked `#[saga(timer)]`. The derive of `SagaInput` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no timer variant for `{M}`",
    note = "add a variant `#[saga(timer)] Variant({M})` to `{Self}`"
)]
pub trait AcceptsTimer<M> {}

/// Outcomes of calls of which the input `I` accepts every message.
pub trait Answers<I> {}

impl<I, L: Answers<I>, R: Answers<I>> Answers<I> for Either<L, R> {}
