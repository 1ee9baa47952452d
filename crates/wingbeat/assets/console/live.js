/**
 * Live pages: the server renders the page again, and the parts that differ are changed in place, so
 * that focus, selection and open lists stay.
 * @module
 */

/** The pause between two looks. A hidden page does not look. */
const EVERY_MS = 5_000;
/** A page that was not renewed for this long is outdated. */
const WAIT_MAX_MS = 10_000;

const FORMAT = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const TITLES = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** Shows the times of a page in the visitor's time zone when they are pointed at. */
export function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.getAttribute("datetime"));
    if (!Number.isNaN(at.getTime())) time.title = TITLES.format(at);
  }
}

/** Takes over the live parts of a page that was loaded again. @param {Document} page */
export function renew(page) {
  localTimes(page);
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = page.getElementById(part.id);
    if (fresh) change(part, fresh);
  }
  const title = page.title;
  if (title && document.title !== title) document.title = title;
}

/** Makes an element equal to another one, and keeps what the visitor has opened or focused. */
function change(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  changeChildren(old, fresh);
}

/** Attributes that the visitor or a module sets. */
const KEPT = new Set(["open", "data-chosen", "data-on", "disabled"]);

const keyOf = (node) => node.dataset?.key;

function changeChildren(old, fresh) {
  const keyed = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = keyOf(child) ? keyed.get(keyOf(child)) : undefined;
    if (known) {
      if (known === next) next = next.nextSibling;
      else old.insertBefore(known, next);
      change(known, child);
    } else if (next && !keyOf(next) && !keyOf(child) && next.nodeName === child.nodeName) {
      const here = next;
      next = next.nextSibling;
      change(here, child);
    } else {
      old.insertBefore(document.importNode(child, true), next);
    }
  }
  while (next) {
    const last = next;
    next = next.nextSibling;
    last.remove();
  }
}

/**
 * Renews the page while it is visible. Pages without live parts are left alone.
 * @returns {{pause: (work: () => Promise<void>) => Promise<void>}} `pause` runs work while nothing
 *   is renewed
 */
export function follow() {
  localTimes(document);
  const state = document.querySelector("[data-live-state]");
  let paused = 0;
  let timer = 0;

  const say = (value, text) => {
    state.dataset.liveState = value;
    // Screen readers would read out each change of the time.
    if (state.textContent !== text) state.textContent = text;
  };

  async function look() {
    if (paused || document.visibilityState === "hidden") return;
    try {
      const response = await fetch(location.href, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(WAIT_MAX_MS) });
      if (!response.ok) throw new Error(`refused with ${response.status}`);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (paused) return;
      renew(page);
      say("on", `Live: renewed every ${EVERY_MS / 1_000} seconds.`);
    } catch {
      if (state.dataset.liveState !== "off") say("off", `Not reachable. This is the state of ${FORMAT.format(new Date())}.`);
    }
  }

  async function again() {
    clearTimeout(timer);
    await look();
    clearTimeout(timer);
    timer = setTimeout(again, EVERY_MS);
  }

  if (document.querySelector("[data-live]")) {
    say("on", `Live: renewed every ${EVERY_MS / 1_000} seconds.`);
    timer = setTimeout(again, EVERY_MS);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && again());
  }
  return {
    async pause(work) {
      paused += 1;
      try {
        await work();
      } finally {
        paused -= 1;
      }
    },
  };
}
