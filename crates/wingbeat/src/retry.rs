//! The attempts that follow a failure of a handler.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat_core::{Class, Error};

/// The attempts that follow a failure: a few in memory, then some from the store, then a dead
/// letter.
///
/// Only errors of the class [`Retry`](crate::Class::Retry) are retried, unless a rule says
/// otherwise. A parked delivery waits in the store, so it survives restarts and blocks no other
/// message. [`on_code`](Self::on_code) and [`on_class`](Self::on_class) set rules for certain
/// errors; [`max_age`](Self::max_age) ends the attempts of old messages.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::{Attempts, Retry};
///
/// let seconds = Duration::from_secs;
/// let retry = Retry {
///     quick: 5,
///     parked: vec![seconds(5), seconds(60)],
///     ..Retry::default()
/// };
/// let retry = retry
///     // The provider asks for patience: it gets it, and no attempt before.
///     .on_code("provider_busy", Attempts::parked([seconds(60), seconds(600)]))
///     // Later messages with the same key would fail too, so they wait behind this one.
///     .on_code("account_unknown", Attempts::in_place([seconds(1)]).then_held([seconds(30); 4]))
///     // Trying again is of no use.
///     .on_code("account_closed", Attempts::none())
///     .max_age(seconds(3_600));
/// # drop(retry);
/// assert_eq!(Retry::default().parked.len(), 5); // 1 s, 5 s, 30 s, 2 min, 10 min
/// ```
#[derive(Clone, Debug)]
pub struct Retry {
    /// The number of attempts in memory before the delivery is parked.
    pub quick: u32,
    /// The pause after the first attempt. It doubles after each further quick attempt.
    pub backoff: Duration,
    /// The pauses before the attempts from the store. After the last attempt the delivery becomes
    /// a dead letter.
    pub parked: Vec<Duration>,
    /// The rules for certain errors; see [`on_code`](Self::on_code).
    pub rules: Vec<RetryRule>,
    /// The age from which a failed delivery is not tried again; see [`max_age`](Self::max_age()).
    pub max_age: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        let seconds = [1, 5, 30, 120, 600];
        Self {
            quick: 3,
            backoff: Duration::from_millis(20),
            parked: seconds.into_iter().map(Duration::from_secs).collect(),
            rules: Vec::new(),
            max_age: None,
        }
    }
}

impl Retry {
    /// Sets the attempts after errors with this code.
    ///
    /// The rule applies to errors of both classes, and takes precedence over
    /// [`on_class`](Self::on_class) and over `quick` and `parked`. Each rule counts its own
    /// attempts: errors to which it does not apply use up none of them. The counts of a parked
    /// delivery survive restarts. No rule applies to [forged](crate::trust) commands, nor to
    /// messages that no handler takes.
    #[must_use]
    pub fn on_code(self, code: &'static str, attempts: Attempts) -> Self {
        self.rule(On::Code(code), attempts)
    }

    /// Sets the attempts after errors of this class for whose code there is no rule.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use wingbeat::{Attempts, Class, Retry};
    ///
    /// // A bug of the handler is often mended soon: try again, even after a panic.
    /// let later = Attempts::parked([Duration::from_secs(3_600)]);
    /// let retry = Retry::default().on_class(Class::Reject, later);
    /// # drop(retry);
    /// ```
    #[must_use]
    pub fn on_class(self, class: Class, attempts: Attempts) -> Self {
        self.rule(On::Class(class), attempts)
    }

