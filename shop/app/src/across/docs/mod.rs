//! `/openapi.json` and `/asyncapi.json` of the whole shop: its services, and the routes that
//! combine them.

use axum::Router;
use wingbeat::describe::{Info, System};
use wingbeat::run::{documents, health_routes};

use super::{admin, audit, dev, timeline};

/// The routes, for a shop with these services. With `dev`, the document includes the routes of the
/// stand-ins.
pub fn routes(services: &System, dev: bool) -> Router {
    documents(system(services, dev), &info())
}

fn info() -> Info {
    Info::new("The shop", "1").description(
        "Sign in with `POST /api/v1/sessions`: browsers then send the session's cookie, other clients \
         its token. Errors are problems (RFC 9457).",
    )
}

/// Returns the whole shop for the command `contracts`: without the stand-ins' routes.
pub fn contracts(services: &System) -> (System, Info) {
    (system(services, false), info())
}

/// Returns the services, and all routes that belong to none of them.
fn system(services: &System, dev: bool) -> System {
    let across = [
        timeline::described().into_parts().1,
        admin::described().into_parts().1,
        audit::operations(),
        health_routes().into_parts().1,
        shop_gateway::storefront::operations(),
        if dev { dev::operations() } else { Vec::new() },
    ];
    services.clone().operations(across.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use wingbeat::describe::{asyncapi, openapi};
    use wingbeat::test::documents::{asyncapi_faults, openapi_faults};

    use super::*;
    use crate::compose::services;

    /// Methods, paths and statuses: clients rely on them.
    const ROUTES: &str = include_str!("routes.txt");
    /// Names of messages: other programs rely on them.
    const MESSAGES: &str = include_str!("messages.txt");

    fn whole() -> System {
        system(&services::described(), true)
    }

    #[test]
    fn both_documents_are_well_formed() {
        let system = whole();
        let nothing: [String; 0] = [];
        assert_eq!(openapi_faults(&openapi(&system, &info())), nothing);
        assert_eq!(asyncapi_faults(&asyncapi(&system, &info())), nothing);
    }

    #[test]
    fn every_route_answers_with_the_statuses_that_clients_know() {
        let document = openapi(whole(), &info());
        let mut lines = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("there are paths") {
            for (method, operation) in methods.as_object().expect("they have methods") {
                lines.push(line(method, path, operation));
            }
        }
        let found = lines.join("\n") + "\n";
        assert_eq!(found, ROUTES, "found:\n{found}");
    }

    fn line(method: &str, path: &str, operation: &Value) -> String {
        let responses = operation["responses"].as_object().expect("it answers");
        let statuses = responses.keys().filter(|status| *status != "default");
        let statuses: Vec<_> = statuses.map(String::as_str).collect();
        let method = method.to_uppercase();
        format!("{method} {path} {}", statuses.join(" "))
    }

    #[test]
    fn every_message_has_a_channel_a_schema_and_a_known_name() {
        let document = asyncapi(whole(), &info());
        let channels = document["channels"]
            .as_object()
            .expect("there are channels");
        let names: Vec<_> = channels.keys().map(String::as_str).collect();
        let found = names.join("\n") + "\n";
        assert_eq!(found, MESSAGES, "found:\n{found}");
        let placed = &document["components"]["messages"]["orders.order_placed.v1"];
        assert_eq!(
            placed["payload"]["$ref"],
            "#/components/schemas/OrderPlaced"
        );
        let schema = &document["components"]["schemas"]["OrderPlaced"];
        assert!(schema["properties"]["order_id"].is_object(), "{schema}");
    }

    #[test]
    fn the_constraints_of_requests_are_documented() {
        let document = openapi(whole(), &info());
        let order = &document["components"]["schemas"]["PlaceOrder"];
        assert_eq!(order["properties"]["items"]["maxItems"], 50);
        assert_eq!(order["properties"]["payment_token"]["enum"][0], "tok_ok");
        assert_eq!(order["additionalProperties"], false);
        let listing = &document["paths"]["/api/v1/products"]["get"]["parameters"];
        let limit = listing.as_array().expect("it has parameters").iter();
        let limit = limit.clone().find(|it| it["name"] == "limit");
        let limit = &limit.expect("it has a limit")["schema"];
        assert_eq!(
            (&limit["minimum"], &limit["maximum"], &limit["default"]),
            (&1.into(), &100.into(), &20.into())
        );
    }
}
