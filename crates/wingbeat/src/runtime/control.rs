/// The state of a subscription in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Consume.
    Running,
    /// Consume nothing until resumed.
    Paused,
    /// Finish what was taken, then end.
    Draining,
}
