//! A library: `library` lends books, `statistics` counts them. The services share one event; each
//! has its own data.

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = book)]
struct BookLent {
    book: String,
    reader: String,
}

/// Lends a book, unless another reader has it.
async fn lend(Json(loan): Json<BookLent>, claims: Claims, scope: Scope) -> Result<Reply, Problem> {
    if !claims.claim("lent", &loan.book, &loan.reader).await? {
        let detail = "another reader has this book";
        return Err(Problem::new(409, "already_lent", detail));
    }
    scope.publish(&loan)?;
    Ok(accepted(&loan))
}

fn library() -> Service {
    Service::new("library").routes(Routes::new().route("/loans", post(lend)))
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Loans {
    books: u32,
}

impl Entity for Loans {
    const NAME: &'static str = "loans";
    type Id = String;
}

/// Counts the books of a reader: exactly once for each loan.
async fn count(event: BookLent, loans: Table<Loans>) -> Result<()> {
    let known = loans.get(&event.reader).await?.unwrap_or_default();
    let books = known.books + 1;
    loans.put(&event.reader, Loans { books })
}

async fn show(Path(reader): Path<String>, reads: Reads) -> Result<Reply, Problem> {
    let loans = reads.entity::<Loans>(&reader).await?;
    Ok(ok(&loans.unwrap_or_default()))
}

fn statistics() -> Service {
    let routes = Routes::new().route("/readers/{reader}", get(show));
    Service::new("statistics").routes(routes).on(count)
}

/// The whole system.
fn system() -> App {
    App::new().service(library()).service(statistics())
}

fn main() -> ExitCode {
    wingbeat::run(|_: &Settings| system())
}
