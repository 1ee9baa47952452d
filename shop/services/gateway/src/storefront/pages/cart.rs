//! `/cart`: the cart and the checkout. A module in the browser renders the lines, because they
//! change there.

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::super::{api::Api, response, shell::Shell};

/// A test card of the stand-in payment company.
struct Card {
    token: &'static str,
    name: &'static str,
    text: &'static str,
}

const CARDS: [Card; 5] = [
    Card {
        token: "tok_ok",
        name: "Works",
        text: "Paid at once.",
    },
    Card {
        token: "tok_declined",
        name: "Declined",
        text: "The bank declines.",
    },
    Card {
        token: "tok_slow",
        name: "Slow bank",
        text: "Answers after 2 s.",
    },
    Card {
        token: "tok_flaky",
        name: "Flaky bank",
        text: "Fails twice, then works.",
    },
    Card {
        token: "tok_lost_reply",
        name: "Lost reply",
        text: "Paid, but the reply is lost.",
    },
];

#[derive(Template)]
#[template(path = "cart.html")]
struct Cart {
    shell: Shell,
    cards: &'static [Card],
}

pub(crate) async fn page(State(api): State<Api>, visitor: Parts) -> Response {
    let shell = Shell::of(&api, &visitor, "/cart").await;
    response::page(
        StatusCode::OK,
        &visitor.headers,
        &Cart {
            shell,
            cards: &CARDS,
        },
    )
}
