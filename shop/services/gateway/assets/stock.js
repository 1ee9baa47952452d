/**
 * Refreshes the prices and the stock on the page while it is visible.
 * @module
 */
import { get } from "./api.js";
import { all, one, whileVisible } from "./dom.js";
import { money } from "./money.js";

const EVERY_MS = 4_000;

/** Returns the colour class and the words of the stock. The server's `model.rs` has the same bounds. */
function stockOf(available) {
  if (available <= 0) return ["out", "Sold out"];
  if (available <= 9) return ["low", `Only ${available} left`];
  return ["plenty", `${available.toLocaleString("en-IE")} in stock`];
}

export function startStock() {
  const list = one("[data-products]");
  if (list) whileVisible(EVERY_MS, () => refresh(list).catch(() => {}));
}

/** Loads the products of the page again. */
async function refresh(list) {
  const { items } = await get(list.dataset.products);
  const bySku = new Map(items.map((product) => [product.sku, product]));
  for (const card of all("[data-sku]", list)) {
    const product = bySku.get(card.dataset.sku);
    if (product) update(card, product);
  }
}

function update(card, product) {
  const [level, words] = stockOf(product.available);
  const stock = one("[data-stock]", card);
  if (stock.dataset.available !== String(product.available)) {
    stock.dataset.available = product.available;
    stock.dataset.level = level;
    stock.textContent = words;
  }
  one("[data-price]", card).textContent = money(product.price);
  const button = one("button", card);
  if (!button.hasAttribute("aria-busy")) button.disabled = product.available < 1;
}
