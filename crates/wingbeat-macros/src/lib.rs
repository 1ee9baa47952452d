//! The derive macros of Wingbeat, and the attribute `#[wingbeat::test]`.
//!
//! Use them through the `wingbeat` crate, which re-exports them: the code that they generate names
//! its paths.

#![deny(missing_docs)]

mod call;
mod failure;
mod message;
mod options;
mod parts;
mod saga;
mod test;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

fn expand(
    input: TokenStream,
    derive: fn(&DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// An event: `#[event(name = "orders.order_placed", version = 1, key = order_id)]`. `internal` at
/// the end keeps it out of documents for other services.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "event"))
}

/// A command: `#[command(name = "inventory.reserve_stock", version = 1, key = order_id)]`.
/// `internal` at the end keeps it out of documents for other services.
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "command"))
}

/// Implements `Request` and `Message` for a struct.
///
/// `#[request(name = "service.name", version = 1, key = field, reply = Type)]`: the options of
/// `Command`, and the type of the reply.
#[proc_macro_derive(Request, attributes(request))]
pub fn request(input: TokenStream) -> TokenStream {
    expand(input, message::request)
}

/// Implements `wingbeat::Call`: a call to an outside system.
///
/// `#[call(name = "payments.authorize", target = "provider", key = order_id, outcome =
/// Authorization)]`
///
/// - `name`: the service and the call.
/// - `target`: the outside system. Its policy sets timeout, retries and circuit breaker.
/// - `key`: the field that identifies the business operation. Name and field form the idempotency
///   key of all attempts.
/// - `outcome`: the message type that returns the result.
#[proc_macro_derive(Call, attributes(call))]
pub fn call(input: TokenStream) -> TokenStream {
    expand(input, call::derive)
}

/// Implements `wingbeat::SagaInput` for an enum with one message type per variant.
///
/// `#[saga(start)]` marks a message that starts the saga. `#[saga(timer)]` marks one that the saga
/// sets as a timer for itself.
#[proc_macro_derive(SagaInput, attributes(saga))]
pub fn saga_input(input: TokenStream) -> TokenStream {
    expand(input, saga::derive)
}

/// Implements `wingbeat::Failure` for an error enum, so that `?` converts it into a
/// `wingbeat::Error`.
///
/// `#[failure(retry)]` marks a variant that a later attempt may overcome, `#[failure(reject)]` one
/// that no attempt can overcome. The code is the name of the variant in snake case.
///
/// ```
/// use wingbeat::{Class, Error, Failure};
///
/// #[derive(Debug, thiserror::Error, Failure)]
/// enum Quote {
///     #[error("no price list is loaded")]
///     #[failure(retry)]
///     NoPriceList,
///     #[error("`{0}` is not a currency")]
///     #[failure(reject)]
///     UnknownCurrency(String),
/// }
///
/// let error = Error::from(Quote::NoPriceList);
/// assert_eq!((error.class(), error.code()), (Class::Retry, "no_price_list"));
/// ```
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(input: TokenStream) -> TokenStream {
    expand(input, failure::derive)
}

/// Turns a function into a test that runs once per seed: ten by default, more with
/// `#[wingbeat::test(seeds = 100)]`.
///
/// The function takes its simulated world, `async fn name(world: Simulation)`. A failure names the
/// seed. The crate needs the feature `test` of `wingbeat`.
#[proc_macro_attribute]
pub fn test(options: TokenStream, input: TokenStream) -> TokenStream {
    let function = parse_macro_input!(input as syn::ItemFn);
    test::expand(options.into(), &function)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Implements `wingbeat::Part` for each field of a service's state, so that handlers can take the
/// field as `State<FieldType>`.
///
/// `#[part(skip)]` leaves a field out. No two fields may have the same type.
///
/// ```
/// use wingbeat::{Part, Parts};
///
/// #[derive(Clone, PartialEq, Debug)]
/// struct TaxRate(u32);
///
/// #[derive(Clone, Parts)]
/// struct Settings {
///     tax: TaxRate,
///     #[part(skip)]
///     note: String,
/// }
///
/// let settings = Settings { tax: TaxRate(19), note: String::new() };
/// assert_eq!(TaxRate::part(&settings), TaxRate(19));
/// # drop(settings.note);
/// ```
#[proc_macro_derive(Parts, attributes(part))]
pub fn parts(input: TokenStream) -> TokenStream {
    expand(input, parts::derive)
}
