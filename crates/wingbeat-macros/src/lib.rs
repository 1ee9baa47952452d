//! The derives of Wingbeat. Documented where they are used: in the `wingbeat` crate.

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

/// An event: `#[event(name = "orders.order_placed", version = 1, key = order_id)]`. `internal` at the end keeps it out of
/// documents for other services.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "event"))
}

/// A command: `#[command(name = "inventory.reserve_stock", version = 1, key = order_id)]`. `internal` at the end keeps it
/// out of documents for other services.
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "command"))
}

/// An outside call: `#[call(name = "payments.authorize", target = "provider", key = order_id, outcome = Answer)]`.
#[proc_macro_derive(Call, attributes(call))]
pub fn call(input: TokenStream) -> TokenStream {
    expand(input, call::derive)
}

/// The inputs of a saga: an enum with one message a variant, marked `#[saga(start)]` or `#[saga(timer)]`.
#[proc_macro_derive(SagaInput, attributes(saga))]
pub fn saga_input(input: TokenStream) -> TokenStream {
    expand(input, saga::derive)
}

/// A failure: an error enum whose variants are marked `#[failure(retry)]` or `#[failure(reject)]`.
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(input: TokenStream) -> TokenStream {
    expand(input, failure::derive)
}

/// A test in simulated worlds, ten unless it says `#[wingbeat::test(seeds = 100)]`. It takes the world:
/// `async fn name(world: Simulation)`. Needs `wingbeat-test` as a dependency.
#[proc_macro_attribute]
pub fn test(options: TokenStream, input: TokenStream) -> TokenStream {
    let function = parse_macro_input!(input as syn::ItemFn);
    test::expand(options.into(), &function)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// A service's state: handlers may ask for each field as `State<FieldType>`. Leave one out by `#[part(skip)]`.
#[proc_macro_derive(Parts, attributes(part))]
pub fn parts(input: TokenStream) -> TokenStream {
    expand(input, parts::derive)
}
