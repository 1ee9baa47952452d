//! The stored forms of an aggregate's events.

use std::borrow::Cow;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wingbeat_core::{Error, Result};

use crate::{decode, encode};

/// The beginning of an event that is stored with the number of its form.
const MARK: &[u8] = br#"{"@form":"#;

type Upcast = Box<dyn Fn(&[u8]) -> Result<Bytes> + Send + Sync>;

/// The stored forms of an aggregate's events, oldest first: `E` is the current one.
///
/// The store keeps events for ever, in the form in which a release wrote them. When the type of the
/// events changes in a way that serde cannot read (a field is renamed, split or gets another
/// meaning), keep the old type and add a step to it. Each step is a function from one form to the
/// next; an event runs through all steps after its own form.
///
/// The first form is stored without a number. Every later form is stored as
/// `{"@form":1,"event":…}`, so an older release cannot read it: deploy a release that knows the new
/// form before one that writes it, if you must be able to go back.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::state::Upcasts;
/// use wingbeat::{Aggregate, JsonSchema, schemars};
///
/// /// The events of the first release.
/// #[derive(Serialize, Deserialize)]
/// enum EventV1 {
///     Paid { euros: u64 },
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Event {
///     Paid { cents: u64 },
/// }
///
/// #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
/// struct Account {
///     cents: u64,
/// }
///
/// impl Aggregate for Account {
///     const NAME: &'static str = "account";
///     type Id = String;
///     type Command = u64;
///     type Event = Event;
///     type Error = ();
///
///     fn decide(&self, cents: u64) -> Result<Vec<Event>, ()> {
///         Ok(vec![Event::Paid { cents }])
///     }
///
///     fn apply(&mut self, Event::Paid { cents }: &Event) {
///         self.cents += cents;
///     }
///
///     fn upcasts() -> Upcasts<Event> {
///         Upcasts::first().then(|EventV1::Paid { euros }| Event::Paid { cents: euros * 100 })
///     }
/// }
///
/// // Keep what a release once stored as a file, and test that it can be read.
/// let stored = r#"{"Paid":{"euros":3}}"#;
/// assert_eq!(Account::upcasts().read(stored.as_bytes()).unwrap(), Event::Paid { cents: 300 });
/// ```
#[must_use]
pub struct Upcasts<E> {
    steps: Vec<Upcast>,
    to: PhantomData<fn() -> E>,
}

/// An event with the number of its form.
#[derive(Serialize, Deserialize)]
struct Numbered<'a> {
    #[serde(rename = "@form")]
    form: usize,
    #[serde(borrow)]
    event: Cow<'a, RawValue>,
}

impl<E> Upcasts<E> {
    /// Starts with the oldest form.
    pub const fn first() -> Self {
        Self {
            steps: Vec::new(),
            to: PhantomData,
        }
    }

    /// Adds a form, and the function that makes it from the previous one.
    pub fn then<N: Serialize>(
        mut self,
        upcast: impl Fn(E) -> N + Send + Sync + 'static,
    ) -> Upcasts<N>
    where
        E: DeserializeOwned,
    {
        self.steps.push(Box::new(move |stored| {
            let older: E = decode(stored)?;
            Ok(encode(&upcast(older)))
        }));
        Upcasts {
            steps: self.steps,
            to: PhantomData,
        }
    }

    /// Reads a stored event of any form.
    ///
    /// # Errors
    ///
    /// `undecodable` if it does not match the form with which it is stored; `unknown_form` if a
    /// newer release wrote it.
    pub fn read(&self, stored: &[u8]) -> Result<E>
    where
        E: DeserializeOwned,
    {
        if !stored.starts_with(MARK) {
            return self.upcast(0, stored);
        }
        let Numbered { form, event } = serde_json::from_slice(stored)
            .map_err(|why| Error::reject("undecodable", format!("a stored event: {why}")))?;
        self.upcast(form, event.get().as_bytes())
    }

    fn upcast(&self, form: usize, stored: &[u8]) -> Result<E>
    where
        E: DeserializeOwned,
    {
        let steps = self.steps.get(form..).ok_or_else(|| {
            let known = self.steps.len();
            let text =
                format!("an event has the form {form}, this release knows {known} and older");
            Error::reject("unknown_form", text)
        })?;
        let mut event = Cow::Borrowed(stored);
        for step in steps {
            event = Cow::Owned(step(&event)?.to_vec());
        }
        decode(&event)
    }

    /// Returns the stored form of an event.
    pub(crate) fn write(&self, event: &E) -> Bytes
    where
        E: Serialize,
    {
        let form = self.steps.len();
        if form == 0 {
            return encode(event);
        }
        let event = Cow::Owned(crate::unit::text(&encode(event)));
        encode(&Numbered { form, event })
    }
}

impl<E> Upcasts<E> {
    /// Returns the number of forms before the current one.
    pub(crate) const fn forms(&self) -> usize {
        self.steps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct First {
        euros: u64,
    }

    #[derive(Serialize, Deserialize)]
    struct Second {
        cents: u64,
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Third {
        cents: u64,
        currency: String,
    }

    fn chain() -> Upcasts<Third> {
        Upcasts::first()
            .then(|First { euros }| Second { cents: euros * 100 })
            .then(|Second { cents }| third(cents))
    }

    fn third(cents: u64) -> Third {
        let currency = "EUR".into();
        Third { cents, currency }
    }

    #[test]
    fn an_event_of_each_form_reads_as_the_current_one() {
        let read = |stored: &str| chain().read(stored.as_bytes()).unwrap();
        assert_eq!(read(r#"{"euros":3}"#), third(300));
        assert_eq!(read(r#"{"@form":1,"event":{"cents":7}}"#), third(7));
        assert_eq!(
            read(r#"{"@form":2,"event":{"cents":7,"currency":"EUR"}}"#),
            third(7)
        );
    }

    #[test]
    fn a_written_event_has_the_number_of_its_form_and_reads_again() {
        let stored = chain().write(&third(5));
        assert_eq!(
            stored,
            r#"{"@form":2,"event":{"cents":5,"currency":"EUR"}}"#
        );
        assert_eq!(chain().read(&stored).unwrap(), third(5));
        let first = Upcasts::<First>::first();
        assert_eq!(first.write(&First { euros: 1 }), r#"{"euros":1}"#);
    }

    #[test]
    fn an_event_of_a_newer_release_and_a_damaged_one_are_errors() {
        let code = |stored: &str| chain().read(stored.as_bytes()).unwrap_err().code();
        assert_eq!(code(r#"{"@form":3,"event":{}}"#), "unknown_form");
        assert_eq!(code(r#"{"@form":1,"event":{"dollars":1}}"#), "undecodable");
        assert_eq!(code(r#"{"@form":1,"ev"#), "undecodable");
        assert_eq!(code(r#"{"dollars":1}"#), "undecodable");
    }
}
