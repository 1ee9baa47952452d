//! The derive of `Parts`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(&fields.named),
            _ => None,
        },
        _ => None,
    };
    let text = "`Parts` can only be derived for a struct with named fields";
    let fields = fields.ok_or_else(|| Error::new(input.ident.span(), text))?;
    let state = &input.ident;
    let parts = fields
        .iter()
        .filter(|field| !field.attrs.iter().any(|attr| attr.path().is_ident("part")))
        .map(|field| {
            let (name, kind) = (&field.ident, &field.ty);
            quote! {
                impl ::wingbeat::Part<#state> for #kind {
                    fn part(state: &#state) -> Self {
                        ::std::clone::Clone::clone(&state.#name)
                    }
                }
            }
        });
    Ok(quote!(#(#parts)*))
}
