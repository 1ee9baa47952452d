/**
 * What every page does: the frame's buttons, the cart's count, local times.
 * @module
 */
import { startBackstage } from "./backstage.js";
import { startCart } from "./cart.js";
import { all, busy } from "./dom.js";
import { say } from "./say.js";
import * as session from "./session.js";
import { localTimes } from "./when.js";
import { problemWords } from "./words.js";

/** Runs `work` for a click on `button`; what goes wrong is said in words. */
function onClick(button, work) {
  button.addEventListener("click", () => busy(button, work).catch((error) => say(problemWords(error), "bad")));
}

/** The guest buttons of a page. `then` follows a sign-up, by default nothing. */
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
    // What the page shows may be that person's: start afresh.
    location.assign("/");
  });
}

// A page that comes back from the browser's memory shows what was: somebody may have left since.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

localTimes();
if (session.state() === "unknown") session.refresh().catch(() => {});
startCart();
startBackstage();
