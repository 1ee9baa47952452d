/**
 * An order's way as the steps that light up. `steps.rs` says the same on the server.
 * @module
 */
import { all, one } from "./dom.js";

/** @typedef {import("./stream.js").Change} Change */

export const STEPS = ["placed", "stock_reserved", "payment_authorized", "paid", "shipped", "completed"];

const WORDS = { done: "done", current: "under way", waiting: "waiting for the bank", todo: "not yet", failed: "failed" };

const FAILED_AFTER = { payment_declined: 1, payment_timeout: 1, reservation_expired: 2 };

/** Whether the order will not change any more. */
export const isOver = (status) => status === "completed" || status === "rejected" || status === "cancelled";

/** Whether asking to cancel makes sense; the shop decides. */
export const mayCancel = (status) => !isOver(status) && status !== "shipped" && status !== "cancelling";

/**
 * Whether `next` is news after `now`: a status never moves backwards nor leaves a terminal one,
 * but feed and poll may answer out of turn.
 * @param {Change} now @param {Change} next
 */
export function isNews(now, next) {
  if (isOver(now.status)) return false;
  const [from, to] = [STEPS.indexOf(now.status), STEPS.indexOf(next.status)];
  if (from >= 0 && to >= 0 && from !== to) return to > from;
  return !(Date.parse(next.updated_at) < Date.parse(now.updated_at));
}

/** The state of every step. @param {Change} order @returns {string[]} */
export function states({ status, reason, payment_delayed }) {
  const reached = status === "rejected" ? FAILED_AFTER[reason] ?? 0 : Math.max(0, STEPS.indexOf(status));
  return STEPS.map((step, index) => {
    if (index <= reached) return "done";
    if (index > reached + 1 || status === "cancelled" || status === "cancelling") return "todo";
    if (status === "rejected") return "failed";
    return payment_delayed && (step === "payment_authorized" || step === "paid") ? "waiting" : "current";
  });
}

/** Lights up the steps in `list`. @param {HTMLElement} list @param {Change} order */
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
