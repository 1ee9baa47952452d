//! A simulated client of the system.

use std::time::Duration;

use wingbeat_core::{Runtime as _, RuntimeExt as _};

use super::exchange::{Answer, Ask, Exchange};
use super::world::World;

/// The time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A simulated client: it sends requests and records the answers.
///
/// Its random choices depend only on the seed and its number, not on other clients.
///
/// ```
/// use std::time::Duration;
/// use wingbeat::test::Client;
/// use wingbeat::test::simulator::Ask;
///
/// async fn reader(mut client: Client) {
///     for _ in 0..5 {
///         client.pause(Duration::from_secs(3)).await;
///         let answer = client.ask_with_retries(Ask::get("rooms", "/rooms/blue"), 10).await;
///         assert!(matches!(answer.status(), 200 | 404));
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Client {
    /// The world of the system under simulation.
    pub world: World,
    /// The number of the client.
    pub number: usize,
    random: fastrand::Rng,
}

impl Client {
    /// Creates a client. Give each client of a world its own number.
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

    /// Waits for a random time up to `max`.
    pub async fn pause(&mut self, max: Duration) {
        let millis = self.random.u64(..=max.as_millis() as u64);
        let pause = Duration::from_millis(millis);
        self.world.simulation().sleep(pause).await;
    }

    /// Sends a request once. Returns [`Answer::Unknown`] if no answer arrives within 30 s.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let simulation = self.world.simulation();
        let asked_at = simulation.now();
        let answer = self.world.request(ask.service, ask.request());
        let answer = match simulation.timeout(TIMEOUT, answer).await {
            Some(answer) => answer,
            None => Answer::Unknown,
        };
        self.world.record(Exchange {
            client: self.number,
            asked_at,
            answered_at: simulation.now(),
            ask,
            answer: answer.clone(),
        });
        answer
    }

    /// Sends a request at most `times` times, until it gets an answer other than 429 and 503. Waits
    /// up to 2 s in between.
    ///
    /// A repeated request may take effect twice: give a write an idempotency key
    /// ([`Ask::idempotency_key`]).
    pub async fn ask_with_retries(&mut self, ask: Ask, times: usize) -> Answer {
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
