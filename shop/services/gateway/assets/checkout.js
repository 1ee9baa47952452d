/**
 * The checkout form: the price, the invalid fields, and "Buy".
 * @module
 */
import { Problem } from "./api.js";
import * as attempt from "./attempt.js";
import * as cart from "./cart.js";
import { all, busy, el, one } from "./dom.js";
import { eur, money, share } from "./money.js";
import * as promo from "./promo.js";
import { say, showProblem } from "./say.js";
import * as session from "./session.js";
import { problemWords } from "./words.js";

/** The address that is filled in for guests. */
const GUEST_ADDRESS = { line1: "1 Kingfisher Lane", postal_code: "28195", city: "Bremen", country: "DE" };

const form = /** @type {HTMLFormElement} */ (one("[data-checkout]"));
const buy = /** @type {HTMLButtonElement} */ (one("[data-buy]"));

/** Returns subtotal, discount and total in minor units; the total is `null` if only the shop knows it. */
function sums() {
  const subtotal = cart.current()?.total.amount_minor ?? 0;
  const code = promo.current();
  if (code && code.percent === null) return { subtotal, discount: null, total: null, code };
  const discount = code ? share(subtotal, code.percent) : 0;
  return { subtotal, discount, total: subtotal - discount, code };
}

/** Shows the sums, and the price on the button. */
export function showSums() {
  const { subtotal, discount, total, code } = sums();
  const later = "calculated when you buy";
  const sum = (name, text) => { one(`[data-sum="${name}"]`).textContent = text; };
  sum("subtotal", money(eur(subtotal)));
  one("[data-sum-discount]").hidden = !code;
  sum("code", code?.code ?? "");
  sum("discount", discount === null ? later : `−${money(eur(discount))}`);
  sum("total", money(eur(total ?? subtotal)));
  if (!buy.hasAttribute("aria-busy")) buy.textContent = `Buy for ${money(eur(total ?? subtotal))}`;
}

/** Returns the request body of the order. */
function order() {
  const data = new FormData(form);
  const { total, code } = sums();
  const field = (name) => String(data.get(name)).trim();
  return {
    payment_token: data.get("payment_token"),
    address: { line1: field("line1"), city: field("city"), postal_code: field("postal_code"), country: field("country") },
    ...(code && { promo_code: code.code }),
    ...(total !== null && { expected_total: eur(total) }),
  };
}

/** Sends an attempt and opens its order. @param {attempt.Attempt} sent */
async function place(sent) {
  const problem = one("[data-problem]", form);
  showProblem(problem, null);
  clearFields();
  buy.textContent = "Buying…";
  try {
    const { order_id } = await attempt.send(sent, (text) => showProblem(problem, text));
    location.assign(`/orders/${encodeURIComponent(order_id)}`);
    // The button stays busy until the page of the order loads.
    await new Promise(() => {});
  } catch (error) {
    showProblem(problem, problemWords(error));
    if (!problem.offsetParent) say(problemWords(error), "bad");
    if (error instanceof Problem) explain(error);
    showResume();
  }
}

/** Updates the page after a refusal: new prices, no session, invalid fields. */
function explain(error) {
  if (error.code === "price_changed" || error.code === "cart_empty") cart.load();
  if (error.status === 401) session.show(null);
  for (const { pointer, message } of error.errors) markField(pointer.split("/").at(-1), message);
  one("[aria-invalid=true]", form)?.focus();
}

function markField(name, message) {
  const input = form.elements.namedItem(name);
  if (!(input instanceof HTMLElement)) return;
  const hint = el("p", { class: "field-problem", id: `${input.id}-problem` }, message);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", hint.id);
  input.after(hint);
}

function clearFields() {
  for (const hint of all(".field-problem", form)) hint.remove();
  for (const input of all("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
}

/** Offers to resend an attempt without a reply. Until then nothing else can be bought. */
function showResume() {
  const open = attempt.unanswered();
  one("[data-resume]").hidden = !open;
  buy.hidden = Boolean(open);
}

function prefill() {
  if (!session.email().startsWith("guest-")) return;
  for (const [name, value] of Object.entries(GUEST_ADDRESS)) {
    const input = form.elements.namedItem(name);
    if (!input.value || name === "country") input.value = value;
  }
}

export function startCheckout() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!form.reportValidity()) return;
    busy(buy, () => place(attempt.start(order()))).finally(showSums);
  });
  const again = one("[data-resume-button]");
  again.addEventListener("click", () => busy(again, () => place(attempt.unanswered())));
  document.addEventListener(cart.CHANGED, showSums);
  document.addEventListener(session.CHANGED, () => { prefill(); showResume(); });
  prefill();
  showResume();
}
