//! A client of the system.

use std::time::Duration;

use wingbeat_core::{Runtime as _, RuntimeExt as _};

use super::exchange::{Answer, Ask, Exchange};
use super::world::World;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client: asks, and remembers. Its own chance does not depend on what others do.
#[derive(Clone)]
pub struct Client {
    /// The world it lives in.
    pub world: World,
    /// Its number.
    pub number: usize,
    random: fastrand::Rng,
}

impl Client {
    /// A client of this world.
    #[must_use]
    pub fn new(world: &World, number: usize) -> Self {
        let seed = world.seed().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            world: world.clone(),
            number,
            random: fastrand::Rng::with_seed(seed ^ number as u64),
        }
    }

    /// A number below `n`.
    pub fn pick(&mut self, n: usize) -> usize {
        self.random.usize(..n.max(1))
    }

    /// Lets up to `most` pass.
    pub async fn pause(&mut self, most: Duration) {
        let millis = self.random.u64(..=most.as_millis() as u64);
        let pause = Duration::from_millis(millis);
        self.world.simulation().sleep(pause).await;
    }

    /// Asks once.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let simulation = self.world.simulation();
        let asked_at = simulation.now();
        let answer = self.world.request(ask.service, ask.request());
        let answer = match simulation.timeout(PATIENCE, answer).await {
            Some(answer) => answer,
            None => Answer::Unknown,
        };
        self.world.remember(Exchange {
            client: self.number,
            asked_at,
            answered_at: simulation.now(),
            ask,
            answer: answer.clone(),
        });
        answer
    }

    /// Asks until there is an answer that is no 503: at most so many times.
    pub async fn insist(&mut self, ask: Ask, times: usize) -> Answer {
        let mut answer = Answer::Unreachable;
        for _ in 0..times {
            answer = self.ask(ask.clone()).await;
            if !matches!(answer.status(), 0 | 429 | 503) {
                return answer;
            }
            self.pause(Duration::from_secs(2)).await;
        }
        answer
    }
}
