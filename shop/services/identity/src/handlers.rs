//! The handler of the service's own erasures.

use shop_contracts::identity::UserErased;
use wingbeat::http::session::Sessions;
use wingbeat::{Result, State};

/// Ends the sessions of an erased user. The route has ended them already, unless its process
/// crashed after the commit.
pub(crate) async fn user_erased(event: UserErased, State(sessions): State<Sessions>) -> Result<()> {
    sessions.end_for_good(event.user_id.0).await
}
