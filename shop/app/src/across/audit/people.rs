//! Invariants 7 and 8: the effects of sign-ups, and promos.

use wingbeat::Result;

use super::Check;
use wingbeat::run::{RunningSystem, ops};

/// The subscriptions that a sign-up passes through. While one of them has work, missing effects may
/// be in flight.
const ON_THE_WAY: [(&str, &str); 4] = [
    ("carts", "user_registered"),
    ("notifications", "remember_address"),
    ("notifications", "user_registered"),
    ("promotions", "user_registered"),
];

pub(super) async fn check(system: &RunningSystem) -> Result<[Check; 2]> {
    Ok([welcomed(system).await?, promos(system).await?])
}

async fn welcomed(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(
        7,
        "registered users = carts = welcome promos = welcome mails",
    );
    // An erased user may have been erased before the welcome, so nothing is expected of one.
    let registered = shop_identity::audit::registered(&system.reads("identity")?).await?;
    // These are read after the users, so a missing effect did not exist or is in flight.
    if is_on_the_way(system).await? {
        return Ok(check);
    }
    let carts = shop_carts::audit::owners(&system.reads("carts")?).await?;
    let promos = shop_promotions::audit::welcome_promos(&system.reads("promotions")?).await?;
    let mails = shop_notifications::audit::welcomed(&system.reads("notifications")?).await?;
    check.checked = registered.active.len() as u64;
    for user in &registered.active {
        if !carts.contains(user) {
            check.broken(user, "no cart");
        }
        match promos.get(user) {
            None => check.broken(user, "no welcome promo"),
            Some(1) => {}
            Some(many) => check.broken(user, format!("{many} welcome promos")),
        }
        if !mails.contains(user) {
            check.broken(user, "no welcome mail");
        }
    }
    let known = shop_identity::audit::registered(&system.reads("identity")?).await?;
    let others = promos
        .keys()
        .chain(&mails)
        .filter(|user| !known.active.contains(user) && !known.erased.contains(user));
    for stranger in others {
        check.broken(stranger, "welcomed, but never registered");
    }
    Ok(check)
}

async fn is_on_the_way(system: &RunningSystem) -> Result<bool> {
    let look = ops::look(system).await?;
    let busy = look.iter().filter(|it| it.waiting + it.in_flight > 0);
    let mut busy = busy.map(|it| (it.service.as_str(), it.name.as_str()));
    Ok(busy.any(|one| ON_THE_WAY.contains(&one)))
}

async fn promos(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(8, "a promo is redeemed at most once");
    let reads = system.reads("promotions")?;
    check.checked = shop_promotions::audit::redeemed(&reads).await?.len() as u64;
    for order in shop_promotions::audit::redeemed_twice(&reads).await? {
        check.broken(order, "it redeemed a promo that another order redeemed");
    }
    Ok(check)
}
