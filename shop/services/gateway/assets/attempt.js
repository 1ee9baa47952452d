/**
 * One attempt to buy: its Idempotency-Key stays with it until the shop has answered, however often
 * it must be sent, and even if the page is loaded again. So a lost reply never buys twice.
 * @module
 */
import { Problem, Unreachable, call } from "./api.js";
import { random, userId } from "./session.js";

const KEY = "wingbeat.attempt";

/** Pauses between the tries of one attempt; after the last the visitor decides. */
const PAUSES_MS = [500, 1_500, 3_000, 5_000];

/** @typedef {{key: string, user: string, body: object}} Attempt */

/** Keeps a new attempt for `body`. @returns {Attempt} */
export function start(body) {
  const attempt = { key: random(16), user: userId(), body };
  sessionStorage.setItem(KEY, JSON.stringify(attempt));
  return attempt;
}

/** The attempt that never got an answer, if it is this visitor's. @returns {Attempt | null} */
export function unanswered() {
  const attempt = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  return attempt && attempt.user === userId() ? attempt : null;
}

/**
 * Sends an attempt until there is an answer. A yes or a no ends it; silence leaves it kept.
 * @param {Attempt} attempt
 * @param {(text: string) => void} tell hears that another try is needed
 * @returns {Promise<{order_id: string}>}
 */
export async function send(attempt, tell) {
  for (const pause of [...PAUSES_MS, null]) {
    try {
      const order = await call("POST", "/api/v1/orders", attempt.body, { "Idempotency-Key": attempt.key });
      sessionStorage.removeItem(KEY);
      return order;
    } catch (error) {
      if (!isUndecided(error)) {
        sessionStorage.removeItem(KEY);
        throw error;
      }
      if (pause === null) throw error;
      tell("No answer yet. Sending the same order again; it cannot be placed twice.");
      await rest(Math.max(pause, 1_000 * (error.retryAfter ?? 0)));
    }
  }
}

/** Nothing was decided: no answer, or one that says "not now". */
export const isUndecided = (error) =>
  error instanceof Unreachable || (error instanceof Problem && (error.status === 429 || error.status >= 500));

const rest = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
