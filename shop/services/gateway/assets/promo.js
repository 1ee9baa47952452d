/**
 * Promo codes: the visitor's own as buttons, and a field for others.
 * @module
 */
import { get } from "./api.js";
import { el, one } from "./dom.js";
import { say } from "./say.js";
import * as session from "./session.js";

/** @typedef {{code: string, percent: number, status: string, expires_at: string}} Promo */

/** The welcome promo arrives within seconds after the sign-up, so load it a few times. */
const TRIES = 6;
const PAUSE_MS = 1_500;

/** @type {Promo[]} */
let own = [];
let applied = "";
let changed = () => {};

/** Returns the applied code. `percent` is `null` for a code that is not one of the visitor's own. */
export function current() {
  if (!applied) return null;
  const promo = own.find(({ code }) => code.toLowerCase() === applied.toLowerCase());
  return { code: promo?.code ?? applied, percent: promo?.percent ?? null };
}

/** @param {() => void} onChange is called for each change of the total */
export function startPromo(onChange) {
  changed = onChange;
  const form = one("[data-promo-form]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply(form.elements.namedItem("code").value.trim());
  });
  document.addEventListener(session.CHANGED, () => load(TRIES));
  load(TRIES);
}

export function apply(code) {
  applied = code;
  one("#promo-code").value = code;
  say(code ? `Promo code ${code} applied.` : "No promo code applied.");
  draw();
  changed();
}

async function load(tries) {
  if (session.state() === "out") return;
  const items = await get("/api/v1/promotions").then((page) => page.items, () => []);
  own = items.filter((promo) => promo.status === "issued");
  draw();
  changed();
  if (!items.length && tries > 1) setTimeout(() => load(tries - 1), PAUSE_MS);
}

function draw() {
  const place = one("[data-promo-offers]");
  place.replaceChildren(...own.map((promo) => {
    const on = promo.code.toLowerCase() === applied.toLowerCase();
    const button = el("button", { type: "button", class: "offer", "data-promo": promo.code },
      el("b", {}, `${promo.percent} % off`), el("span", { class: "offer-code" }, promo.code), el("span", { class: "offer-act" }, on ? "Applied" : "Apply"));
    button.setAttribute("aria-pressed", String(on));
    button.addEventListener("click", () => apply(on ? "" : promo.code));
    return button;
  }));
}
