//! The HTTP API of the shop as methods.

use std::time::{Duration, Instant};

use ::http::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wingbeat_connect::TlsFiles;

use crate::Order;
use crate::answers::{Made, Page, Placed, Problem, Product, Report, SignedIn, Status};
use crate::http::{self, Answer, BadUrl, Call, Client, EventStream, Limits};

/// The pause before the first retry of a request.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// The longest pause before a retry.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);
/// The pause between two reads of an order.
const POLL: Duration = Duration::from_millis(25);

/// The failure of a request to the shop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL of the shop is invalid.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// A certificate for an `https` URL cannot be used.
    #[error(transparent)]
    Tls(#[from] wingbeat_connect::Error),
    /// There is no usable reply.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The shop refused the request.
    #[error("{request} was refused with {status} {}: {}", problem.code, problem.detail)]
    Refused {
        /// The method and the route.
        request: &'static str,
        /// The HTTP status.
        status: u16,
        /// The problem in the reply.
        problem: Problem,
    },
    /// An order did not reach a state in time.
    #[error("the order was not {state} within {limit:?}")]
    TooLate {
        /// The awaited state.
        state: &'static str,
        /// The limit.
        limit: Duration,
    },
}

impl Error {
    /// Returns whether a retry can succeed: there was no reply, or the status is 5xx.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Http(why) => why.is_undecided(),
            Self::Refused { status, .. } => *status >= 500,
            Self::Url(_) | Self::Tls(_) | Self::TooLate { .. } => false,
        }
    }
}

/// A running shop.
#[derive(Clone)]
pub struct Shop {
    client: Client,
}

/// A signed-in user: a customer or the admin.
#[derive(Clone)]
pub struct Shopper {
    client: Client,
    auth: HeaderValue,
}

impl Shop {
    /// Creates a client of the shop at this URL. It connects on the first request. The authorities
    /// of an `https` URL are those of the system, or those that `WINGBEAT_TLS_CA` names.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL is invalid; [`Error::Tls`] if the authorities cannot be read.
    pub fn at(url: &str) -> Result<Self, Error> {
        Self::with_limits(url, Limits::default())
    }

    /// Creates a client as [`Self::at`] does, with other limits.
    ///
    /// # Errors
    ///
    /// Those of [`Self::at`].
    pub fn with_limits(url: &str, limits: Limits) -> Result<Self, Error> {
        let ca = std::env::var_os("WINGBEAT_TLS_CA").map(|it| it.to_string_lossy().into_owned());
        Self::create(url, ca, limits)
    }

    /// Creates a client as [`Self::at`] does, which trusts the authorities in a PEM file.
    ///
    /// # Errors
    ///
    /// Those of [`Self::at`].
    pub fn trusting(url: &str, ca: Option<String>) -> Result<Self, Error> {
        Self::create(url, ca, Limits::default())
    }

    fn create(url: &str, ca: Option<String>, limits: Limits) -> Result<Self, Error> {
        let files = TlsFiles {
            ca,
            ..TlsFiles::default()
        };
        let client = Client::new(url.parse()?, limits, files)?;
        Ok(Self { client })
    }

    /// Signs a new user up and in.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] or [`Error::Http`], as for all requests.
    pub async fn newcomer(&self) -> Result<Shopper, Error> {
        let email = format!("{}@traffic.example", token());
        let password = token();
        self.sign_up(&email, &password).await?;
        self.sign_in(&email, &password).await
    }

    /// Signs a user up, but not in.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 409 `email_taken` if another user has the address.
    pub async fn sign_up(&self, email: &str, password: &str) -> Result<(), Error> {
        let form = json!({"email": email, "password": password, "name": "Traffic"});
        let call = Call::post("/api/v1/users").json(&form);
        expect("POST /users", 201, &self.client.send(&call).await?)
    }

    /// Signs a user in.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 401 `invalid_credentials` if the address or the password is wrong.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Shopper, Error> {
        let form = json!({"email": email, "password": password});
        let call = Call::post("/api/v1/sessions").json(&form);
        let answer = self.client.send(&call).await?;
        let session: SignedIn = parsed("POST /sessions", 201, &answer)?;
        Ok(self.shopper(&session.token))
    }

    /// Signs the admin in.
    ///
    /// # Errors
    ///
    /// Those of [`Self::sign_in`].
    pub async fn admin(&self, password: &str) -> Result<Shopper, Error> {
        self.sign_in("admin@shop.example", password).await
    }

    /// Returns the user with this session token.
    #[must_use]
    pub fn shopper(&self, token: &str) -> Shopper {
        let auth = HeaderValue::try_from(format!("Bearer {token}"));
        Shopper {
            client: self.client.clone(),
            auth: auth.unwrap_or(HeaderValue::from_static("Bearer -")),
        }
    }

    /// Creates signed-in shoppers without the cost of hashing. Only with the stand-ins (`--dev`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 403 if the shop runs without the stand-ins.
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

    /// Returns all products.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] or [`Error::Http`].
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

    /// Sets the faults of the stand-in provider.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 403 if the shop runs without the stand-ins.
    pub async fn set_faults(&self, faults: &Value) -> Result<(), Error> {
        let call = Call::put("/dev/provider/faults").json(faults);
        expect(
            "PUT /dev/provider/faults",
            200,
            &self.client.send(&call).await?,
        )
    }

    /// Sends any request without a session, and returns the reply whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if there is no reply.
    pub async fn ask(&self, call: &Call<'_>) -> Result<Answer, Error> {
        Ok(self.client.send(call).await?)
    }
}

