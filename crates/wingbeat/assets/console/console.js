/**
 * The behaviour of all pages: live figures, and actions without loading the page again. Without
 * this module links and forms do the same.
 * @module
 */
import { follow, renew } from "./live.js";
import { startMap } from "./map.js";

/** The timeout of an action. It is longer than any wait of the server. */
const WAIT_MAX_MS = 15_000;

const live = follow();

/** Sends a form and shows the page that it leads to. */
async function send(form) {
  const response = await fetch(form.action, { method: "POST", signal: AbortSignal.timeout(WAIT_MAX_MS) });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!response.ok || !page.querySelector("[data-live]")) throw new Error(`refused with ${response.status}`);
  renew(page);
  const done = page.querySelector("[data-done]");
  if (done) announce(done);
}

/** Shows the result of an action above the page, where screen readers read it out. */
function announce(done) {
  document.querySelector("[data-done]")?.remove();
  const shown = done.cloneNode(false);
  document.querySelector("main").prepend(shown);
  // A text that arrives in a region that exists already is read out.
  requestAnimationFrame(() => { shown.textContent = done.textContent; });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-quiet]")) return;
  event.preventDefault();
  const button = form.querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  live.pause(async () => {
    try {
      await send(form);
    } catch {
      // The server knows best what went wrong: let it show its page.
      form.removeAttribute("data-quiet");
      form.submit();
    } finally {
      button.disabled = false;
    }
  });
});

// A reload must not announce the action again.
const here = new URL(location.href);
if (here.searchParams.has("did")) {
  here.searchParams.delete("did");
  history.replaceState(null, "", here);
}

// A page from the back/forward cache is outdated.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

// On a phone the navigation is wider than the page.
document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

startMap();
