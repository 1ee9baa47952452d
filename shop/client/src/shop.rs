//! The shop's API as types.

use std::time::{Duration, Instant};

use ::http::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Order;
use crate::answers::{Made, Page, Placed, Problem, Product, Report, SignedIn, Status};
use crate::http::{self, Answer, BadUrl, Call, Client, EventStream, Limits};

/// The pause before a request is sent again.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// The pause between looks at an order.
const LOOK: Duration = Duration::from_millis(25);

/// Why something could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// There is no usable answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The shop said no.
    #[error("{what}: {status} {} {}", problem.code, problem.detail)]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The status.
        status: u16,
        /// Why.
        problem: Problem,
    },
    /// It was not so in time.
    #[error("{what}: not within {limit:?}")]
    TooLate {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
}

impl Error {
    /// Whether asking again may help: there was no answer, or one that says "later".
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Http(why) => why.is_undecided(),
            Self::Refused { status, .. } => *status >= 500,
            Self::Url(_) | Self::TooLate { .. } => false,
        }
    }
}

/// A running shop.
#[derive(Clone)]
pub struct Shop {
    client: Client,
}

/// A signed-in customer, or the admin.
#[derive(Clone)]
pub struct Shopper {
    client: Client,
    auth: HeaderValue,
}

impl Shop {
    /// The shop at this URL. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// The URL is none.
    pub fn at(url: &str) -> Result<Self, Error> {
        let client = Client::new(url.parse()?, Limits::default());
        Ok(Self { client })
    }

    /// Signs somebody new up, and in.
    ///
    /// # Errors
    ///
    /// What the shop or the connection says, here and below.
    pub async fn newcomer(&self) -> Result<Shopper, Error> {
        let email = format!("{}@traffic.example", token());
        let password = token();
        self.sign_up(&email, &password).await?;
        self.sign_in(&email, &password).await
    }

    /// Signs somebody up, not in.
    ///
    /// # Errors
    ///
    /// The address is taken, among others.
    pub async fn sign_up(&self, email: &str, password: &str) -> Result<(), Error> {
        let form = json!({"email": email, "password": password, "name": "Traffic"});
        let call = Call::post("/api/v1/users").json(&form);
        expect("POST /users", 201, &self.client.send(&call).await?)
    }

    /// Signs in.
    ///
    /// # Errors
    ///
    /// The password is wrong, among others.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Shopper, Error> {
        let form = json!({"email": email, "password": password});
        let call = Call::post("/api/v1/sessions").json(&form);
        let answer = self.client.send(&call).await?;
        let session: SignedIn = parsed("POST /sessions", 201, &answer)?;
        Ok(self.shopper(&session.token))
    }

    /// The admin.
    ///
    /// # Errors
    ///
    /// As [`Self::sign_in`].
    pub async fn admin(&self, password: &str) -> Result<Shopper, Error> {
        self.sign_in("admin@shop.example", password).await
    }

    /// Somebody who is signed in already.
    #[must_use]
    pub fn shopper(&self, token: &str) -> Shopper {
        let auth = HeaderValue::try_from(format!("Bearer {token}"));
        Shopper {
            client: self.client.clone(),
            auth: auth.unwrap_or(HeaderValue::from_static("Bearer -")),
        }
    }

    /// Signed-in shoppers without the cost of hashing; only where the stand-ins run.
    ///
    /// # Errors
    ///
    /// 403 elsewhere, among others.
    pub async fn shoppers(&self, count: usize) -> Result<Vec<Shopper>, Error> {
        let call = Call::post("/dev/shoppers").json(&json!({"count": count}));
        let answer = self.client.send(&call).await?;
        let made: Page<Made> = parsed("POST /dev/shoppers", 200, &answer)?;
        Ok(made
            .items
            .iter()
            .map(|made| self.shopper(&made.token))
            .collect())
    }

    /// All products.
    ///
    /// # Errors
    ///
    /// As everywhere.
    pub async fn products(&self) -> Result<Vec<Product>, Error> {
        let (mut products, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/products?limit=100{cursor}");
            let answer = self.client.send(&Call::get(&path)).await?;
            let page: Page<Product> = parsed("GET /products", 200, &answer)?;
            products.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(products),
            }
        }
    }

    /// Sets the stand-in provider's faults.
    ///
    /// # Errors
    ///
    /// As everywhere.
    pub async fn set_faults(&self, faults: &Value) -> Result<(), Error> {
        let call = Call::put("/dev/provider/faults").json(faults);
        expect(
            "PUT /dev/provider/faults",
            200,
            &self.client.send(&call).await?,
        )
    }

    /// Asks for anything without a session.
    ///
    /// # Errors
    ///
    /// As everywhere.
    pub async fn ask(&self, call: &Call<'_>) -> Result<Answer, Error> {
        Ok(self.client.send(call).await?)
    }
}

