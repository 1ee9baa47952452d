//! The wait for copies that are on their way.

use std::time::Duration;

use wingbeat::{Result, RuntimeExt as _, ServiceContext};

/// The first and the longest pause between two reads of the copy of the caller's cart or promo.
const POLL: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(80);
/// The longest wait for the copy of a promo or of a flash sale. Most without a copy do not exist.
pub(super) const PROMO_WAIT: Duration = Duration::from_millis(500);

/// Polls until `arrived` returns true, or `wait` is over.
pub(super) async fn until<F>(
    context: &ServiceContext,
    wait: Duration,
    arrived: impl Fn() -> F + Send + Sync,
) -> Result<()>
where
    F: Future<Output = Result<bool>> + Send,
{
    let polling = async {
        let mut pause = POLL;
        while !arrived().await? {
            context.runtime().sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
        Ok(())
    };
    let waited = context.runtime().timeout(wait, polling).await;
    waited.unwrap_or(Ok(()))
}
