/**
 * An attempt to buy. It keeps its Idempotency-Key until the shop replies, over all retries and even
 * if the page is reloaded, so that a lost reply never buys twice.
 * @module
 */
import { Problem, Unreachable, call } from "./api.js";
import { random, userId } from "./session.js";

const KEY = "wingbeat.attempt";

/** The pauses between the retries of an attempt. After the last one the visitor decides. */
const PAUSES_MS = [500, 1_500, 3_000, 5_000];

/** @typedef {{key: string, user: string, body: object}} Attempt */

/** Stores a new attempt for `body`. @returns {Attempt} */
export function start(body) {
  const attempt = { key: random(16), user: userId(), body };
  sessionStorage.setItem(KEY, JSON.stringify(attempt));
  return attempt;
}

/** Returns the stored attempt without a reply, if it is this visitor's. @returns {Attempt | null} */
export function unanswered() {
  const attempt = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  return attempt && attempt.user === userId() ? attempt : null;
}

/**
 * Sends an attempt until there is a reply, which ends it. Without a reply it stays stored.
 * @param {Attempt} attempt
 * @param {(text: string) => void} notify is called with a message before a retry
 * @returns {Promise<{order_id: string}>}
 */
export async function send(attempt, notify) {
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
      notify("There is no reply yet. Sending the same order again; it cannot be placed twice.");
      await rest(Math.max(pause, 1_000 * (error.retryAfter ?? 0)));
    }
  }
}

/** Returns whether the outcome is open: no reply, or one that asks for a retry. */
export const isUndecided = (error) =>
  error instanceof Unreachable || (error instanceof Problem && (error.status === 429 || error.status >= 500));

const rest = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
