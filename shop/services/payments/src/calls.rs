//! The one outside call: an operation at the payment provider.

use serde::{Deserialize, Serialize};
use serde_json::json;
use shop_contracts::{Money, OrderId};
use thiserror::Error;
use wingbeat::call::Http;
use wingbeat::outgoing::{Request, Response};
use wingbeat::{Call, Command, Failure, GaveUp, JsonSchema, OperationKey, State, schemars};

use crate::config::ProviderUrl;
use crate::domain::{Answer, Operation};

/// Asks the provider for an operation on an order's payment.
#[derive(Call, Clone, Debug, Serialize, Deserialize)]
#[call(name = "payments.provider", target = "provider", key = operation_id, outcome = ProviderAnswered)]
pub struct AskProvider {
    /// Order and operation: the idempotency key.
    pub operation_id: String,
    /// The order.
    pub order_id: OrderId,
    /// What to do.
    pub operation: Operation,
    /// How much.
    pub amount: Money,
    /// The card.
    pub token: String,
}

/// What the provider answered. Private to this service.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.provider_answered", version = 1, key = order_id, internal)]
pub struct ProviderAnswered {
    /// The order.
    pub order_id: OrderId,
    /// What was to be done.
    pub operation: Operation,
    /// The answer.
    pub answer: Answer,
}

impl GaveUp<AskProvider> for ProviderAnswered {
    fn gave_up(call: &AskProvider, _why: &wingbeat::Error) -> Self {
        Self {
            order_id: call.order_id,
            operation: call.operation,
            answer: Answer::Refused,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Error, Failure)]
pub enum ProviderError {
    /// It is out of order, or gave no complete answer: whether it acted is unknown.
    #[error("the provider did not answer ({0})")]
    #[failure(retry)]
    Unavailable(String),
    /// It does not understand us.
    #[error("the provider refuses the request: {0}")]
    #[failure(reject)]
    BadRequest(String),
}

#[derive(Deserialize)]
struct Body {
    status: String,
}

/// Carries out the call. Repeated with the same key it repeats the recorded answer, so an unknown
/// outcome is resolved by asking again, never by guessing.
///
/// # Errors
///
/// No answer, or a refusal of the request itself.
pub async fn ask_provider(
    call: AskProvider,
    OperationKey(key): OperationKey,
    State(ProviderUrl(provider)): State<ProviderUrl>,
    http: Http,
) -> Result<ProviderAnswered, ProviderError> {
    let body = match call.operation {
        Operation::Authorize => json!({
            "order_id": call.order_id, "amount_minor": call.amount.amount_minor, "currency": "EUR", "token": call.token,
        }),
        Operation::Capture | Operation::Refund => {
            json!({ "order_id": call.order_id, "amount_minor": call.amount.amount_minor, "currency": "EUR" })
        }
        Operation::Void => json!({ "order_id": call.order_id }),
    };
    let path = match call.operation {
        Operation::Authorize => "authorizations",
        Operation::Capture => "captures",
        Operation::Void => "voids",
        Operation::Refund => "refunds",
    };
    let request = Request {
        method: "POST",
        url: format!("{provider}/v1/{path}"),
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("idempotency-key".into(), key),
        ],
        body: body.to_string().into_bytes().into(),
        timeout: http.policy.timeout,
    };
    let response = http
        .client
        .send(request)
        .await
        .map_err(|why| ProviderError::Unavailable(why.to_string()))?;
    let answer = understand(&response)?;
    Ok(ProviderAnswered {
        order_id: call.order_id,
        operation: call.operation,
        answer,
    })
}

fn understand(response: &Response) -> Result<Answer, ProviderError> {
    match response.status {
        200 => {
            let body: Body = serde_json::from_slice(&response.body)
                .map_err(|why| ProviderError::Unavailable(why.to_string()))?;
            let refused = matches!(body.status.as_str(), "declined" | "refused");
            Ok(if refused {
                Answer::Refused
            } else {
                Answer::Done
            })
        }
        status @ (408 | 429 | 500..) => Err(ProviderError::Unavailable(format!("status {status}"))),
        status => Err(ProviderError::BadRequest(format!("status {status}"))),
    }
}
