//! The message handlers. Each is idempotent, by order or by user.

use shop_contracts::identity::UserRegistered;
use shop_contracts::promotions::{
    PromoIssued, PromoRedeemed, PromoRejected, PromoReleased, PromoReserved, RedeemPromo,
    ReleasePromo, ReservePromo,
};
use wingbeat::{Either, Error, Now, Result, State, Table};

use crate::Config;
use crate::domain::{Booking, Code, Promo, Use, welcome_code};

/// Codes that are tried for one user. Each is taken with a probability of one in a million at most.
const ATTEMPTS_MAX: u32 = 8;

/// Issues the welcome promo of a new user, once.
pub(crate) async fn welcome(
    event: UserRegistered,
    State(config): State<Config>,
    Now(now): Now,
    promos: Table<Promo>,
) -> Result<Option<PromoIssued>> {
    let user_id = event.user_id;
    for attempt in 0..ATTEMPTS_MAX {
        let code = welcome_code(user_id, attempt);
        match promos.get(&code).await? {
            Some(promo) if promo.user_id == user_id => return Ok(None),
            Some(_) => {}
            None => {
                let promo = Promo {
                    user_id,
                    percent: config.welcome_percent,
                    expires_at: now + config.welcome_for,
                    used: Use::Issued,
                };
                let issued = PromoIssued {
                    user_id,
                    code: code.to_string(),
                    percent: promo.percent,
                    expires_at: promo.expires_at,
                };
                promos.put(&code, promo)?;
                return Ok(Some(issued));
            }
        }
    }
    Err(Error::reject(
        "no_code_left",
        "other users have all welcome codes that this user could get",
    ))
}

/// Reserves a code for an order. A repeated command gets the recorded reply.
pub(crate) async fn reserve_promo(
    command: ReservePromo,
    Now(now): Now,
    promos: Table<Promo>,
    bookings: Table<Booking>,
) -> Result<Either<PromoReserved, PromoRejected>> {
    let ReservePromo {
        order_id,
        user_id,
        code,
    } = command;
    let granted = if let Some(booking) = bookings.get(&order_id).await? {
        booking.granted()
    } else {
        let id = Code::of(&code);
        let promo = promos.get(&id).await?;
        let held = promo.and_then(|promo| promo.reserve(order_id, user_id, now));
        let percent = held.as_ref().map(|promo| promo.percent);
        if let Some(promo) = held {
            promos.put(&id, promo)?;
        }
        let booking = percent.map_or(Booking::Rejected, |percent| Booking::Reserved { percent });
        bookings.put(&order_id, booking)?;
        percent
    };
    Ok(match granted {
        Some(percent) => Either::Left(PromoReserved {
            order_id,
            code,
            percent,
        }),
        None => Either::Right(PromoRejected { order_id, code }),
    })
}

/// Releases the code of an order. A redeemed code stays redeemed, and the reply says so.
pub(crate) async fn release_promo(
    command: ReleasePromo,
    promos: Table<Promo>,
    bookings: Table<Booking>,
) -> Result<Either<PromoReleased, PromoRedeemed>> {
    let ReleasePromo { order_id, code } = command;
    match bookings.get(&order_id).await? {
        Some(Booking::Redeemed { .. }) => {
            return Ok(Either::Right(PromoRedeemed { order_id, code }));
        }
        Some(Booking::Reserved { .. }) => {
            let id = Code::of(&code);
            let promo = promos.get(&id).await?;
            if let Some(free) = promo.and_then(|promo| promo.release(order_id)) {
                promos.put(&id, free)?;
            }
            bookings.put(&order_id, Booking::Released)?;
        }
        None => bookings.put(&order_id, Booking::Released)?,
        Some(Booking::Rejected | Booking::Released) => {}
    }
    Ok(Either::Left(PromoReleased { order_id, code }))
}

/// Redeems a reserved code, and rejects one that the order has not reserved.
pub(crate) async fn redeem_promo(
    command: RedeemPromo,
    promos: Table<Promo>,
    bookings: Table<Booking>,
) -> Result<Either<PromoRedeemed, PromoRejected>> {
    let RedeemPromo { order_id, code } = command;
    let id = Code::of(&code);
    match bookings.get(&order_id).await? {
        Some(Booking::Redeemed { .. }) => {}
        Some(Booking::Reserved { percent }) => {
            let promo = promos.get(&id).await?;
            let Some(used) = promo.and_then(|promo| promo.redeem(order_id)) else {
                return Ok(Either::Right(PromoRejected { order_id, code }));
            };
            promos.put(&id, used)?;
            bookings.put(&order_id, Booking::Redeemed { percent })?;
        }
        _ => return Ok(Either::Right(PromoRejected { order_id, code })),
    }
    Ok(Either::Left(PromoRedeemed { order_id, code }))
}
