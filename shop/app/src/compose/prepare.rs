//! Preparation before a process is ready: the administrator's account, the seeds, and the number of
//! orders in flight.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use shop_contracts::catalog::ProductListed;
use shop_contracts::inventory::{AdjustStock, StockLevelChanged};
use uuid::Uuid;
use wingbeat::{Effects, Message as _, Result, RuntimeExt as _, run_unit};

use super::services::hashing;
use super::settings::Settings;
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

/// Returns the number of orders whose checkout has not ended.
pub(crate) async fn in_flight(host: &Host) -> Result<usize> {
    let Ok(reads) = host.reads("orders") else {
        return Ok(0); // The orders service runs elsewhere.
    };
    let open = reads
        .open_sagas::<shop_orders::checkout::Checkout>()
        .await?;
    Ok(usize::try_from(open).unwrap_or(usize::MAX))
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
        Some(password) => (password.clone(), None),
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
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
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
    writeln!(file, "{password}").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(password)
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
