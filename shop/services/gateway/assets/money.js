/**
 * Amounts of money, in the format of the server's `money.rs`.
 * @module
 */

/** Formats an amount. @param {import("./api.js").Money} money */
export function money({ amount_minor, currency }) {
  return new Intl.NumberFormat("en-IE", { style: "currency", currency }).format(amount_minor / 100);
}

/** @param {number} amount_minor @returns {import("./api.js").Money} */
export const eur = (amount_minor) => ({ amount_minor, currency: "EUR" });

/** Returns `percent` percent of an amount, rounded half up, like the shop does. */
export const share = (amount, percent) => Math.floor((amount * percent + 50) / 100);
