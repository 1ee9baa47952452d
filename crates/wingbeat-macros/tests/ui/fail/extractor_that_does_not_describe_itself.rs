use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wingbeat::http::{Problem, Reply, Routes, get, no_content};

struct Tenant;

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self)
    }
}

async fn show(_: Tenant) -> Result<Reply, Problem> {
    Ok(no_content())
}

fn main() {
    let _: Routes = Routes::new().route("/", get(show));
}
