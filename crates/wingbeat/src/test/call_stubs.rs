//! Stubs of executors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use wingbeat_core::Result;

use super::model::lock;
use crate::call::Executor;
use crate::effects::IntoEffects as _;
use crate::{App, Call, Effects, decode};

type Answer = Arc<dyn Fn(&[u8]) -> Result<Effects> + Send + Sync>;

/// The stubs of one test, by the name of the call. They remain after a crash of the app.
#[derive(Clone, Default)]
pub(super) struct CallStubs(Arc<Mutex<Stubs>>);

#[derive(Default)]
struct Stubs {
    /// The calls for which the app has executors.
    known: BTreeSet<&'static str>,
    answers: BTreeMap<&'static str, Answer>,
}

impl CallStubs {
    /// Wraps the executors of an app. A wrapped executor calls its stub if there is one.
    pub(super) fn replace_executors(&self, mut app: App) -> App {
        for wiring in app.wiring_mut() {
            for executor in &mut wiring.executors {
                lock(&self.0).known.insert(executor.name);
                self.replace(executor);
            }
        }
        app
    }

    fn replace(&self, executor: &mut Executor) {
        let (stubs, name) = (self.clone(), executor.name);
        let attempt = Arc::clone(&executor.attempt);
        executor.attempt = Arc::new(move |cx, body| {
            let stub = lock(&stubs.0).answers.get(name).cloned();
            match stub {
                Some(answer) => {
                    let answered = answer(body);
                    Box::pin(async { answered })
                }
                None => attempt(cx, body),
            }
        });
    }

    /// Adds a stub for the calls `C`.
    pub(super) fn insert<C: Call>(
        &self,
        answer: impl Fn(&C) -> Result<C::Outcome> + Send + Sync + 'static,
    ) {
        let mut stubs = lock(&self.0);
        let known = stubs.known.contains(C::NAME);
        assert!(
            known,
            "no service of the app carries out the call {}",
            C::NAME
        );
        let answer = move |body: &[u8]| {
            let mut effects = Effects::new();
            answer(&decode(body)?)?.into_effects(&mut effects);
            Ok(effects)
        };
        stubs.answers.insert(C::NAME, Arc::new(answer));
    }
}
