use crate::effects::Either;

/// The input has a variant for `M`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no variant for `{M}`",
    label = "`{M}` would come back to nobody",
    note = "add a variant `Variant({M})` to `{Self}`"
)]
pub trait Accepts<M> {}

/// The input has a variant for `M`, marked `#[saga(timer)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no timer variant for `{M}`",
    note = "add a variant `#[saga(timer)] Variant({M})` to `{Self}`"
)]
pub trait AcceptsTimer<M> {}

/// All messages of this outcome are taken by the input `I`.
pub trait Answers<I> {}

impl<I, L: Answers<I>, R: Answers<I>> Answers<I> for Either<L, R> {}