    /// Ends the attempts of a delivery at this age: it becomes a dead letter with the code
    /// `too_old` instead of being tried again.
    ///
    /// The age begins when the message was published. It begins with the first failure here if the
    /// message claims to come from the future or from more than 60 days ago, and for
    /// [replayed](crate::Handler::from_beginning) messages, which are old by nature. A pause ends
    /// at this age at the latest. The first attempt is always made, also by an operator who retries
    /// the dead letter.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        let max_age = Some(age);
        Self { max_age, ..self }
    }

    /// The attempts of sagas, which outlast an hour in which another service or the broker is
    /// unavailable.
    pub(crate) fn patient() -> Self {
        let mut patient = Self::default();
        patient.parked.push(Duration::from_secs(3_600));
        patient
    }

    fn rule(mut self, on: On, attempts: Attempts) -> Self {
        self.rules.retain(|rule| rule.on != on);
        self.rules.push(RetryRule { on, attempts });
        self
    }

    /// Returns the rule for an error.
    fn rule_for(&self, why: &Error) -> Option<&RetryRule> {
        let of = |on: On| self.rules.iter().find(move |rule| rule.on == on);
        of(On::Code(why.code())).or_else(|| of(On::Class(why.class())))
    }

    /// Returns the step after this error; `None` if no attempt is left.
    ///
    /// `quick` is the number of attempts since the delivery was parked, and `parked` the number of
    /// times that it waited before. In an `ordered` subscription it waits in place unless a rule
    /// says otherwise.
    pub(crate) fn step(
        &self,
        why: &Error,
        (quick, parked): (u32, u32),
        taken: &Taken,
        ordered: bool,
    ) -> Option<Step> {
        if let Some(rule) = self.rule_for(why) {
            return rule.attempts.0.get(taken.of(rule)).copied();
        }
        if why.class() == Class::Reject {
            return None;
        }
        if quick < self.quick {
            let pause = self
                .backoff
                .saturating_mul(2_u32.saturating_pow(quick.saturating_sub(1)));
            return Some(Step::InPlace(pause));
        }
        let pause = *self
            .parked
            .get(parked.saturating_sub(taken.waits) as usize)?;
        Some(if ordered {
            Step::Held(pause)
        } else {
            Step::Parked(pause)
        })
    }

    /// Returns the longest time for which a rule leaves a failing delivery unacknowledged.
    pub(crate) fn held_by_rules(&self) -> Duration {
        let mut longest = Duration::ZERO;
        for rule in &self.rules {
            let mut held = Duration::ZERO;
            for step in &rule.attempts.0 {
                held = match step {
                    Step::Parked(_) => Duration::ZERO,
                    step => held.saturating_add(step.longest_in_memory()),
                };
                longest = longest.max(held);
            }
        }
        longest
    }

    /// Returns the step in place of one for which the delivery must not stay in memory. Without a
    /// rule, the next step from the store takes the place of the attempts that are left in memory;
    /// if there is none, the step stays as it is.
    pub(crate) fn in_store(&self, why: &Error, step: Step, parked: u32, taken: &Taken) -> Step {
        match step {
            Step::InPlace(_) if self.rule_for(why).is_none() => {
                let pause = self.parked.get(parked.saturating_sub(taken.waits) as usize);
                pause.map_or(step, |pause| Step::Parked(*pause))
            }
            _ => Step::Parked(step.pause()),
        }
    }

    /// Counts the step after this error for its rule.
    pub(crate) fn take(&self, why: &Error, step: Step, taken: &mut Taken) {
        if let Some(rule) = self.rule_for(why) {
            *taken.rules.entry(rule.on.name()).or_default() += 1;
            taken.waits += u32::from(!matches!(step, Step::InPlace(_)));
        }
    }
}

/// A rule of a [`Retry`]: made by [`Retry::on_code`] and [`Retry::on_class`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRule {
    on: On,
    attempts: Attempts,
}

/// The errors to which a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Code(&'static str),
    Class(Class),
}

impl On {
    /// Returns the name under which its attempts are counted. No code contains a space.
    fn name(self) -> String {
        match self {
            Self::Code(code) => code.to_owned(),
            Self::Class(Class::Retry) => "class retry".to_owned(),
            Self::Class(Class::Reject) => "class reject".to_owned(),
        }
    }
}

