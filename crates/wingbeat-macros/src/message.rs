//! `Event` and `Command`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

use crate::options;

pub(crate) fn derive(input: &DeriveInput, role: &str) -> Result<TokenStream> {
    let options = options::read(input, role)?;
    let name = options::name(&options, input)?;
    let version = options
        .version
        .as_ref()
        .map_or(Ok(1), syn::LitInt::base10_parse::<u32>)?;
    let wire = format!("{}.v{version}", name.value());
    let key = options.key.as_ref().map_or_else(
        || quote!(::std::string::String::new()),
        |key| quote!(::std::string::ToString::to_string(&self.#key)),
    );
    let (kind, marker) = if role == "event" {
        (quote!(Event), quote!(EventMessage))
    } else {
        (quote!(Command), quote!(CommandMessage))
    };
    let internal = options.internal;
    let ident = &input.ident;
    Ok(quote! {
        impl ::wingbeat::Message for #ident {
            const NAME: &'static str = #wire;
            const KIND: ::wingbeat::Kind = ::wingbeat::Kind::#kind;
            const INTERNAL: bool = #internal;

            fn key(&self) -> ::std::string::String {
                #key
            }
        }

        impl ::wingbeat::#marker for #ident {}

        impl ::wingbeat::IntoEffects for #ident {
            fn into_effects(self, effects: &mut ::wingbeat::Effects) {
                effects.add(&self);
            }

            fn describe(types: &mut ::std::vec::Vec<::wingbeat::MessageType>) {
                types.push(::wingbeat::MessageType::of::<Self>());
            }
        }

        impl<I: ::wingbeat::Accepts<#ident>> ::wingbeat::Answers<I> for #ident {}
    })
}
