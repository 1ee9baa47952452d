//! The derive of `Call`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

use crate::options;

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let options = options::read(input, "call")?;
    let name = options::name(&options, input)?;
    let ident = &input.ident;
    let missing = |what: &str| Error::new(ident.span(), what);
    let target = options
        .target
        .ok_or_else(|| missing("missing `target = \"…\"`: the outside system to call"))?;
    let key = options.key.ok_or_else(|| {
        missing("missing `key = field`: the field that identifies the business operation")
    })?;
    let outcome = options.outcome.ok_or_else(|| {
        missing("missing `outcome = Type`: the message type that returns the result")
    })?;
    Ok(quote! {
        impl ::wingbeat::Call for #ident {
            const NAME: &'static str = #name;
            const TARGET: &'static str = #target;
            type Outcome = #outcome;

            fn operation(&self) -> ::std::string::String {
                ::std::format!("{}:{}", #name, self.#key)
            }
        }

        impl ::wingbeat::handler::IntoEffects for #ident {
            fn into_effects(self, effects: &mut ::wingbeat::Effects) {
                effects.call(&self);
            }
        }
    })
}
