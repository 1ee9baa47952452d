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
/// `{"@form":1,"event":…}`, so an older release cannot read it. For a rolling upgrade, and to be
/// able to go back, deploy a release that knows the new form ([`then_later`](Self::then_later))
/// before one that writes it ([`then`](Self::then)).
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
    /// The steps back from the current form to the one that is written, newest first.
    back: Vec<Upcast>,
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
            back: Vec::new(),
            to: PhantomData,
        }
    }

    /// Adds a form, and the function that makes it from the previous one. New events are written in
    /// this form: older releases cannot read them.
    pub fn then<N: Serialize>(
        mut self,
        upcast: impl Fn(E) -> N + Send + Sync + 'static,
    ) -> Upcasts<N>
    where
        E: DeserializeOwned,
    {
        self.steps.push(step(upcast));
        Upcasts {
            steps: self.steps,
            back: Vec::new(),
            to: PhantomData,
        }
    }

    /// Adds a form that this release reads and does not write yet: `back` makes the previous form
    /// of each new event, so replicas of the last release can read it. The next release replaces
    /// this by [`then`](Self::then).
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use wingbeat::state::Upcasts;
    ///
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
    /// fn upcasts() -> Upcasts<Event> {
    ///     Upcasts::first().then_later(
    ///         |EventV1::Paid { euros }| Event::Paid { cents: euros * 100 },
    ///         |Event::Paid { cents }| EventV1::Paid { euros: cents / 100 },
    ///     )
    /// }
    ///
    /// // Both what the last release stores and what the next one will store can be read.
    /// for stored in [r#"{"Paid":{"euros":3}}"#, r#"{"@form":1,"event":{"Paid":{"cents":300}}}"#] {
    ///     assert_eq!(upcasts().read(stored.as_bytes()).unwrap(), Event::Paid { cents: 300 });
    /// }
    /// ```
    pub fn then_later<N: Serialize + DeserializeOwned>(
        mut self,
        upcast: impl Fn(E) -> N + Send + Sync + 'static,
        back: impl Fn(N) -> E + Send + Sync + 'static,
    ) -> Upcasts<N>
    where
        E: Serialize + DeserializeOwned,
    {
        self.steps.push(step(upcast));
        self.back.insert(0, step(back));
        Upcasts {
            steps: self.steps,
            back: self.back,
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
    ///
    /// # Errors
    ///
    /// `undecodable` if a form does not match its type after it was encoded.
    pub(crate) fn write(&self, event: &E) -> Result<Bytes>
    where
        E: Serialize,
    {
        let mut event = encode(event);
        for back in &self.back {
            event = back(&event)?;
        }
        let form = self.written();
        if form == 0 {
            return Ok(event);
        }
        let event = Cow::Owned(crate::unit::text(&event));
        Ok(encode(&Numbered { form, event }))
    }
}

/// Returns a step between two encoded forms.
fn step<O: DeserializeOwned, N: Serialize>(
    step: impl Fn(O) -> N + Send + Sync + 'static,
) -> Upcast {
    Box::new(move |stored| Ok(encode(&step(decode(stored)?))))
}

impl<E> Upcasts<E> {
    /// Returns the number of forms before the current one.
    pub(crate) const fn forms(&self) -> usize {
        self.steps.len()
    }

    /// Returns the number of the form that is written.
    pub(crate) const fn written(&self) -> usize {
        self.steps.len() - self.back.len()
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
        let stored = chain().write(&third(5)).unwrap();
        assert_eq!(
            stored,
            r#"{"@form":2,"event":{"cents":5,"currency":"EUR"}}"#
        );
        assert_eq!(chain().read(&stored).unwrap(), third(5));
        let first = Upcasts::<First>::first();
        assert_eq!(first.write(&First { euros: 1 }).unwrap(), r#"{"euros":1}"#);
    }

    #[test]
    fn a_form_that_is_known_and_not_written_yet_is_stored_as_the_one_before() {
        let upcast = |First { euros }| Second { cents: euros * 100 };
        let known = || Upcasts::first().then_later(upcast, first);
        let stored = known().write(&Second { cents: 700 }).unwrap();
        assert_eq!(stored, r#"{"euros":7}"#);
        assert_eq!(known().read(&stored).unwrap().cents, 700);
        let newer = br#"{"@form":1,"event":{"cents":7}}"#;
        assert_eq!(known().read(newer).unwrap().cents, 7);

        // Two forms that wait, and one that waits behind one that is written.
        let both = known().then_later(|Second { cents }| third(cents), second);
        assert_eq!(both.write(&third(700)).unwrap(), r#"{"euros":7}"#);
        let one = Upcasts::first().then(upcast);
        let one = one.then_later(|Second { cents }| third(cents), second);
        let stored = one.write(&third(7)).unwrap();
        assert_eq!(stored, r#"{"@form":1,"event":{"cents":7}}"#);
        // A form that is written ends the wait of those before it.
        let all = known().then(|Second { cents }| third(cents));
        assert_eq!(
            all.write(&third(7)).unwrap(),
            chain().write(&third(7)).unwrap()
        );
    }

    fn first(Second { cents }: Second) -> First {
        First { euros: cents / 100 }
    }

    fn second(Third { cents, .. }: Third) -> Second {
        Second { cents }
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
