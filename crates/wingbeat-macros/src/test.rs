//! `#[wingbeat::test]`: a test in simulated worlds.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Error, ItemFn, LitInt, Result};

/// The seeds that a test runs when it does not say how many.
const SEEDS: u64 = 10;

pub(crate) fn expand(options: TokenStream, function: &ItemFn) -> Result<TokenStream> {
    let seeds = seeds(options)?;
    let (name, attributes) = (&function.sig.ident, &function.attrs);
    if function.sig.inputs.len() != 1 {
        let words = "a test takes the world that it runs in: `async fn name(world: Simulation)`";
        return Err(Error::new(function.sig.span(), words));
    }
    let mut story = function.clone();
    story.attrs.clear();
    let run = match function.sig.asyncness {
        Some(_) => quote! {
            let story = #name(world.clone());
            world.run(story)
        },
        None => quote! { #name(world) },
    };
    Ok(quote! {
        #(#attributes)*
        #[test]
        fn #name() {
            #story
            ::wingbeat::test::seeds::each_seed(#seeds, |world| { #run; });
        }
    })
}

/// `seeds = 100`, or nothing.
fn seeds(options: TokenStream) -> Result<u64> {
    if options.is_empty() {
        return Ok(SEEDS);
    }
    let mut seeds = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("seeds") {
            return Err(meta.error("there is one option: `seeds = 100`"));
        }
        seeds = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
        Ok(())
    });
    syn::parse::Parser::parse2(parser, options)?;
    Ok(seeds.unwrap_or(SEEDS))
}
