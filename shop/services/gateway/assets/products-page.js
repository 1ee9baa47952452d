/**
 * The products page: flash sales, the guest button, "Add to cart", the refresh of the stock.
 * @module
 */
import { Problem } from "./api.js";
import { startCartLines } from "./cart-lines.js";
import * as cart from "./cart.js";
import { all, busy, one } from "./dom.js";
import { startFlash } from "./flash.js";
import { guestButtons } from "./page.js";
import { say } from "./say.js";
import * as session from "./session.js";
import { startStock } from "./stock.js";
import { problemWords } from "./words.js";

const welcome = /** @type {HTMLDialogElement} */ (one("#welcome"));

/** The work to do once the visitor has signed in. @type {(() => unknown) | null} */
let wanted = null;

/** @param {HTMLFormElement} form */
async function add(form) {
  if (session.state() === "out") return ask(() => add(form));
  const quantity = form.elements.namedItem("quantity");
  try {
    const held = await cart.add(form.dataset.add, Number(quantity.value));
    quantity.value = "1";
    say(`${form.dataset.name}: ${held} in your cart.`);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) {
      session.show(null);
      return ask(() => add(form));
    }
    say(problemWords(error), "bad");
  }
}

function ask(then) {
  wanted = then;
  welcome.showModal();
}

for (const form of all("[data-add]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(one("button", form), () => add(form));
  });
}

const asGuest = one("[data-welcome-guest]");
asGuest.addEventListener("click", () => busy(asGuest, async () => {
  try {
    await session.guest();
    welcome.close();
    await wanted?.();
  } catch (error) {
    welcome.close();
    say(problemWords(error), "bad");
  }
}));
one("[data-welcome-close]").addEventListener("click", () => welcome.close());

startCartLines();
startStock();
startFlash(ask);
guestButtons();
