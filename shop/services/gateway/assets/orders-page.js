/**
 * The page of the list of orders, with live statuses.
 * @module
 */
import { get } from "./api.js";
import { all, one } from "./dom.js";
import "./page.js";
import { isOver } from "./steps.js";
import { follow } from "./stream.js";
import { statusLabel } from "./words.js";

/** @param {import("./stream.js").Change} change */
function show({ order_id, status, payment_delayed }) {
  const place = one(`[data-order-id="${CSS.escape(order_id)}"] .status`);
  if (!place) return;
  const delayed = payment_delayed && !isOver(status);
  place.dataset.status = status;
  place.toggleAttribute("data-delayed", delayed);
  place.textContent = delayed ? "Waiting for the bank" : statusLabel(status);
}

/** Loads the changes between the rendering of the page and the start of the live stream. */
async function catchUp() {
  const open = all(".status").filter((place) => !isOver(place.dataset.status));
  if (open.length) (await get("/api/v1/orders?limit=12")).items.forEach(show);
}

if (one("[data-orders]")) follow({ onChange: show, onOpen: () => catchUp().catch(() => {}) });
