//! A shopper who signs in again when their session is gone, such as after the cache was emptied.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use shop_client::answers::Placed;
use shop_client::{Error, Order, Shop, Shopper};

use crate::wait::BOUND;

/// The pause before a sign-in is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// A shopper who places orders.
pub struct Customer {
    shop: Shop,
    /// Email and password; `None` for a shopper of `/dev/shoppers`, who has none.
    login: Option<[String; 2]>,
    shopper: Mutex<Shopper>,
}

impl Customer {
    /// Signs up so many customers with passwords.
    ///
    /// # Errors
    ///
    /// The shop's errors.
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

    /// Creates so many shoppers by `/dev/shoppers`.
    ///
    /// # Errors
    ///
    /// The shop's errors.
    pub async fn create(shop: &Shop, count: usize) -> Result<Vec<Self>, Error> {
        let created = shop.shoppers(count).await?.into_iter();
        let customer = |shopper| Self {
            shop: shop.clone(),
            login: None,
            shopper: Mutex::new(shopper),
        };
        Ok(created.map(customer).collect())
    }

    /// The client with the current session.
    pub fn shopper(&self) -> Shopper {
        self.shopper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Signs in again, if the customer has a password.
    ///
    /// # Errors
    ///
    /// The shop's error if it refuses, or its last one at `until`.
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
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Places an order and repeats the request under its key until it is answered.
    ///
    /// # Errors
    ///
    /// The shop's error if it refuses, or its last one after [`BOUND`].
    pub async fn place_as(&self, key: &HeaderValue, order: &Order) -> Result<Placed, Error> {
        let until = Instant::now() + BOUND;
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
