/**
 * The texts for the shop's codes and statuses.
 * @module
 */
import { Problem, Unreachable } from "./api.js";

const PROBLEMS = {
  below_reserved: "These units are reserved for orders.",
  cart_empty: "Your cart is empty. You may have bought it in another tab.",
  claim_expired: "Your claim got no unit in time. Try again while there are units left.",
  claim_used: "This claim was ordered already.",
  cross_site: "The shop refused this request, because it came from another site.",
  email_taken: "There is already an account with this email address. Sign in instead?",
  idempotency_key_reused: "This order was sent before with other content. Check your orders before you buy again.",
  invalid_credentials: "The email address or the password is wrong.",
  limit_reached: "You have as many units of this sale as you may have.",
  not_cancellable: "This order can no longer be cancelled.",
  not_open: "The sale is not open.",
  price_changed: "A price has changed. The cart now shows the new total: press Buy again if you agree.",
  sale_paused: "The sale is paused for a moment. Try again.",
  sold_out: "The sale is sold out. Units that are not bought in time come back.",
  wrong_password: "The password is wrong.",
  unauthenticated: "Your session has ended. Sign in again, or shop as guest.",
};

/** Returns the message for an error. @param {unknown} error */
export function problemWords(error) {
  if (error instanceof Unreachable) return "The shop could not be reached. Check your connection and try again.";
  if (!(error instanceof Problem)) return "An unexpected error occurred. Reload the page and try again.";
  if (PROBLEMS[error.code]) return PROBLEMS[error.code];
  if (error.status === 429) return `Too many attempts. Wait ${error.retryAfter || "a few"} seconds.`;
  if (error.status >= 500) return "This part of the shop is unavailable. Try again in a moment.";
  return error.message;
}

const REJECTIONS = {
  out_of_stock: "An item is sold out.",
  payment_declined: "The bank declined the payment.",
  payment_timeout: "The bank did not answer.",
  promo_invalid: "The promo code is not valid.",
  reservation_expired: "The reservation expired.",
};

const HEADLINES = {
  placed: "We have your order. Reserving your items.",
  stock_reserved: "Your items are reserved. Waiting for the bank.",
  payment_authorized: "The bank authorized the payment. Collecting it.",
  paid: "Paid. We are packing it.",
  shipped: "On its way to you.",
  completed: "Delivered. Enjoy!",
  cancelling: "Cancelling your order.",
  cancelled: "Cancelled. Stock, payment and promo code are released.",
};

/** Returns the status of an order as a sentence. */
export function headline({ status, reason, payment_delayed }) {
  if (status === "rejected") {
    return `${REJECTIONS[reason] ?? "We could not accept this order."} You have not been charged.`;
  }
  if (payment_delayed && (status === "placed" || status === "stock_reserved" || status === "payment_authorized")) {
    return "The bank is not answering; your order is safe.";
  }
  return HEADLINES[status] ?? status;
}

const LABELS = {
  placed: "Placed",
  stock_reserved: "Stock reserved",
  payment_authorized: "Authorized",
  paid: "Paid",
  shipped: "Shipped",
  completed: "Delivered",
  cancelling: "Cancelling",
  cancelled: "Cancelled",
  rejected: "Rejected",
};

/** Returns a status in one or two words. */
export const statusLabel = (status) => LABELS[status] ?? status;
