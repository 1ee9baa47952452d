/**
 * The cart as this page knows it, and the changes to it, in sequence.
 * @module
 */
import { Problem, call, get } from "./api.js";
import { all } from "./dom.js";
import * as session from "./session.js";

/** @typedef {import("./api.js").Cart} Cart */

/** Fired on `document` with the cart (or `null`) as its detail. */
export const CHANGED = "wingbeat:cart";

/** The largest quantity of one line. */
export const QUANTITY_MAX = 99;

/** The last known count, so that the number does not flicker between pages. */
const COUNT_KEY = "wingbeat.cart-count";

/** @type {Cart | null} */
let cart = null;

/** Each change waits for the previous one, so that two quick clicks add up. */
let last = Promise.resolve();

export const current = () => cart;

export function startCart() {
  if (session.state() !== "out") showCount(Number(sessionStorage.getItem(COUNT_KEY)));
  document.addEventListener(session.CHANGED, () => load());
  load();
}

/** Loads the cart from the shop. If the shop is unavailable, the last known cart stays. */
export async function load() {
  if (session.state() === "out") return set(null);
  try {
    set(await get("/api/v1/cart"));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) {
      session.show(null);
      set(null);
    }
  }
}

/** Adds `more` units of a product to the cart. @returns {Promise<number>} the new quantity */
export function add(sku, more) {
  return inTurn(async () => {
    if (!cart) set(await get("/api/v1/cart"));
    const held = cart.lines.find((line) => line.sku === sku)?.quantity ?? 0;
    const quantity = Math.min(QUANTITY_MAX, held + more);
    set(await call("PUT", item(sku), { quantity }));
    return quantity;
  });
}

export const change = (sku, quantity) => inTurn(async () => set(await call("PUT", item(sku), { quantity })));
export const remove = (sku) => inTurn(async () => set(await call("DELETE", item(sku))));

const item = (sku) => `/api/v1/cart/items/${encodeURIComponent(sku)}`;

function inTurn(work) {
  const turn = last.then(work);
  last = turn.catch(() => {});
  return turn;
}

/** @param {Cart | null} answer */
function set(answer) {
  if (cart && answer && answer.version < cart.version) return;
  cart = answer;
  const count = (cart?.lines ?? []).reduce((sum, line) => sum + line.quantity, 0);
  sessionStorage.setItem(COUNT_KEY, String(count));
  showCount(count);
  document.dispatchEvent(new CustomEvent(CHANGED, { detail: cart }));
}

function showCount(count) {
  for (const badge of all("[data-cart-count]")) {
    badge.hidden = !count;
    badge.textContent = String(count);
    badge.setAttribute("aria-label", `${count} items`);
  }
}
