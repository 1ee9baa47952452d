/**
 * Amounts of money, written as the server-rendered pages write them.
 * @module
 */

/** @param {import("./api.js").Money} money */
export function money({ amount_minor, currency }) {
  return new Intl.NumberFormat("en-IE", { style: "currency", currency }).format(amount_minor / 100);
}

/** @param {number} amount_minor @returns {import("./api.js").Money} */
export const eur = (amount_minor) => ({ amount_minor, currency: "EUR" });

/** `percent` of `amount`, half up, in whole minor units: the shop's own rule. */
export const share = (amount, percent) => Math.floor((amount * percent + 50) / 100);
