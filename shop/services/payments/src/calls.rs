//! The call to the payment provider.

use serde::{Deserialize, Serialize};
use serde_json::json;
use shop_contracts::{Money, OrderId};
use thiserror::Error;
use wingbeat::call::Http;
use wingbeat::outgoing::{Request, Response};
use wingbeat::{Call, Command, Failure, GaveUp, JsonSchema, OperationKey, State, schemars};

use crate::config::ProviderUrl;
use crate::domain::{Answer, Operation};

/// An operation on an order's payment, carried out by the provider.
#[derive(Call, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[call(name = "payments.provider", target = "provider", key = operation_id, outcome = ProviderAnswered)]
pub struct AskProvider {
    /// The idempotency key: the order and the operation.
    pub operation_id: String,
    /// The order.
    pub order_id: OrderId,
    /// The operation.
    pub operation: Operation,
    /// The amount.
    pub amount: Money,
    /// The token of the card.
    pub token: String,
}

/// The provider's answer. The command is private to this service.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.provider_answered", version = 1, key = order_id, internal)]
pub struct ProviderAnswered {
    /// The order.
    pub order_id: OrderId,
    /// The operation.
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

/// The reason why the provider gave no answer.
#[derive(Debug, Error, Failure)]
pub enum ProviderError {
    /// The provider is unavailable or sent no complete answer. Whether it acted is unknown.
    #[error("the payment provider did not answer ({0})")]
    #[failure(retry)]
    Unavailable(String),
    /// The provider refuses the request itself.
    #[error("the payment provider refuses the request: {0}")]
    #[failure(reject)]
    BadRequest(String),
}

#[derive(Deserialize)]
struct Body {
    status: String,
}

/// Carries out the call.
///
/// The provider repeats its recorded answer for a repeated key. An unknown outcome is therefore
/// resolved by another attempt, never by a guess.
pub(crate) async fn ask_provider(
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
    let answer = parse(&response)?;
    Ok(ProviderAnswered {
        order_id: call.order_id,
        operation: call.operation,
        answer,
    })
}

fn parse(response: &Response) -> Result<Answer, ProviderError> {
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
