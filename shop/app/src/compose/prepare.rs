//! Preparation before a process is ready: the administrator's account, the seeds, and the number of
//! orders in flight.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use shop_contracts::catalog::ProductListed;
use shop_contracts::inventory::{AdjustStock, StockLevelChanged};
use shop_orders::checkout::Checkout;
use shop_orders::messages::StartCheckout;
use uuid::Uuid;
use wingbeat::{Effects, Message as _, Result, RuntimeExt as _, run_unit};

use shop_system::Settings;
use shop_system::services::hashing;
use shop_system::settings::AdminPassword;
use wingbeat::run::{Host, RunError, ops, private_directory};

/// The longest wait for the effects of seeding.
const SEEDED_WITHIN: Duration = Duration::from_secs(10);
/// The messages that seeding causes, and the subscriptions that handle them, in order of cause and
/// effect.
const SEEDING: [(&[&str], &[&str]); 2] = [
    (
        &[ProductListed::NAME, AdjustStock::NAME],
        &["product_listed", "adjust_stock"],
    ),
    (&[StockLevelChanged::NAME], &["stock_level_changed"]),
];

/// Returns the number of orders whose checkout has not ended, those included whose checkout has not
/// begun: each accepted order starts one. Both figures are counters, so a start costs the same
/// however many orders there ever were.
pub(crate) async fn in_flight(host: &Host) -> Result<u64> {
    let Ok(reads) = host.reads("orders") else {
        return Ok(0); // The orders service runs elsewhere.
    };
    // Counted before the ended ones: an order that is placed meanwhile is not one of them.
    let accepted = format!("published:{}", StartCheckout::NAME);
    let counters = reads.counters().await?.into_iter();
    let accepted = counters.filter(|(name, _)| name.as_str() == accepted);
    let accepted: i64 = accepted.map(|(_, count)| count).sum();
    let ended = reads.ended_sagas::<Checkout>().await?;
    Ok(accepted.max(0).unsigned_abs().saturating_sub(ended))
}

/// Creates the administrator's account, with the password of the settings or a random one that is
/// stored in the data directory.
pub(crate) async fn ensure_admin(
    host: &Host,
    settings: &Settings,
) -> Result<Option<String>, RunError> {
    let Ok(identity) = host.service("identity") else {
        return Ok(None);
    };
    let (password, told) = match &settings.own.admin_password {
        Some(password) => (password.as_str().to_owned(), None),
        None => {
            let data = &settings.data;
            let made = private_directory(data);
            made.map_err(|why| RunError::File(data.display().to_string(), why))?;
            let password = own_password(host, &data.join("admin-password"))?;
            (password.clone(), Some(password))
        }
    };
    shop_identity::ensure_admin(&identity, &hashing(settings), &password).await?;
    Ok(told)
}

fn own_password(host: &Host, path: &Path) -> Result<String, RunError> {
    let failed = |why| RunError::File(path.display().to_string(), why);
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => {
            restrict(path).map_err(failed)?;
            return match AdminPassword::try_from(text.trim().to_owned()) {
                Ok(password) => Ok(password.as_str().to_owned()),
                Err(fault) => {
                    let path = path.display();
                    let why = format!("{path} contains no password for the admin: {fault}");
                    Err(RunError::Program(why))
                }
            };
        }
        Ok(_) => {}
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
        Err(why) => return Err(failed(why)),
    }
    let mut secret = [0_u8; 12];
    host.ports().runtime.fill_secret(&mut secret);
    let password = hex::encode(secret);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    restrict(path).map_err(failed)?; // The mode above applies only to a new file.
    writeln!(file, "{password}").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(password)
}

