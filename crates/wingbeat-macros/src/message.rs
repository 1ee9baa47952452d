//! `Event`, `Command` and `Request`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

use crate::options::{self, Options};

pub(crate) fn derive(input: &DeriveInput, role: &str) -> Result<TokenStream> {
    let options = options::read(input, role)?;
    let (marker, kind) = if role == "event" {
        (quote!(EventMessage), quote!(Event))
    } else {
        (quote!(CommandMessage), quote!(Command))
    };
    let message = message(input, &options, &kind)?;
    let ident = &input.ident;
    Ok(quote! {
        #message

        impl ::wingbeat::handler::#marker for #ident {}

        impl ::wingbeat::handler::IntoEffects for #ident {
            fn into_effects(self, effects: &mut ::wingbeat::Effects) {
                effects.add(&self);
            }

            fn describe(types: &mut ::std::vec::Vec<::wingbeat::ports::MessageType>) {
                types.push(::wingbeat::ports::MessageType::of::<Self>());
            }
        }

        impl<I: ::wingbeat::saga::Accepts<#ident>> ::wingbeat::saga::Answers<I> for #ident {}
    })
}

/// A request is no effect: only `Requests` sends it.
pub(crate) fn request(input: &DeriveInput) -> Result<TokenStream> {
    let options = options::read(input, "request")?;
    let missing = || Error::new(input.ident.span(), "`reply = Type` is missing");
    let reply = options.reply.as_ref().ok_or_else(missing)?;
    let message = message(input, &options, &quote!(Command))?;
    let ident = &input.ident;
    Ok(quote! {
        #message

        impl ::wingbeat::Request for #ident {
            type Reply = #reply;
        }
    })
}

fn message(input: &DeriveInput, options: &Options, kind: &TokenStream) -> Result<TokenStream> {
    let name = options::name(options, input)?;
    let version = options
        .version
        .as_ref()
        .map_or(Ok(1), syn::LitInt::base10_parse::<u32>)?;
    let wire = format!("{}.v{version}", name.value());
    let key = options.key.as_ref().map_or_else(
        || quote!(::std::string::String::new()),
        |key| quote!(::std::string::ToString::to_string(&self.#key)),
    );
    let internal = options.internal;
    let ident = &input.ident;
    Ok(quote! {
        impl ::wingbeat::Message for #ident {
            const NAME: &'static str = #wire;
            const KIND: ::wingbeat::ports::Kind = ::wingbeat::ports::Kind::#kind;
            const INTERNAL: bool = #internal;

            fn key(&self) -> ::std::string::String {
                #key
            }
        }
    })
}
