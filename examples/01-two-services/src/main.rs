//! Two services that share only an event: a library lends books, and statistics counts loans. Start
//! it with `cargo run -p example-01-two-services`, and lend books as in `try.sh`.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use wingbeat::Stored;
use wingbeat::prelude::*;

/// A book was lent. Name and version are the contract. Events of one book keep their order.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = book)]
struct BookLent {
    book: String,
    reader: String,
}

/// The number of books that a reader has borrowed.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Loans(u32);

impl Entity for Loans {
    const NAME: &'static str = "loans";
    type Id = String;
}

/// Lends each book to one reader. The claim and the event become durable before the reply.
async fn lend(Json(loan): Json<BookLent>, claims: Claims, scope: Scope) -> Result<Reply, Problem> {
    if !claims.claim("lent", &loan.book, &loan.reader).await? {
        return Err(Problem::new(409, "already_lent", "another reader has it"));
    }
    scope.publish(&loan)?;
    Ok(accepted(&loan))
}

/// Counts each loan once, even if the event is delivered again.
async fn count(event: BookLent, loans: Table<Loans>) -> Result<()> {
    let one_more = |known: Option<Loans>| Loans(known.unwrap_or_default().0 + 1);
    loans.update(&event.reader, one_more).await.map(drop)
}

async fn show(Path(reader): Path<String>, reads: Reads) -> Result<Reply, Problem> {
    Ok(ok(&reads.entity::<Loans>(&reader).await?))
}

fn system() -> App {
    let loans = Routes::new().route("/loans", post(lend));
    let readers = Routes::new().route("/readers/{reader}", get(show));
    let statistics = Service::new("statistics").on(count).routes(readers);
    let statistics = statistics.stores(Stored::entity::<Loans>());
    let library = Service::new("library").routes(loans);
    let library = library.publishes::<BookLent>();
    App::new().service(library).service(statistics)
}

fn main() -> ExitCode {
    wingbeat::run(|_: &Settings| system())
}

/// Fails after a change that the last release, or what it has stored, does not get along with.
/// `cargo run -p example-01-two-services -- contracts examples/01-two-services/contracts` writes
/// the files.
#[test]
fn the_last_release_gets_along_with_this_one() {
    wingbeat::contracts::assert_kept(&system(), "contracts");
}
