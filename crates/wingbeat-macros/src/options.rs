//! Reads `#[name(key = value, …)]`.

use syn::parse::{Parse, ParseStream};
use syn::{DeriveInput, Error, Ident, LitInt, LitStr, Result, Token, Type};

/// What may stand in the attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitInt>,
    pub(crate) key: Option<Ident>,
    pub(crate) target: Option<LitStr>,
    pub(crate) outcome: Option<Type>,
    pub(crate) reply: Option<Type>,
    pub(crate) internal: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let option: Ident = input.parse()?;
            if option == "internal" {
                options.internal = true;
            } else {
                input.parse::<Token![=]>()?;
                options.read(&option, input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    /// Reads the value of an option.
    fn read(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        match option.to_string().as_str() {
            "name" => self.name = Some(input.parse()?),
            "version" => self.version = Some(input.parse()?),
            "key" => self.key = Some(input.parse()?),
            "target" => self.target = Some(input.parse()?),
            "outcome" => self.outcome = Some(input.parse()?),
            "reply" => self.reply = Some(input.parse()?),
            other => {
                let text = format!("there is no option `{other}`");
                return Err(Error::new(option.span(), text));
            }
        }
        Ok(())
    }
}

/// The options in the attribute `attribute` of the type.
pub(crate) fn read(input: &DeriveInput, attribute: &str) -> Result<Options> {
    let found = input
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident(attribute));
    let missing = format!("write `#[{attribute}(name = \"service.name\", …)]`");
    found
        .ok_or_else(|| Error::new(input.ident.span(), missing))?
        .parse_args()
}

/// The name: `service.name`, in lower case.
pub(crate) fn name(options: &Options, input: &DeriveInput) -> Result<LitStr> {
    let name = options
        .name
        .clone()
        .ok_or_else(|| Error::new(input.ident.span(), "`name = \"service.name\"` is missing"))?;
    let text = name.value();
    let part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    match text.split_once('.') {
        Some((service, rest)) if part(service) && part(rest) => Ok(name),
        _ => Err(Error::new(
            name.span(),
            "a name is `service.name`, in lower case: \"orders.order_placed\"",
        )),
    }
}
