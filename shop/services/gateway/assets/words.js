/**
 * What the shop's codes mean, in words.
 * @module
 */
import { Problem, Unreachable } from "./api.js";

const PROBLEMS = {
  below_reserved: "That many are already promised to others.",
  cart_empty: "Your cart is empty: perhaps it was bought in another tab.",
  cross_site: "This request came from another site and was refused.",
  email_taken: "There is already an account with this email. Sign in instead?",
  idempotency_key_reused: "This order was already sent with other contents. Look at your orders before you buy again.",
  invalid_credentials: "Email and password do not match.",
  not_cancellable: "Too late to cancel: it is already on its way.",
  price_changed: "A price has changed since you looked. The cart now shows the new total: press Buy again if you agree.",
  unauthenticated: "Your session has ended. Sign in again, or shop as guest.",
};

/** @param {unknown} error */
export function problemWords(error) {
  if (error instanceof Unreachable) return "The shop could not be reached. Check your connection and try again.";
  if (!(error instanceof Problem)) return "Something unexpected happened in this page. Reload it and try again.";
  if (PROBLEMS[error.code]) return PROBLEMS[error.code];
  if (error.status === 429) return `Too many tries. Wait ${error.retryAfter || "a few"} seconds.`;
  if (error.status >= 500) return "That part of the shop is away for a moment. Try again shortly.";
  return error.message;
}

const REJECTIONS = {
  out_of_stock: "Sold out: somebody was faster.",
  payment_declined: "The bank declined the payment.",
  payment_timeout: "The bank never answered.",
  promo_invalid: "That promo code does not work.",
  reservation_expired: "The items were held too long.",
};

const HEADLINES = {
  placed: "We have your order. Setting your items aside.",
  stock_reserved: "Your items are set aside. Asking the bank.",
  payment_authorized: "The bank said yes. Taking the payment.",
  paid: "Paid. We are packing it.",
  shipped: "On its way to you.",
  completed: "Delivered. Enjoy it!",
  cancelling: "Cancelling: we are undoing what was done so far.",
  cancelled: "Cancelled. Everything has been undone: stock, payment, promo code.",
};

/** Where an order stands, in a sentence. */
export function headline({ status, reason, payment_delayed }) {
  if (status === "rejected") {
    return `${REJECTIONS[reason] ?? "We could not take this order."} You have not been charged.`;
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

/** A status in one or two words. */
export const statusLabel = (status) => LABELS[status] ?? status;
