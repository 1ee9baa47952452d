//! Two services that share nothing but an event: a library lends a book, and a statistician counts.
//! Each book is lent to one reader, and each loan is counted once.
//!
//! `cargo run -p example-01-two-services`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::TokioRuntime;
use wingbeat::call::HyperClient;
use wingbeat::{
    App, Claims, Effects, Entity, Error, Event, JsonSchema, Result, Running, Runtime as _, Service,
    Table, run_unit, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

/// What the library tells. The name and version are the contract; the key keeps a book's events apart.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = book)]
struct BookLent {
    book: String,
    reader: String,
}

/// What the statistician keeps: one record a reader.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Loans {
    books: u32,
}

impl Entity for Loans {
    const NAME: &'static str = "loans";
    type Id = String;
}

/// A handler: the message comes first, then what it works with. What it writes, and that it has handled
/// this message, become durable together or not at all.
async fn count(event: BookLent, loans: Table<Loans>) -> Result<()> {
    let counted = loans.update(&event.reader, |known| Loans {
        books: known.unwrap_or_default().books + 1,
    });
    counted.await.map(drop)
}

/// Lends a book to one reader only: the claim decides, not a query.
async fn lend(library: &Running, book: &str, reader: &str) -> Result<bool> {
    let service = library
        .service("library")
        .ok_or_else(|| Error::reject("away", "no library"))?;
    run_unit(&service, |scope| async move {
        let claims = Claims::of(&scope);
        if claims.owner("lent", book).await?.is_some() {
            return Ok(false);
        }
        claims.claim("lent", book, reader).await?;
        let mut effects = Effects::new();
        effects.publish(&BookLent {
            book: book.into(),
            reader: reader.into(),
        });
        scope.emit(effects)?;
        Ok(true)
    })
    .await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).map_err(told)?;
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded,
        cache: EmbeddedCache::open(directory.path(), runtime.clone()).map_err(told)?,
        http: HyperClient::new(),
    };
    let app = App::new()
        .service(Service::new("library"))
        .service(Service::new("statistics").on(count));
    let running = app.start(ports).await.map_err(told)?;

    for (book, reader) in [("Emma", "Ada"), ("Emma", "Eve"), ("Walden", "Ada")] {
        let lent = lend(&running, book, reader).await.map_err(told)?;
        println!(
            "{reader} wants {book}: {}",
            if lent { "lent" } else { "somebody has it" }
        );
    }

    let reads = running
        .reads("statistics")
        .ok_or_else(|| anyhow::anyhow!("no statistics"))?;
    let ada = loop {
        match reads
            .entity::<Loans>(&"Ada".to_owned())
            .await
            .map_err(told)?
        {
            Some(loans) if loans.books >= 2 => break loans.books,
            _ => runtime.sleep(Duration::from_millis(5)).await,
        }
    };
    println!("Ada has borrowed {ada} books");
    anyhow::ensure!(ada == 2, "counted once each");
    running.drain().await;
    Ok(())
}

fn told(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
