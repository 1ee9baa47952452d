/// The state that a person or the runtime asks a subscription to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Consume.
    Running,
    /// Consume nothing until resumed.
    Paused,
    /// Finish what was taken, then end.
    Draining,
}
