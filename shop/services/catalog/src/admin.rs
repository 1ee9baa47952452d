//! The admin's routes.

use axum::extract;
use axum::response::{IntoResponse, Response};
use shop_contracts::catalog::{PriceChanged, ProductListed, ProductRetired};
use shop_contracts::{Price, Sku};
use wingbeat::http::{
    Admin, Context, FieldError, Json, Path, Problem, Routes, no_content, ok, plain,
};
use wingbeat::{Effects, Error, Rows, Scope, Table, run_unit};

use crate::State;
use crate::domain::{Change, Offer, Product};
use crate::views::ProductRow;

/// The admin's routes.
pub(crate) fn routes() -> Routes<State> {
    let product = "/api/v1/admin/products/{sku}";
    Routes::new()
        .route(
            product,
            plain::put(offer)
                .summary("Lists a product or changes its listing")
                .answers::<ProductRow>(200),
        )
        .route(
            product,
            plain::delete(retire)
                .summary("Retires a product")
                .answers::<()>(204),
        )
}

async fn offer(
    _: Admin,
    Path(sku): Path<Sku>,
    extract::State(State { cache }): extract::State<State>,
    Context(context): Context,
    Json(offer): Json<Offer>,
) -> Result<Response, Problem> {
    let faults = offer.faults();
    if !faults.is_empty() {
        let error = |(pointer, message): (&str, &str)| FieldError {
            pointer: pointer.into(),
            message: message.into(),
        };
        return Err(Problem::fields(faults.into_iter().map(error).collect()));
    }
    let (sku, offer) = (&sku, &offer);
    let product = run_unit::<_, Problem, _>(&context, |scope| async move {
        Ok(list(&scope, sku, offer.clone()).await?)
    })
    .await?;
    cache.invalidate(&context, sku).await;
    let row = ProductRow::of(sku.as_str(), &product).ok_or_else(Problem::not_found)?;
    Ok(ok(&row).into_response())
}

/// Lists a product under this offer, and publishes the change.
pub(crate) async fn list(scope: &Scope, sku: &Sku, offer: Offer) -> wingbeat::Result<Product> {
    let products = Table::<Product>::of(scope);
    let known = products.get(sku).await?.unwrap_or_default();
    let (product, change) = known.offered(offer);
    let (Some(listing), true) = (product.sold(), change != Change::Nothing) else {
        return Ok(product);
    };
    let price = Price::new(listing.price);
    let price = price.map_err(|why| Error::reject("invalid", why.to_string()))?;
    let version = listing.version;
    let mut effects = Effects::new();
    effects.publish(&ProductListed {
        sku: sku.clone(),
        name: listing.name.clone(),
        price,
        version,
    });
    if change == Change::Repriced {
        effects.publish(&PriceChanged {
            sku: sku.clone(),
            price,
            version,
        });
    }
    scope.emit(effects)?;
    products.put(sku, product.clone())?;
    Ok(product)
}

async fn retire(
    _: Admin,
    Path(sku): Path<Sku>,
    extract::State(State { cache }): extract::State<State>,
    Context(context): Context,
) -> Result<Response, Problem> {
    let sku = &sku;
    run_unit::<_, Problem, _>(&context, |scope| async move {
        let products = Table::<Product>::of(&scope);
        let known = products.get(sku).await?.unwrap_or_default();
        if known.listing.is_none() {
            return Err(Problem::not_found());
        }
        let Some(gone) = known.retired() else {
            return Ok(()); // Retired before: the reply is the same.
        };
        let version = gone.listing.as_ref().map_or(0, |listing| listing.version);
        products.put(sku, gone)?;
        Rows::<ProductRow>::of(&scope).remove(sku.as_str())?;
        let mut effects = Effects::new();
        effects.publish(&ProductRetired {
            sku: sku.clone(),
            version,
        });
        scope.emit(effects)?;
        Ok(())
    })
    .await?;
    cache.invalidate(&context, sku).await;
    Ok(no_content().into_response())
}
