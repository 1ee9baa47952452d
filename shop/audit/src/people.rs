//! Invariants 7 and 8: the effects of sign-ups, and promos.

use shop_contracts::UserId;
use shop_identity::audit::{self, Standing};
use wingbeat::Result;
use wingbeat::run::{RunningSystem, ops};

use super::ids::{Ids, Source};
use super::{Check, VIOLATIONS_MAX};

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

/// Compares the users with their carts, promos and mails, all in the order of the users' ids, page
/// by page. Users that look wrong are looked up one by one: pages are read at different moments.
async fn welcomed(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(
        7,
        "registered users = carts = welcome promos = welcome mails",
    );
    let suspects = suspects(system, &mut check.checked).await?;
    if suspects.is_empty() {
        return Ok(check);
    }
    let identity = system.reads("identity")?;
    let mut known = Vec::new();
    for user in suspects {
        known.push((user, audit::standing(&identity, user).await?));
    }
    // What is missing after this was not in flight when the users were read.
    if is_on_the_way(system).await? {
        return Ok(check);
    }
    for (user, standing) in known {
        judge(system, &mut check, user, standing).await?;
    }
    Ok(check)
}

/// Returns the users that look wrong, at most as many as a check remembers.
async fn suspects(system: &RunningSystem, checked: &mut u64) -> Result<Vec<UserId>> {
    let mut users = Ids::of(Source::Users, system)?;
    let mut carts = Ids::of(Source::Carts, system)?;
    let mut promos = Ids::of(Source::Promos, system)?;
    let mut mails = Ids::of(Source::Mails, system)?;
    let mut suspects = Vec::new();
    loop {
        let mut heads = Vec::new();
        for ids in [&mut users, &mut carts, &mut promos, &mut mails] {
            heads.extend(ids.head().await?);
        }
        let Some(id) = heads.into_iter().min() else {
            return Ok(suspects);
        };
        let is_exempt = users.is_exempt() && users.head().await?.as_ref() == Some(&id);
        let registered = users.take(&id).await?;
        let found = [
            carts.take(&id).await?,
            promos.take(&id).await?,
            mails.take(&id).await?,
        ];
        // Nothing is expected of the admin and of erased users, who may have any of these.
        let right = match registered {
            0 => found[1..] == [0, 0],
            _ if is_exempt => true,
            _ => found == [1, 1, 1],
        };
        *checked += u64::from(registered > 0 && !is_exempt);
        if !right && suspects.len() < VIOLATIONS_MAX {
            suspects.extend(id.parse::<UserId>());
        }
    }
}

/// Reports what is wrong with a user.
async fn judge(
    system: &RunningSystem,
    check: &mut Check,
    user: UserId,
    standing: Option<Standing>,
) -> Result<()> {
    let promos = system.reads("promotions")?;
    let promos = shop_promotions::audit::welcome_promos_of(&promos, user).await?;
    let mails = system.reads("notifications")?;
    let mailed = shop_notifications::audit::was_welcomed(&mails, user).await?;
    match standing {
        // An erased user may have been erased before the welcome, so nothing is expected of one.
        Some(Standing::Admin | Standing::Erased) => {}
        Some(Standing::Active) => {
            if !shop_carts::audit::has_cart(&system.reads("carts")?, user).await? {
                check.broken(user, "no cart");
            }
            match promos {
                0 => check.broken(user, "no welcome promo"),
                1 => {}
                many => check.broken(user, format!("{many} welcome promos")),
            }
            if !mailed {
                check.broken(user, "no welcome mail");
            }
        }
        None if promos > 0 || mailed => {
            // The user may have registered after the users were read.
            let identity = system.reads("identity")?;
            if audit::standing(&identity, user).await?.is_none() {
                check.broken(user, "welcomed, but never registered");
            }
        }
        None => {}
    }
    Ok(())
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
    let (redeemed, twice) = shop_promotions::audit::redeemed_twice(&reads).await?;
    check.checked = redeemed;
    for order in twice {
        check.broken(order, "it redeemed a promo that another order redeemed");
    }
    Ok(check)
}
