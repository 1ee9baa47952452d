/**
 * The progress of an order in steps. The server's `steps.rs` contains the same rules.
 * @module
 */
import { all, one } from "./dom.js";

/** @typedef {import("./stream.js").Change} Change */

export const STEPS = ["placed", "stock_reserved", "payment_authorized", "paid", "shipped", "completed"];

const WORDS = { done: "done", current: "in progress", waiting: "waiting for the bank", todo: "not yet", failed: "failed" };

const FAILED_AFTER = { payment_declined: 1, payment_timeout: 1, reservation_expired: 2 };

/** Returns whether the status is terminal. */
export const isOver = (status) => status === "completed" || status === "rejected" || status === "cancelled";

/** Returns whether the page offers a cancel. The shop decides whether it is accepted. */
export const mayCancel = (status) => !isOver(status) && status !== "shipped" && status !== "cancelling";

/**
 * Returns whether `next` is newer than `now`. A status never moves backwards and never leaves a
 * terminal one, but the stream and a poll can arrive in any order.
 * @param {Change} now @param {Change} next
 */
export function isNews(now, next) {
  if (isOver(now.status)) return false;
  const [from, to] = [STEPS.indexOf(now.status), STEPS.indexOf(next.status)];
  if (from >= 0 && to >= 0 && from !== to) return to > from;
  return !(Date.parse(next.updated_at) < Date.parse(now.updated_at));
}

/** Returns the state of each step. @param {Change} order @returns {string[]} */
export function states({ status, reason, payment_delayed }) {
  const reached = status === "rejected" ? FAILED_AFTER[reason] ?? 0 : Math.max(0, STEPS.indexOf(status));
  return STEPS.map((step, index) => {
    if (index <= reached) return "done";
    if (index > reached + 1 || status === "cancelled" || status === "cancelling") return "todo";
    if (status === "rejected") return "failed";
    return payment_delayed && (step === "payment_authorized" || step === "paid") ? "waiting" : "current";
  });
}

/** Shows the states of the steps in `list`. @param {HTMLElement} list @param {Change} order */
export function showSteps(list, order) {
  const now = states(order);
  all("[data-step]", list).forEach((item, index) => {
    const state = now[index];
    item.dataset.state = state;
    if (state === "current" || state === "waiting") item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    one("[data-step-words]", item).textContent = WORDS[state];
  });
}