/// Lets only the owner read and write a file, also one that an operator or an older release made.
fn restrict(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Lists the products of a new shop and adds their stock, each once over all starts. Returns
/// whether any of them is new.
pub(crate) async fn seed(host: &Host) -> Result<bool> {
    let catalog = host.service("catalog")?;
    shop_catalog::seeding::seed(&catalog).await?;
    run_unit(&catalog, |scope| async move {
        let sown = wingbeat::Claims::of(&scope);
        let (mut effects, mut any) = (Effects::new(), false);
        for (number, seed) in (1_u128..).zip(shop_catalog::seeding::seeds()) {
            if seed.units == 0 || sown.owner("seeded", seed.sku.as_str()).await?.is_some() {
                continue;
            }
            sown.claim("seeded", seed.sku.as_str(), "stock").await?;
            any = true;
            effects.send(&AdjustStock {
                sku: seed.sku,
                delta: seed.units,
                reason: "opening stock".into(),
                adjustment_id: Uuid::from_u128(number),
            });
        }
        scope.emit(effects)?;
        Ok(any)
    })
    .await
}

/// Waits until the effects of seeding are stored, so that the first visitor sees them. After a
/// crash under load it does not wait for the whole backlog.
pub(crate) async fn settle(host: &Host, seeds_are_new: bool) {
    let runtime = &host.ports().runtime;
    let idle = async {
        // First the causes: what is over once nothing can cause it any more stays so.
        for (messages, subscriptions) in SEEDING {
            let messages = if seeds_are_new { messages } else { &[] };
            while !are_over(host, messages, subscriptions)
                .await
                .unwrap_or(false)
            {
                runtime.sleep(Duration::from_millis(2)).await;
            }
        }
    };
    if runtime.timeout(SEEDED_WITHIN, idle).await.is_none() {
        tracing::warn!(
            "the seeded products are not visible yet: some messages are still in flight"
        );
    }
}

/// Returns whether none of these messages waits in an outbox, and then none in these subscriptions.
async fn are_over(host: &Host, messages: &[&str], subscriptions: &[&str]) -> Result<bool> {
    if let Some(outbox) = host.ports().store.outbox() {
        for message in messages {
            if outbox.waiting(message).await? > 0 {
                return Ok(false);
            }
        }
    }
    let look = ops::look(&host.snapshot()).await?;
    let mut of_these = look
        .iter()
        .filter(|it| subscriptions.contains(&it.name.as_str()));
    Ok(of_these.all(|it| it.waiting + it.in_flight == 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shop_contracts::{Money, OrderId, UserId};
    use wingbeat::test::Model;
    use wingbeat::{Ports, Runtime as _, TokioRuntime};

    use super::*;
    use shop_system::{roles, services};

    #[tokio::test]
    async fn an_order_whose_checkout_has_not_begun_is_in_flight() {
        let runtime = TokioRuntime::new();
        let model = Model::new(runtime.clone());
        let ports = Ports {
            runtime: runtime.clone(),
            store: model.store.clone(),
            transport: model.transport.clone(),
            cache: model.cache.clone(),
            http: wingbeat::call::HyperClient::new(),
        };
        let sessions = wingbeat::http::session::Sessions::new(model.cache.clone(), runtime.clone());
        let system = Arc::new(move || {
            let (settings, roles) = (Settings::default(), roles::whole());
            services::system(
                &settings,
                &roles,
                &sessions,
                "http://127.0.0.1:1",
                &shop_notifications::Delivery::Mailbox,
            )
        });
        let started = Host::start(runtime.clone(), ports, system, |name| name == "orders").await;
        let host = started.expect("it starts");
        let running = host.running().next().expect("orders runs");
        let paused = running.pause("orders", "checkout").await;
        assert!(paused.expect("it is paused"));

        let orders = host.service("orders").expect("it runs");
        for number in 1..=3 {
            let order_id = OrderId(Uuid::from_u128(number));
            let sent = run_unit(&orders, |scope| async move {
                scope.send(&StartCheckout {
                    order_id,
                    user_id: UserId(Uuid::nil()),
                    lines: vec![("TEA-1".parse().expect("a SKU"), 1)],
                    total: Money::eur(100),
                    promo_code: None,
                    promo_unusable: false,
                    flash_claim_id: None,
                    accepted_at: None,
                    token: "tok_ok".into(),
                    deadlines: shop_orders::config::Deadlines::default(),
                })
            });
            sent.await.expect("it is committed");
        }
        let open = host.reads("orders").expect("it runs");
        let open = open.open_sagas::<Checkout>().await;
        assert_eq!(open.expect("it is counted"), 0, "no checkout has begun");
        assert_eq!(in_flight(&host).await.expect("they are counted"), 3);

        running
            .resume("orders", "checkout")
            .await
            .expect("it is resumed");
        let begun = async {
            let reads = host.reads("orders").expect("it runs");
            while reads.open_sagas::<Checkout>().await.expect("a count") < 3 {
                runtime.sleep(Duration::from_millis(2)).await;
            }
        };
        let begun = runtime.timeout(Duration::from_secs(60), begun).await;
        begun.expect("all checkouts begin");
        assert_eq!(in_flight(&host).await.expect("they are counted"), 3);
    }
}
