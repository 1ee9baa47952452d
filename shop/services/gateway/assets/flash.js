/**
 * The flash sales on the front page: their clocks, the units left, and "Claim and buy".
 * @module
 */
import { Problem, call, get } from "./api.js";
import * as attempt from "./attempt.js";
import { all, el, one, busy, picture, whileVisible } from "./dom.js";
import { money } from "./money.js";
import { say } from "./say.js";
import * as session from "./session.js";
import { problemWords } from "./words.js";

/** @typedef {{id: string, sku: string, price: import("./api.js").Money, allocation: number, left: number, opens_at: string, closes_at: string, per_user: number, state: string}} Sale */

const EVERY_MS = 2_000;
const CLOCK_MS = 250;
/** The pause between two looks at a claim that is not decided yet. */
const PENDING_MS = 150;

/** The address of orders with one click, which does not exist. */
const ADDRESS = { line1: "1 Kingfisher Lane", postal_code: "28195", city: "Bremen", country: "DE" };

const place = one("[data-flash]");
const list = one("[data-flash-sales]");

/** The names of products by SKU. @type {Map<string, Promise<string>>} */
const names = new Map();

function nameOf(sku) {
  if (!names.has(sku)) {
    const name = get(`/api/v1/products/${encodeURIComponent(sku)}`).then((product) => product.name);
    names.set(sku, name.catch(() => { names.delete(sku); return sku; }));
  }
  return names.get(sku);
}

/** Shows the sales that have not ended. `ask` lets a visitor without a session sign in. */
export function startFlash(ask) {
  if (!list) return;
  const look = () => refresh(ask).catch(() => {});
  look();
  whileVisible(EVERY_MS, look);
  setInterval(tick, CLOCK_MS);
}

async function refresh(ask) {
  const { items } = await get("/api/v1/flash-sales");
  const open = items.filter((sale) => sale.state !== "closed");
  for (const card of all("[data-sale]", list)) {
    if (!open.some((sale) => sale.id === card.dataset.sale)) card.remove();
  }
  for (const sale of open) {
    const card = one(`[data-sale="${sale.id}"]`, list) ?? list.appendChild(cardOf(sale, ask));
    update(card, sale);
  }
  place.hidden = open.length === 0;
  tick();
}

/** Creates the card of a sale. @param {Sale} sale */
function cardOf(sale, ask) {
  const button = el("button", { class: "go", type: "button", "data-claim": true }, "Claim and buy");
  const name = el("h3", { class: "product-name" }, sale.sku);
  const card = el("li", { class: "flash-sale", "data-sale": sale.id, "data-sku": sale.sku },
    el("img", { src: picture(sale.sku), alt: "", width: 400, height: 300, decoding: "async" }),
    el("div", { class: "flash-facts" }, name,
      el("p", { class: "flash-price" }, el("span", { class: "price" }, money(sale.price)), " ",
        el("span", { class: "flash-left", "data-left": true })),
      el("progress", { max: sale.allocation, "data-bar": true, "aria-label": "Units left" }),
      el("p", { class: "flash-clock", "data-clock": true, role: "timer" })),
    button);
  nameOf(sale.sku).then((text) => {
    name.textContent = text;
    button.setAttribute("aria-label", `Claim and buy: ${text}`);
  });
  const buy = () => busy(button, () => claimAndBuy(sale)).catch((error) => explain(error, ask, buy));
  button.addEventListener("click", buy);
  return card;
}

function explain(error, ask, buy) {
  if (error instanceof Problem && error.status === 401) {
    session.show(null);
    return ask(buy);
  }
  say(problemWords(error), "bad");
}

const LEFT = { sold_out: "Sold out", paused: "Paused for a moment", scheduled: "Soon" };

/** @param {HTMLElement} card @param {Sale} sale */
function update(card, sale) {
  card.dataset.state = sale.state;
  card.dataset.opens = sale.opens_at;
  card.dataset.closes = sale.closes_at;
  one("[data-left]", card).textContent = LEFT[sale.state] ?? `${sale.left} of ${sale.allocation} left`;
  one("[data-bar]", card).value = sale.left;
  const button = one("[data-claim]", card);
  if (!button.hasAttribute("aria-busy")) button.disabled = sale.state !== "open";
}

/** Shows the time until each sale opens or closes. */
function tick() {
  const now = Date.now();
  for (const card of all("[data-sale]", list)) {
    const opens = Date.parse(card.dataset.opens);
    const [words, until] = now < opens ? ["Opens in", opens] : ["Closes in", Date.parse(card.dataset.closes)];
    const text = `${words} ${left(until - now)}`;
    const clock = one("[data-clock]", card);
    if (clock.textContent !== text) clock.textContent = text;
  }
}

/** Returns a duration as `1:02:03` or `2:03`. */
function left(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1_000));
  const parts = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, at) => (at === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** Claims a unit, orders it once the claim is confirmed, and opens the order. @param {Sale} sale */
async function claimAndBuy(sale) {
  if (session.state() === "out") throw new Problem(401, { code: "unauthenticated" }, 0);
  const path = `/api/v1/flash-sales/${encodeURIComponent(sale.id)}/claims`;
  const { claim_id } = await call("POST", path, undefined, { "Idempotency-Key": session.random(16) });
  say("Claimed. Waiting for the confirmation.");
  await confirmed(claim_id);
  const body = { flash_claim_id: claim_id, payment_token: "tok_ok", address: ADDRESS, expected_total: sale.price };
  const { order_id } = await attempt.send(attempt.start(body), (text) => say(text));
  location.assign(`/orders/${encodeURIComponent(order_id)}`);
  // The button stays busy until the page of the order loads.
  await new Promise(() => {});
}

/** Waits until a claim is confirmed. */
async function confirmed(claim) {
  for (;;) {
    const { status } = await get(`/api/v1/flash-claims/${encodeURIComponent(claim)}`);
    if (status === "confirmed") return;
    if (status !== "pending") throw new Problem(409, { code: "claim_expired" }, 0);
    await new Promise((resolve) => { setTimeout(resolve, PENDING_MS); });
  }
}