impl Shopper {
    /// Asks for anything.
    ///
    /// # Errors
    ///
    /// There is no answer.
    pub async fn ask(&self, call: Call<'_>) -> Result<Answer, Error> {
        Ok(self.client.send(&call.auth(&self.auth)).await?)
    }

    /// Places an order under a new key, sent again until it is answered.
    ///
    /// # Errors
    ///
    /// The shop refuses, or does not answer within `limit`.
    pub async fn place(&self, order: &Order, limit: Duration) -> Result<Placed, Error> {
        self.place_as(&key(), order, limit).await
    }

    /// Places an order under this key, sent again until it is answered: whatever happened to an earlier
    /// answer, it is one order.
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
        let call = Call::post("/api/v1/orders").key(key).json(order);
        let mut pause = AGAIN;
        loop {
            let failed = match self.ask(call.clone()).await {
                Ok(answer) if answer.status.as_u16() < 500 => {
                    return parsed("POST /orders", 202, &answer);
                }
                Ok(answer) => refused("POST /orders", &answer),
                Err(Error::Http(why)) if why.is_undecided() => Error::Http(why),
                Err(why) => return Err(why),
            };
            if Instant::now() + pause > until {
                return Err(failed);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// Where an order stands.
    ///
    /// # Errors
    ///
    /// 404 when there is no such order, among others.
    pub async fn order(&self, id: &str) -> Result<Status, Error> {
        let answer = self.ask(Call::get(&format!("/api/v1/orders/{id}"))).await?;
        parsed("GET /orders/{id}", 200, &answer)
    }

    /// All orders, newest first.
    ///
    /// # Errors
    ///
    /// As everywhere.
    pub async fn orders(&self) -> Result<Vec<Status>, Error> {
        let (mut orders, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/orders?limit=100{cursor}");
            let answer = self.ask(Call::get(&path)).await?;
            let page: Page<Status> = parsed("GET /orders", 200, &answer)?;
            orders.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(orders),
            }
        }
    }

    /// Waits until an order is paid, or has ended otherwise.
    ///
    /// # Errors
    ///
    /// Not within `limit`.
    pub async fn wait_paid(&self, id: &str, limit: Duration) -> Result<Status, Error> {
        self.wait(id, "paid", limit, |it| it.is_paid() || it.is_ended())
            .await
    }

    /// Waits until an order has ended.
    ///
    /// # Errors
    ///
    /// Not within `limit`.
    pub async fn wait_ended(&self, id: &str, limit: Duration) -> Result<Status, Error> {
        self.wait(id, "ended", limit, Status::is_ended).await
    }

    async fn wait(
        &self,
        id: &str,
        what: &'static str,
        limit: Duration,
        is_so: impl Fn(&Status) -> bool,
    ) -> Result<Status, Error> {
        let until = Instant::now() + limit;
        loop {
            let late = Instant::now() > until;
            match self.order(id).await {
                Ok(status) if is_so(&status) => return Ok(status),
                Ok(_) if late => return Err(Error::TooLate { what, limit }),
                Err(why) if late || !why.may_pass() => return Err(why),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Calls an order off.
    ///
    /// # Errors
    ///
    /// 409 when it is too late, among others.
    pub async fn cancel(&self, id: &str) -> Result<(), Error> {
        let path = format!("/api/v1/orders/{id}/cancel");
        expect(
            "POST /orders/{id}/cancel",
            202,
            &self.ask(Call::post(&path)).await?,
        )
    }

    /// The live stream of this shopper's orders, from now on or after an event.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn stream(&self, after: Option<&HeaderValue>) -> Result<EventStream, Error> {
        let call = Call::get("/api/v1/stream").auth(&self.auth).after(after);
        Ok(self.client.events(&call).await?)
    }

    /// The audit's report, and its text.
    ///
    /// # Errors
    ///
    /// 403 for a customer, among others.
    pub async fn audit(&self) -> Result<(Report, String), Error> {
        let answer = self.ask(Call::get("/api/v1/admin/audit")).await?;
        let report = parsed("GET /admin/audit", 200, &answer)?;
        Ok((report, String::from_utf8_lossy(&answer.body).into_owned()))
    }
}

/// A new idempotency key.
#[must_use]
pub fn key() -> HeaderValue {
    HeaderValue::try_from(token()).unwrap_or(HeaderValue::from_static("key"))
}

fn token() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn expect(what: &'static str, status: u16, answer: &Answer) -> Result<(), Error> {
    if answer.status.as_u16() == status {
        return Ok(());
    }
    Err(refused(what, answer))
}

fn parsed<T: DeserializeOwned>(
    what: &'static str,
    status: u16,
    answer: &Answer,
) -> Result<T, Error> {
    expect(what, status, answer)?;
    Ok(answer.json(::http::Method::GET, what)?)
}

fn refused(what: &'static str, answer: &Answer) -> Error {
    Error::Refused {
        what,
        status: answer.status.as_u16(),
        problem: serde_json::from_slice(&answer.body).unwrap_or_default(),
    }
}
