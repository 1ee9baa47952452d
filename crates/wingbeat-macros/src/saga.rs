//! The derive of `SagaInput`.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Data, DeriveInput, Error, Fields, Ident, Result, Type, Variant};

/// One variant: a message type and its marks.
struct Row {
    variant: Ident,
    message: Type,
    starts: bool,
    timer: bool,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "`SagaInput` can only be derived for an enum with one variant per message type",
        ));
    };
    let rows = data.variants.iter().map(row).collect::<Result<Vec<_>>>()?;
    for (at, row) in rows.iter().enumerate() {
        let same = |earlier: &Row| {
            earlier.message.to_token_stream().to_string()
                == row.message.to_token_stream().to_string()
        };
        if rows[..at].iter().any(same) {
            return Err(Error::new(
                row.variant.span(),
                "another variant has the same message type: a saga receives each message type once",
            ));
        }
    }
    let ident = &input.ident;
    let table = rows.iter().map(|row| entry(ident, row));
    let impls = rows.iter().map(|row| accepts(ident, row));
    let variants = rows.iter().map(|row| &row.variant);
    Ok(quote! {
        // Reads every message. A saga may ignore some, and rustc would warn of an unused field.
        const _: fn(&#ident) = |input| match *input {
            #(#ident::#variants(ref _message) => {})*
        };
        impl ::wingbeat::SagaInput for #ident {
            const ROWS: &'static [::wingbeat::saga::SagaRow<Self>] = &[#(#table),*];
        }
        #(#impls)*
    })
}

fn row(variant: &Variant) -> Result<Row> {
    let Fields::Unnamed(fields) = &variant.fields else {
        return Err(Error::new(
            variant.ident.span(),
            "expected `Variant(Message)`: each variant has one message type",
        ));
    };
    let (Some(field), 1) = (fields.unnamed.first(), fields.unnamed.len()) else {
        return Err(Error::new(
            variant.ident.span(),
            "expected `Variant(Message)`: each variant has one message type",
        ));
    };
    let mut row = Row {
        variant: variant.ident.clone(),
        message: field.ty.clone(),
        starts: false,
        timer: false,
    };
    for attr in variant
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("saga"))
    {
        let word: Ident = attr.parse_args()?;
        match word.to_string().as_str() {
            "start" => row.starts = true,
            "timer" => row.timer = true,
            _ => {
                return Err(Error::new(
                    word.span(),
                    "expected #[saga(start)] or #[saga(timer)]",
                ));
            }
        }
    }
    Ok(row)
}

fn entry(ident: &Ident, row: &Row) -> TokenStream {
    let Row {
        variant,
        message,
        starts,
        timer,
    } = row;
    quote! {
        ::wingbeat::saga::SagaRow {
            message: <#message as ::wingbeat::Message>::NAME,
            kind: <#message as ::wingbeat::Message>::KIND,
            starts: #starts,
            timer: #timer,
            message_type: ::wingbeat::ports::MessageType::of::<#message>(),
            decode: |body| {
                let message: #message = ::wingbeat::decode(body)?;
                let key = ::wingbeat::Message::key(&message);
                ::std::result::Result::Ok((key, #ident::#variant(message)))
            },
        }
    }
}

fn accepts(ident: &Ident, row: &Row) -> TokenStream {
    let Row {
        variant,
        message,
        timer,
        ..
    } = row;
    let timer = timer.then(|| quote!(impl ::wingbeat::saga::AcceptsTimer<#message> for #ident {}));
    quote! {
        impl ::std::convert::From<#message> for #ident {
            fn from(message: #message) -> Self {
                Self::#variant(message)
            }
        }

        impl ::wingbeat::saga::Accepts<#message> for #ident {}
        #timer
    }
}
