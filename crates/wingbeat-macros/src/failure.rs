//! The derive of `Failure`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result, Variant};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "`Failure` can only be derived for an enum with one variant per failure",
        ));
    };
    let mut classes = Vec::new();
    let mut codes = Vec::new();
    for variant in &data.variants {
        let class = class(variant)?;
        let ident = &variant.ident;
        let pattern = match variant.fields {
            Fields::Unit => quote!(Self::#ident),
            Fields::Named(_) => quote!(Self::#ident { .. }),
            Fields::Unnamed(_) => quote!(Self::#ident(..)),
        };
        let code = snake(&ident.to_string());
        classes.push(quote!(#pattern => ::wingbeat::Class::#class));
        codes.push(quote!(#pattern => #code));
    }
    let ident = &input.ident;
    Ok(quote! {
        impl ::wingbeat::Failure for #ident {
            fn class(&self) -> ::wingbeat::Class {
                match self { #(#classes,)* }
            }

            fn code(&self) -> &'static str {
                match self { #(#codes,)* }
            }
        }
    })
}

fn class(variant: &Variant) -> Result<Ident> {
    let missing = format!(
        "mark `{}` with #[failure(retry)] if a later attempt may succeed, else with #[failure(reject)]",
        variant.ident
    );
    let attr = variant
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident("failure"));
    let word: Ident = attr
        .ok_or_else(|| Error::new(variant.ident.span(), &missing))?
        .parse_args()?;
    match word.to_string().as_str() {
        "retry" => Ok(Ident::new("Retry", word.span())),
        "reject" => Ok(Ident::new("Reject", word.span())),
        _ => Err(Error::new(word.span(), missing)),
    }
}

fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_is_the_variant_in_snake_case() {
        assert_eq!(super::snake("OutOfStock"), "out_of_stock");
    }
}
