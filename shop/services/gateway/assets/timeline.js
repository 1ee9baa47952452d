/**
 * The timeline: the messages of an order as a tree of causes.
 * @module
 */
import { el, one } from "./dom.js";
import { clock, since } from "./when.js";

/** @typedef {{at: string, service: string, kind: "event" | "command" | "timer" | "call" | "unknown", name: string, id: string, causation_id?: string}} Item */

const SERVICES = ["identity", "catalog", "carts", "promotions", "orders", "inventory", "payments", "shipping", "notifications", "gateway", "provider"];
const KINDS = { event: "event", command: "command", timer: "timer", call: "outside call", unknown: "written by a newer release" };

/** Deeper branches are drawn at this depth, because phones are narrow. */
const DEPTH_MAX = 6;

/** The message that completes each step. */
const MARKS = {
  "orders.order_placed": "placed",
  "inventory.stock_reserved": "stock_reserved",
  "payments.payment_authorized": "payment_authorized",
  "orders.order_paid": "paid",
  "orders.order_shipped": "shipped",
  "orders.order_completed": "completed",
};

/** Returns a message type without its version: `orders.order_paid` of `orders.order_paid.v1`. */
const plain = (name) => name.replace(/\.v\d+$/, "");

/** Returns the time of each completed step in the timeline. @param {Item[]} items */
export function stepTimes(items) {
  const times = new Map();
  for (const item of items) {
    const step = MARKS[plain(item.name)];
    if (step && !times.has(step)) times.set(step, item.at);
  }
  return times;
}

/** Returns the size of the tree below each item, including the item. @param {Item[]} items causes first */
function sizes(items) {
  const size = new Map();
  for (const item of [...items].reverse()) {
    size.set(item.id, (size.get(item.id) ?? 0) + 1);
    const cause = item.causation_id;
    if (cause !== item.id) size.set(cause, (size.get(cause) ?? 0) + size.get(item.id));
  }
  return size;
}

/**
 * Puts each item below its cause. If an item has several effects, the largest branch comes last and
 * stays in the column of its cause; the others come before it, indented. So the main path of the
 * order reads straight down.
 * @param {Item[]} items causes before effects
 * @returns {{item: Item, depth: number, cause?: Item}[]}
 */
export function tree(items) {
  const byId = new Map(items.map((item) => [item.id, item]));
  const effects = new Map();
  const roots = [];
  for (const item of items) {
    const cause = item.causation_id !== item.id && byId.get(item.causation_id);
    if (!cause) roots.push(item);
    else effects.set(cause.id, [...(effects.get(cause.id) ?? []), item]);
  }
  const size = sizes(items);
  const rows = [];
  const stack = roots.reverse().map((item) => ({ item, depth: 0 }));
  while (stack.length) {
    const row = stack.pop();
    rows.push(row);
    const below = (effects.get(row.item.id) ?? []).sort((a, b) => size.get(b.id) - size.get(a.id));
    effects.delete(row.item.id);
    below.forEach((item, index) => stack.push({ item, depth: row.depth + (index > 0 ? 1 : 0), cause: row.item }));
  }
  return rows;
}

/** Draws the tree. @param {Item[]} items @param {string} start the time of the order */
export function drawTimeline(items, start) {
  one("[data-timeline-items]").replaceChildren(...tree(items).map((row, index, rows) => drawRow(row, rows[index - 1], start)));
  const services = SERVICES.filter((service) => items.some((item) => item.service === service));
  one("[data-timeline-legend]").replaceChildren(...services.map((service) => el("li", { "data-service": service }, service)));
}

function drawRow({ item, depth, cause }, above, start) {
  const name = plain(item.name).split(".").at(-1).replaceAll("_", " ");
  const row = el("li", { class: "cause", "data-service": item.service, "data-kind": item.kind, "data-depth": Math.min(depth, DEPTH_MAX), "data-id": item.id },
    el("span", { class: "cause-name", title: item.name }, name),
    el("span", { class: "cause-about" }, `${item.service} · ${KINDS[item.kind] ?? item.kind}`),
    el("time", { class: "cause-time", datetime: item.at, title: clock(item.at) }, since(start, item.at)));
  if (cause) {
    const why = `because of ${plain(cause.name).split(".").at(-1).replaceAll("_", " ")}`;
    row.append(el("span", { class: above?.item === cause ? "sr" : "cause-why" }, why));
  }
  return row;
}
