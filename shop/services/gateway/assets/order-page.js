/**
 * The page of an order: live steps, the cancel, the timeline.
 * @module
 */
import { Problem, call, get } from "./api.js";
import { busy, one, whileVisible } from "./dom.js";
import "./page.js";
import { showProblem } from "./say.js";
import { isNews, isOver, mayCancel, showSteps } from "./steps.js";
import { follow } from "./stream.js";
import { drawTimeline, stepTimes } from "./timeline.js";
import { since } from "./when.js";
import { headline, problemWords } from "./words.js";

/** The polling interval without the live stream. With the stream, every sixth poll still runs. */
const POLL_MS = 1_500;
const POLL_LIVE_EVERY = 6;

/** Other services update their timelines shortly after the order changes. */
const TIMELINE_AFTER_MS = 600;

const page = one("[data-order]");
const problem = one("[data-problem]", page);
const why = one("[data-why]");
const cancel = one("[data-cancel]");
const path = `/api/v1/orders/${encodeURIComponent(page.dataset.order)}`;
const placedAt = page.dataset.placedAt;

/** @type {import("./stream.js").Change} */
let now = {
  order_id: page.dataset.order,
  status: page.dataset.status,
  reason: page.dataset.reason || undefined,
  payment_delayed: page.dataset.delayed === "true",
  updated_at: page.dataset.updatedAt,
};

/** Shows a change of this order, unless it is outdated. @param {import("./stream.js").Change} change */
function show(change) {
  if (change.order_id !== now.order_id || !isNews(now, change)) return;
  const moved = change.status !== now.status;
  now = change;
  page.dataset.status = change.status;
  page.dataset.reason = change.reason ?? "";
  page.dataset.delayed = String(change.payment_delayed);
  showSteps(one("[data-steps]"), change);
  const line = one("[data-headline]");
  line.dataset.tone = change.status;
  // Only written if it differs, so that a screen reader reads each sentence once.
  if (line.textContent !== headline(change)) line.textContent = headline(change);
  cancel.hidden = !mayCancel(change.status);
  if (moved) setTimeout(() => refreshTimeline().catch(() => {}), TIMELINE_AFTER_MS);
  if (isOver(change.status)) stop();
}

async function refresh() {
  if (!isOver(now.status)) show(await get(path));
}

async function refreshTimeline() {
  const { items } = await get(`${path}/timeline`);
  for (const [step, at] of stepTimes(items)) {
    one(`[data-step="${step}"] [data-step-time]`).textContent = step === "placed" ? "" : since(placedAt, at);
  }
  if (!one("[data-timeline]").hidden) drawTimeline(items, placedAt);
}

let ticks = 0;
const quietly = () => refresh().catch(() => {});
const feed = isOver(now.status) ? null : follow({ onChange: show, onOpen: quietly });
const stopPolling = isOver(now.status) ? null : whileVisible(POLL_MS, () => {
  ticks += 1;
  if (!feed.isOpen() || ticks % POLL_LIVE_EVERY === 0) quietly();
});

function stop() {
  feed?.close();
  stopPolling?.();
}

cancel.addEventListener("click", () => busy(cancel, async () => {
  showProblem(problem, null);
  try {
    await call("POST", `${path}/cancel`);
  } catch (error) {
    showProblem(problem, problemWords(error));
    if (error instanceof Problem && error.code === "not_cancellable") cancel.hidden = true;
  }
  await quietly();
}));

why.addEventListener("click", () => busy(why, async () => {
  const panel = one("[data-timeline]");
  panel.hidden = !panel.hidden;
  why.setAttribute("aria-expanded", String(!panel.hidden));
  showProblem(problem, null);
  if (panel.hidden) return;
  try {
    await refreshTimeline();
    panel.focus();
  } catch (error) {
    showProblem(problem, problemWords(error));
  }
}));

refreshTimeline().catch(() => {});