impl Shopper {
    /// Sends any request as this user, and returns the reply whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if there is no reply.
    pub async fn ask(&self, call: Call<'_>) -> Result<Answer, Error> {
        Ok(self.client.send(&call.auth(&self.auth)).await?)
    }

    /// Places an order with a new idempotency key, and retries until there is a reply.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the shop refuses the order; the last failure if there is no reply
    /// within `limit`.
    pub async fn place(&self, order: &Order, limit: Duration) -> Result<Placed, Error> {
        self.place_as(&key(), order, limit).await
    }

    /// Places an order with this idempotency key, and retries until there is a reply. All attempts
    /// are one order.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the shop refuses the order; the last failure if there is no reply
    /// within `limit`.
    pub async fn place_as(
        &self,
        key: &HeaderValue,
        order: &Order,
        limit: Duration,
    ) -> Result<Placed, Error> {
        let until = Instant::now() + limit;
        let call = Call::post("/api/v1/orders").key(key).json(order);
        let mut pause = RETRY_AFTER;
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
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
    }

    /// Returns the state of an order.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 404 if the user has no such order.
    pub async fn order(&self, id: &str) -> Result<Status, Error> {
        let answer = self.ask(Call::get(&format!("/api/v1/orders/{id}"))).await?;
        parsed("GET /orders/{id}", 200, &answer)
    }

    /// Returns all orders of the user, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] or [`Error::Http`].
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

    /// Waits until an order is paid or has ended.
    ///
    /// # Errors
    ///
    /// [`Error::TooLate`] if that takes longer than `limit`.
    pub async fn wait_paid(&self, id: &str, limit: Duration) -> Result<Status, Error> {
        self.wait(id, "paid", limit, |it| it.is_paid() || it.is_ended())
            .await
    }

    /// Waits until an order has ended.
    ///
    /// # Errors
    ///
    /// [`Error::TooLate`] if that takes longer than `limit`.
    pub async fn wait_ended(&self, id: &str, limit: Duration) -> Result<Status, Error> {
        self.wait(id, "ended", limit, Status::is_ended).await
    }

    async fn wait(
        &self,
        id: &str,
        state: &'static str,
        limit: Duration,
        reached: impl Fn(&Status) -> bool,
    ) -> Result<Status, Error> {
        let until = Instant::now() + limit;
        loop {
            let late = Instant::now() > until;
            match self.order(id).await {
                Ok(status) if reached(&status) => return Ok(status),
                Ok(_) if late => return Err(Error::TooLate { state, limit }),
                Err(why) if late || !why.is_retryable() => return Err(why),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Cancels an order.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 409 `not_cancellable` if the order can no longer be cancelled.
    pub async fn cancel(&self, id: &str) -> Result<(), Error> {
        let path = format!("/api/v1/orders/{id}/cancel");
        expect(
            "POST /orders/{id}/cancel",
            202,
            &self.ask(Call::post(&path)).await?,
        )
    }

    /// Opens the live stream of the user's orders. With `after`, it resumes after that event.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if the stream cannot be opened.
    pub async fn stream(&self, after: Option<&HeaderValue>) -> Result<EventStream, Error> {
        let call = Call::get("/api/v1/stream").auth(&self.auth).after(after);
        Ok(self.client.events(&call).await?)
    }

    /// Returns the report of the audit, parsed and as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 403 `forbidden` for a customer.
    pub async fn audit(&self) -> Result<(Report, String), Error> {
        let call = Call::get("/api/v1/admin/audit").within(AUDIT_WITHIN);
        let answer = self.ask(call).await?;
        let report = parsed("GET /admin/audit", 200, &answer)?;
        Ok((report, String::from_utf8_lossy(&answer.body).into_owned()))
    }
}

/// The longest wait for an audit. It reads every order that there ever was.
const AUDIT_WITHIN: Duration = Duration::from_secs(30 * 60);

/// Generates an idempotency key.
#[must_use]
pub fn key() -> HeaderValue {
    HeaderValue::try_from(token()).unwrap_or(HeaderValue::from_static("key"))
}

fn token() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn expect(request: &'static str, status: u16, answer: &Answer) -> Result<(), Error> {
    if answer.status.as_u16() == status {
        return Ok(());
    }
    Err(refused(request, answer))
}

pub(crate) fn parsed<T: DeserializeOwned>(
    request: &'static str,
    status: u16,
    answer: &Answer,
) -> Result<T, Error> {
    expect(request, status, answer)?;
    Ok(answer.json(::http::Method::GET, request)?)
}

fn refused(request: &'static str, answer: &Answer) -> Error {
    Error::Refused {
        request,
        status: answer.status.as_u16(),
        problem: serde_json::from_slice(&answer.body).unwrap_or_default(),
    }
}
