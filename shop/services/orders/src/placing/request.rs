//! The request of `POST /orders`: its validation, and the wait for the copies that it needs.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use serde::{Deserialize, Serialize};
use shop_contracts::carts::SEEN_VERSION;
use shop_contracts::{Money, OrderId, QUANTITY_MAX, UserId, is_line};
use wingbeat::ServiceContext;
use wingbeat::describe::RequestDescription;
use wingbeat::http::session::Session;
use wingbeat::http::{Caller, DescribeRequest, FieldError, Json, Problem};
use wingbeat::{JsonSchema, Personal, Reads, Result, schemars};

use super::claim;
use super::waiting::{PROMO_WAIT, until};
use crate::State;
use crate::copies::{CartCopy, PromoCopy};

/// The most distinct SKUs in an order.
const LINES_MAX: usize = 50;
/// The longest field of an address, in characters.
const ADDRESS_MAX: usize = 200;
/// The longest promo code, in characters. Codes of the shop are shorter.
const PROMO_MAX: usize = 100;
/// The tokens of the stand-in provider's test cards.
const TOKENS: [&str; 5] = [
    "tok_ok",
    "tok_declined",
    "tok_slow",
    "tok_flaky",
    "tok_lost_reply",
];

/// The body of `POST /orders`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// Each SKU once. Without items the caller's cart is bought.
    #[schemars(length(min = 1, max = LINES_MAX))]
    pub(super) items: Option<Vec<Item>>,
    #[schemars(length(max = PROMO_MAX))]
    pub(super) promo_code: Option<String>,
    /// A confirmed claim on a flash sale, whose unit is bought. Not together with items or a promo.
    pub(super) flash_claim_id: Option<String>,
    /// The order is refused if its total differs.
    pub(super) expected_total: Option<Money>,
    #[schemars(extend("enum" = TOKENS))]
    pub(super) payment_token: String,
    pub(super) address: Address,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OrderItem")]
pub(super) struct Item {
    pub(super) sku: String,
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    pub(super) quantity: u32,
}

/// The address of an order. No event contains it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    #[schemars(length(min = 1, max = ADDRESS_MAX))]
    line1: String,
    #[schemars(length(min = 1, max = ADDRESS_MAX))]
    city: String,
    #[schemars(length(min = 1, max = ADDRESS_MAX))]
    postal_code: String,
    /// Two capital letters (ISO 3166-1), such as `DE`.
    #[schemars(regex(pattern = "^[A-Z]{2}$"))]
    country: String,
}

/// The stored address of an order, encrypted under the key of the order's owner.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StoredAddress(pub Personal<Address>);

impl wingbeat::Entity for StoredAddress {
    const NAME: &'static str = "address";
    type Id = OrderId;
}

/// A validated request. The copies of the cart and of the promo that it needs have arrived, or the
/// wait for them is over.
pub struct Ready(pub(super) PlaceOrder);

impl DescribeRequest for Ready {
    fn describe(request: &mut RequestDescription) {
        Caller::describe(request);
        Json::<PlaceOrder>::describe(request);
    }
}

impl FromRequest<State> for Ready {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Caller(session) = Caller::from_request_parts(&mut parts, state).await?;
        let context = parts.extensions.get::<Arc<ServiceContext>>().cloned();
        let reads = parts.extensions.get::<Reads>().cloned();
        let request = Request::from_parts(parts, body);
        let Json(order) = Json::<PlaceOrder>::from_request(request, state).await?;
        check(&order)?;
        if let (Some(context), Some(reads)) = (context, reads) {
            let (user, seen) = (UserId(session.user_id), seen_version(&session));
            // After the wait, the unit of work decides what a missing copy means.
            if let Some(id) = &order.flash_claim_id {
                let claim = claim::parsed(id)?;
                claim::arrived(&context, &reads, claim, user, state.config.cart_wait).await?;
                check_claim(&order)?;
            } else if order.items.is_none() {
                let cart = || async { Ok(version(&reads, user).await? >= seen) };
                until(&context, state.config.cart_wait, cart).await?;
            }
            if let Some(code) = order.promo_code.as_deref().map(canonical) {
                let promo = || async { Ok(reads.entity::<PromoCopy>(&code).await?.is_some()) };
                let wait = state.config.cart_wait.min(PROMO_WAIT);
                until(&context, wait, promo).await?;
            }
        }
        Ok(Self(order))
    }
}

/// Returns the stored form of a promo code.
pub(super) fn canonical(code: &str) -> String {
    code.trim().to_ascii_uppercase()
}

/// Returns the newest version of the cart that this session has been shown.
pub(super) fn seen_version(session: &Session) -> u64 {
    session.claim(SEEN_VERSION).unwrap_or_default()
}

async fn version(reads: &Reads, user: UserId) -> Result<u64> {
    let cart = reads.entity::<CartCopy>(&user).await?;
    Ok(cart.map_or(0, |cart| cart.version))
}

fn check(request: &PlaceOrder) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError {
            pointer,
            message: message.into(),
        });
    };
    if !TOKENS.contains(&request.payment_token.as_str()) {
        wrong("/payment_token".into(), "unknown token");
    }
    let code = request.promo_code.as_deref().unwrap_or_default();
    if code.chars().count() > PROMO_MAX {
        wrong("/promo_code".into(), "at most 100 characters");
    }
    let address = &request.address;
    for (name, value) in [
        ("line1", &address.line1),
        ("city", &address.city),
        ("postal_code", &address.postal_code),
    ] {
        if !is_line(value, ADDRESS_MAX) {
            let rule = "1 to 200 characters, no invisible or control characters";
            wrong(format!("/address/{name}"), rule);
        }
    }
    let country = address.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        wrong("/address/country".into(), "two capital letters, such as DE");
    }
    let items = request.items.as_deref().unwrap_or_default();
    if request.items.is_some() && (items.is_empty() || items.len() > LINES_MAX) {
        wrong("/items".into(), "1 to 50 distinct SKUs");
    }
    for (at, item) in items.iter().enumerate() {
        if !(1..=QUANTITY_MAX).contains(&item.quantity) {
            wrong(format!("/items/{at}/quantity"), "1 to 99");
        }
        if items[..at].iter().any(|earlier| earlier.sku == item.sku) {
            wrong(format!("/items/{at}/sku"), "this SKU occurs twice");
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::fields(errors))
    }
}

/// Checks that nothing else is ordered together with a claim.
fn check_claim(request: &PlaceOrder) -> Result<(), Problem> {
    let others = [
        ("/items", request.items.is_some()),
        ("/promo_code", request.promo_code.is_some()),
    ];
    let errors = others.into_iter().filter(|(_, is_there)| *is_there);
    let errors = errors.map(|(pointer, _)| FieldError {
        pointer: pointer.into(),
        message: "not together with a flash claim".into(),
    });
    let errors: Vec<_> = errors.collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::fields(errors))
}
