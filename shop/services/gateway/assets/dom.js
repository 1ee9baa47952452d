/**
 * Shorthands for the DOM.
 * @module
 */

/** @param {string} selector @param {ParentNode} [root] @returns {HTMLElement | null} */
export const one = (selector, root = document) => root.querySelector(selector);

/** @param {string} selector @param {ParentNode} [root] @returns {HTMLElement[]} */
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/**
 * Creates an element with attributes and children. Text is set as text and never parsed.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | undefined>} [attributes] `true` sets it empty, `false` leaves it out
 * @param {...(Node | string)} children
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** Runs `work` with `button` disabled, so that a double click runs it once. */
export async function busy(button, work) {
  if (button.disabled) return;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Returns the path of a product's picture. */
export const picture = (sku) => `/assets/artwork/${encodeURIComponent(sku)}`;

/**
 * Calls `work` every `milliseconds` while the page is visible, and when it becomes visible again.
 * Returns a function that stops it.
 */
export function whileVisible(milliseconds, work) {
  const look = () => document.visibilityState === "visible" && work();
  const timer = setInterval(look, milliseconds);
  document.addEventListener("visibilitychange", look);
  window.addEventListener("focus", look);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", look);
    window.removeEventListener("focus", look);
  };
}
