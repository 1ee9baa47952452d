/**
 * Draws the cart: the lines, the totals, and the parts for an empty or a filled cart.
 * @module
 */
import * as cart from "./cart.js";
import { all, el, one, picture } from "./dom.js";
import { eur, money } from "./money.js";
import { say } from "./say.js";
import { problemWords } from "./words.js";

/** @typedef {import("./api.js").Line} Line */

/** Updates each `[data-cart-lines]` on the page when the cart changes. */
export function startCartLines() {
  document.addEventListener(cart.CHANGED, (event) => draw(event.detail));
}

/** @param {import("./api.js").Cart | null} now */
function draw(now) {
  const lines = now?.lines ?? [];
  for (const part of all("[data-cart-some]")) part.hidden = !lines.length;
  for (const part of all("[data-cart-empty]")) part.hidden = lines.length > 0;
  for (const part of all("[data-cart-total]")) part.textContent = money(now?.total ?? eur(0));
  for (const place of all("[data-cart-lines]")) drawLines(place, lines);
}

function drawLines(place, lines) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  const list = el("ul", { class: "lines" }, ...lines.map((line) => drawLine(line)));
  place.replaceChildren(list);
  // The list was replaced: keep the focus of keyboard users on the control, or at least in the list.
  if (focused) (document.getElementById(focused) ?? one("input", list) ?? one("#main")).focus();
}

/** @param {Line} line */
function drawLine(line) {
  const input = el("input", {
    class: "quantity", type: "number", min: 1, max: cart.QUANTITY_MAX, value: line.quantity,
    id: `line-${line.sku}`, "aria-label": `Quantity of ${line.name}`, inputmode: "numeric",
  });
  input.addEventListener("change", () => setQuantity(line, input));
  const drop = el("button", { type: "button", class: "link", id: `drop-${line.sku}`, "aria-label": `Remove ${line.name}` }, "Remove");
  drop.addEventListener("click", () => attempt(() => cart.remove(line.sku), `${line.name} removed.`));
  return el("li", { class: "line", "data-line": line.sku },
    el("img", { src: picture(line.sku), alt: "", width: 64, height: 48 }),
    el("span", { class: "line-name" }, line.name),
    el("span", { class: "line-count" }, input, el("span", { class: "line-each" }, `× ${money(line.price)}`), drop),
    el("b", { class: "line-sum" }, money(eur(line.price.amount_minor * line.quantity))));
}

/** @param {Line} line @param {HTMLInputElement} input */
function setQuantity(line, input) {
  if (!input.reportValidity() || !input.value) return;
  attempt(() => cart.change(line.sku, Number(input.value)), `${input.value} × ${line.name}.`);
}

async function attempt(work, done) {
  try {
    await work();
    say(done);
  } catch (error) {
    say(problemWords(error), "bad");
    cart.load();
  }
}
