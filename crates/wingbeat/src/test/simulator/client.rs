//! A simulated client of the system.

use std::time::Duration;

use wingbeat_core::{Runtime as _, RuntimeExt as _};

use super::exchange::{Answer, Ask, Exchange};
use super::world::World;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client. It sends requests and records the answers. Its random choices do not depend on other
/// clients.
#[derive(Clone)]
pub struct Client {
    /// The world it lives in.
    pub world: World,
    /// Its number, from 0.
    pub number: usize,
    random: fastrand::Rng,
}

impl Client {
    /// Creates a client in this world.
    #[must_use]
    pub fn new(world: &World, number: usize) -> Self {
        let seed = world.seed().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            world: world.clone(),
            number,
            random: fastrand::Rng::with_seed(seed ^ number as u64),
        }
    }

    /// Returns a random number below `n`.
    pub fn pick(&mut self, n: usize) -> usize {
        self.random.usize(..n.max(1))
    }

    /// Waits for a random time up to `most`.
    pub async fn pause(&mut self, most: Duration) {
        let millis = self.random.u64(..=most.as_millis() as u64);
        let pause = Duration::from_millis(millis);
        self.world.simulation().sleep(pause).await;
    }

    /// Sends a request once.
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

    /// Repeats a request until the answer is not 503, at most `times` times.
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
