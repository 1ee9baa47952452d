//! Users without a sign-up: the admin, and shoppers for load tests.

use std::sync::Arc;

use serde::Serialize;
use shop_contracts::UserId;
use wingbeat::ServiceContext;
use wingbeat::http::session::Sessions;
use wingbeat::{JsonSchema, Result, run_unit, schemars};

use crate::Hasher;
use crate::config::Hashing;
use crate::users::{ADMIN_EMAIL, User, Users};

/// Shoppers per unit of work.
const UNIT: usize = 50;
/// The network of the process itself, for the turns of the hasher.
const HERE: &str = "";

/// Creates the admin, or leaves the existing one if the password matches. No event is published,
/// because the admin is not a customer.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read or written; `hashing` if Argon2 fails.
pub async fn ensure_admin(
    context: &Arc<ServiceContext>,
    hashing: &Hashing,
    password: &str,
) -> Result<()> {
    let hasher = &Hasher::new(hashing);
    run_unit(context, |scope| async move {
        let users = Users::of(&scope)?;
        let runtime = scope.runtime();
        let known = users.by_email(ADMIN_EMAIL).await?;
        let (id, old) = match known {
            Some((id, user)) => (id, user.password),
            None => (UserId(scope.new_id()), None),
        };
        if old.is_some() {
            let turn = hasher.turn(runtime, HERE).await?;
            if hasher.verify(runtime, turn, old, password).await? {
                return Ok(());
            }
        }
        let turn = hasher.turn(runtime, HERE).await?;
        let admin = User {
            email: ADMIN_EMAIL.into(),
            name: "Admin".into(),
            password: Some(hasher.hash(runtime, turn, password).await?),
            admin: true,
        };
        users.add(id, admin).await?;
        Ok(())
    })
    .await
}

/// A signed-in shopper.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shopper {
    /// The user.
    pub user_id: UserId,
    /// The token of the session.
    pub token: String,
}

/// Adds signed-in shoppers. They have no password, which saves the cost of hashing. Their
/// registration is published like that of other users.
///
/// # Errors
///
/// A `store_*` or `cache_*` code if the store or the cache is unavailable.
pub async fn dev_shoppers(
    context: &Arc<ServiceContext>,
    sessions: &Sessions,
    count: usize,
) -> Result<Vec<Shopper>> {
    let mut shoppers = Vec::with_capacity(count);
    while shoppers.len() < count {
        let some = UNIT.min(count - shoppers.len());
        for user_id in add_shoppers(context, some).await? {
            let (token, _) = sessions.start(user_id.0, false).await?;
            shoppers.push(Shopper { user_id, token });
        }
    }
    Ok(shoppers)
}

async fn add_shoppers(context: &Arc<ServiceContext>, count: usize) -> Result<Vec<UserId>> {
    run_unit(context, |scope| async move {
        let users = Users::of(&scope)?;
        let mut added = Vec::with_capacity(count);
        for _ in 0..count {
            let user_id = UserId(scope.new_id());
            let user = User {
                email: format!("shopper-{user_id}@dev.example"),
                name: "Shopper".into(),
                password: None,
                admin: false,
            };
            if users.register(&scope, user_id, user, true).await? {
                added.push(user_id);
            }
        }
        Ok(added)
    })
    .await
}
