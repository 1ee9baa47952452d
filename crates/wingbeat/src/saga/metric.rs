//! The metric of saga inputs.

/// A counter of inputs.
pub const INPUTS: &str = "wingbeat_saga_inputs_total";
/// The label for the name of the saga.
pub const SAGA: &str = "saga";
/// The label for the state before the input: one of the saga's, `not_started` or `ended`.
pub const STATE: &str = "state";
/// The label for the wire type of the input.
pub const INPUT: &str = "input";
