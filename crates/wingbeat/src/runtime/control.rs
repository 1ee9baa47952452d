/// The requested state of a subscription in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Consume.
    Running,
    /// Do not consume until resumed.
    Paused,
    /// Do not consume: another replica handles this partition.
    Standby,
    /// Finish the deliveries that were taken, then end.
    Draining,
}