/// The attempts after an error to which a rule of a [`Retry`] applies: a pause before each one, and
/// the place where the delivery waits. After the last one it becomes a dead letter.
///
/// | Place | Other messages | A crash meanwhile |
/// |---|---|---|
/// | [in place](Self::in_place) | those with its key wait behind it | begins again with the first attempt |
/// | [held](Self::held) | those with its key wait behind it | begins again with the first attempt |
/// | [parked](Self::parked) | overtake it | continues |
///
/// A timer, or a delivery that was parked or retried by an operator, waits in the store for longer
/// pauses, wherever its policy places it: after half a minute in memory another replica would take
/// it.
///
/// The difference between the first two: attempts in place are for milliseconds, and go on when an
/// operator pauses the subscription or the process drains. A held delivery is given back to the
/// queue then, and no attempt is used up while the store is unavailable.
///
/// See [`Retry`] for an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts(Vec<Step>);

/// A further attempt, after this pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The delivery stays in memory.
    InPlace(Duration),
    /// The delivery stays in memory, and is released if the subscription stops meanwhile.
    Held(Duration),
    /// The delivery waits in the store.
    Parked(Duration),
}

impl Step {
    pub(crate) fn pause(self) -> Duration {
        match self {
            Self::InPlace(pause) | Self::Held(pause) | Self::Parked(pause) => pause,
        }
    }

    /// Returns the longest time for which the delivery stays in memory, with its random part.
    pub(crate) fn longest_in_memory(self) -> Duration {
        match self {
            Self::InPlace(pause) => pause.saturating_mul(2),
            Self::Held(pause) => pause.saturating_add(pause / 4),
            Self::Parked(_) => Duration::ZERO,
        }
    }
}

impl Attempts {
    /// No attempt: the delivery becomes a dead letter at once.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Attempts from memory, after short pauses.
    #[must_use]
    pub fn in_place(pauses: impl IntoIterator<Item = Duration>) -> Self {
        Self::none().then_in_place(pauses)
    }

    /// Attempts from the store. Other messages overtake the delivery, also in an
    /// [`ordered`](crate::Handler::ordered) subscription.
    #[must_use]
    pub fn parked(pauses: impl IntoIterator<Item = Duration>) -> Self {
        Self::none().then_parked(pauses)
    }

    /// Attempts that keep the order within the key: later messages with the key wait until this one
    /// is handled or becomes a dead letter.
    ///
    /// The messages wait in this process, unacknowledged. With several replicas another one may
    /// receive later messages with the key, unless the subscription is
    /// [`ordered`](crate::Handler::ordered). Keep the sum of the pauses below RabbitMQ's
    /// `consumer_timeout`, 30 minutes by default.
    #[must_use]
    pub fn held(pauses: impl IntoIterator<Item = Duration>) -> Self {
        Self::none().then_held(pauses)
    }

    /// Adds [attempts in place](Self::in_place).
    #[must_use]
    pub fn then_in_place(self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.then(pauses, Step::InPlace)
    }

    /// Adds [attempts from the store](Self::parked).
    #[must_use]
    pub fn then_parked(self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.then(pauses, Step::Parked)
    }

    /// Adds [attempts that keep the order](Self::held).
    #[must_use]
    pub fn then_held(self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.then(pauses, Step::Held)
    }

    fn then(
        mut self,
        pauses: impl IntoIterator<Item = Duration>,
        step: impl Fn(Duration) -> Step,
    ) -> Self {
        self.0.extend(pauses.into_iter().map(step));
        self
    }
}

/// The steps that a delivery has taken by rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The steps of each rule.
    rules: BTreeMap<String, u32>,
    /// The steps after which the delivery was parked or held.
    waits: u32,
}

