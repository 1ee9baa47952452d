//! A shopper who signs in again when the shop has forgotten who they are: sessions live in the cache, and a cache
//! may be emptied.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use shop_client::answers::Placed;
use shop_client::{Error, Order, Shop, Shopper};

/// The pause before a sign-in is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Somebody who orders.
pub struct Customer {
    shop: Shop,
    /// Email and password; `None` for one of the shoppers of `/dev`, who have none.
    login: Option<[String; 2]>,
    shopper: Mutex<Shopper>,
}

impl Customer {
    /// Signs so many up, with passwords.
    ///
    /// # Errors
    ///
    /// The shop's.
    pub async fn sign_up(shop: &Shop, count: usize) -> Result<Vec<Self>, Error> {
        let mut customers = Vec::with_capacity(count);
        for _ in 0..count {
            let login = [
                format!("{:032x}@chaos.example", fastrand::u128(..)),
                format!("{:032x}", fastrand::u128(..)),
            ];
            shop.sign_up(&login[0], &login[1]).await?;
            let shopper = shop.sign_in(&login[0], &login[1]).await?;
            customers.push(Self {
                shop: shop.clone(),
                login: Some(login),
                shopper: Mutex::new(shopper),
            });
        }
        Ok(customers)
    }

    /// So many of the shoppers of `/dev`.
    ///
    /// # Errors
    ///
    /// The shop's.
    pub async fn made(shop: &Shop, count: usize) -> Result<Vec<Self>, Error> {
        let made = shop.shoppers(count).await?.into_iter();
        let customer = |shopper| Self {
            shop: shop.clone(),
            login: None,
            shopper: Mutex::new(shopper),
        };
        Ok(made.map(customer).collect())
    }

    /// As the shop knows them now.
    pub fn shopper(&self) -> Shopper {
        self.shopper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Signs in anew, if they can.
    ///
    /// # Errors
    ///
    /// Not until then.
    pub async fn sign_in(&self, until: Instant) -> Result<(), Error> {
        let Some([email, password]) = &self.login else {
            return Ok(());
        };
        loop {
            match self.shop.sign_in(email, password).await {
                Ok(shopper) => {
                    *self.shopper.lock().unwrap_or_else(PoisonError::into_inner) = shopper;
                    return Ok(());
                }
                Err(why) if why.is_retryable() && Instant::now() < until => {}
                Err(why) => return Err(why),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Places an order, sent again under its key until it is answered.
    ///
    /// # Errors
    ///
    /// The shop refuses, or does not answer within `limit`.
    pub async fn place_as(
        &self,
        key: &HeaderValue,
        order: &Order,
        limit: Duration,
    ) -> Result<Placed, Error> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.shopper().place_as(key, order, left).await {
                Err(Error::Refused { status: 401, .. })
                    if self.login.is_some() && !left.is_zero() =>
                {
                    self.sign_in(until).await?;
                }
                answer => return answer,
            }
        }
    }
}
