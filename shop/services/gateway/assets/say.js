/**
 * Short messages at the edge of the page, which screen readers read out.
 * @module
 */
import { one } from "./dom.js";

const SHOWN_MS = 5_000;
let timer = 0;

/** @param {string} text @param {"good" | "bad"} [tone] */
export function say(text, tone = "good") {
  const place = one("#say");
  place.textContent = text;
  place.dataset.tone = tone;
  clearTimeout(timer);
  timer = setTimeout(() => { place.textContent = ""; }, SHOWN_MS);
}

/**
 * Shows a problem in its place, or hides the place with `null`.
 * @param {HTMLElement} place
 * @param {string | null} text
 */
export function showProblem(place, text) {
  place.hidden = text === null;
  place.textContent = text ?? "";
}
