/**
 * The behaviour of all pages: the buttons of the frame, the cart's count, local times.
 * @module
 */
import { startBackstage } from "./backstage.js";
import { startCart } from "./cart.js";
import { all, busy } from "./dom.js";
import { say } from "./say.js";
import * as session from "./session.js";
import { localTimes } from "./when.js";
import { problemWords } from "./words.js";

/** Runs `work` for a click on `button` and announces an error. */
function onClick(button, work) {
  button.addEventListener("click", () => busy(button, work).catch((error) => say(problemWords(error), "bad")));
}

/** Starts the guest buttons of a page. `then` runs after a sign-up. */
export function guestButtons(then = () => {}) {
  for (const button of all("[data-guest]")) {
    onClick(button, async () => {
      await session.guest();
      say("Welcome! You are shopping as guest.");
      then();
    });
  }
}

for (const button of all("[data-sign-out]")) {
  onClick(button, async () => {
    await session.signOut();
    // The page can show personal data, so leave it.
    location.assign("/");
  });
}

// A page from the back/forward cache can be outdated: the visitor may have signed out since.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

localTimes();
if (session.state() === "unknown") session.refresh().catch(() => {});
startCart();
startBackstage();