impl Taken {
    /// Returns whether no rule has applied.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn of(&self, rule: &RetryRule) -> usize {
        let count = self.rules.get(&rule.on.name());
        count.map_or(0, |count| *count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A delivery that fails with one error after another, in one process.
    struct Delivery {
        retry: Retry,
        quick: u32,
        parked: u32,
        taken: Taken,
    }

    impl Delivery {
        fn new(retry: Retry) -> Self {
            Self {
                retry,
                quick: 0,
                parked: 0,
                taken: Taken::default(),
            }
        }

        fn fails(&mut self, why: &Error) -> Option<Step> {
            self.quick += 1;
            let counts = (self.quick, self.parked);
            let step = self.retry.step(why, counts, &self.taken, false)?;
            self.retry.take(why, step, &mut self.taken);
            if !matches!(step, Step::InPlace(_)) {
                (self.quick, self.parked) = (0, self.parked + 1);
            }
            Some(step)
        }
    }

    fn busy() -> Error {
        Error::retry("busy", "")
    }

    fn other() -> Error {
        Error::retry("other", "")
    }

    fn closed() -> Error {
        Error::reject("closed", "")
    }

    fn impatient() -> Retry {
        Retry {
            quick: 1,
            parked: vec![SECOND; 2],
            ..Retry::default()
        }
    }

    #[test]
    fn without_rules_retryable_errors_are_tried_in_memory_and_from_the_store() {
        let mut delivery = Delivery::new(Retry::default());
        let short = Duration::from_millis(20);
        for pause in [1, 5, 30, 120, 600] {
            assert_eq!(delivery.fails(&busy()), Some(Step::InPlace(short)));
            assert_eq!(delivery.fails(&busy()), Some(Step::InPlace(short * 2)));
            let parked = Step::Parked(Duration::from_secs(pause));
            assert_eq!(delivery.fails(&busy()), Some(parked));
        }
        delivery.quick = 2;
        assert_eq!(delivery.fails(&busy()), None);
        assert_eq!(Delivery::new(Retry::default()).fails(&closed()), None);
    }

    #[test]
    fn an_ordered_subscription_waits_in_place_unless_a_rule_says_otherwise() {
        let retry = impatient().on_code("busy", Attempts::parked([MINUTE]));
        let step = |why: &Error| retry.step(why, (1, 0), &Taken::default(), true);
        assert_eq!(step(&other()), Some(Step::Held(SECOND)));
        assert_eq!(step(&busy()), Some(Step::Parked(MINUTE)));
    }

    #[test]
    fn a_rule_for_a_code_precedes_one_for_its_class_and_the_last_one_counts() {
        let retry = Retry::default()
            .on_code("closed", Attempts::none())
            .on_code("closed", Attempts::held([SECOND]))
            .on_class(Class::Reject, Attempts::parked([MINUTE]));
        assert_eq!(retry.rules.len(), 2);
        let mut delivery = Delivery::new(retry);
        assert_eq!(delivery.fails(&closed()), Some(Step::Held(SECOND)));
        let unknown = Error::reject("unknown", "");
        assert_eq!(delivery.fails(&unknown), Some(Step::Parked(MINUTE)));
        assert_eq!(delivery.fails(&closed()), None);
    }

    #[test]
    fn each_rule_counts_its_own_attempts() {
        let attempts = Attempts::in_place([SECOND]).then_parked([MINUTE]);
        let retry = impatient()
            .on_code("busy", attempts)
            .on_class(Class::Reject, Attempts::parked([MINUTE]));
        let mut delivery = Delivery::new(retry);
        assert_eq!(delivery.fails(&other()), Some(Step::Parked(SECOND)));
        assert_eq!(delivery.fails(&busy()), Some(Step::InPlace(SECOND)));
        assert_eq!(delivery.fails(&closed()), Some(Step::Parked(MINUTE)));
        assert_eq!(delivery.fails(&busy()), Some(Step::Parked(MINUTE)));
        assert_eq!(delivery.fails(&other()), Some(Step::Parked(SECOND)));
        assert_eq!(delivery.parked, 4);
        let stored = serde_json::to_string(&delivery.taken).unwrap();
        delivery.taken = serde_json::from_str(&stored).unwrap();
        for error in [busy(), closed(), other()] {
            let mut exhausted = Delivery {
                retry: delivery.retry.clone(),
                taken: delivery.taken.clone(),
                ..delivery
            };
            assert_eq!(exhausted.fails(&error), None, "{error:?}");
        }
    }

    #[test]
    fn a_long_back_off_does_not_overflow() {
        let retry = Retry {
            quick: u32::MAX,
            backoff: Duration::MAX,
            ..Retry::default()
        };
        let step = retry.step(&busy(), (u32::MAX - 1, 0), &Taken::default(), false);
        assert_eq!(step, Some(Step::InPlace(Duration::MAX)));
    }
}
