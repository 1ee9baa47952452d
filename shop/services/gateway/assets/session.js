/**
 * The visitor's session: sign up, in and out, and the parts of the page that depend on it.
 * @module
 */
import { Problem, call, get } from "./api.js";
import { all } from "./dom.js";

/** @typedef {import("./api.js").Me} Me */

/** Fired on `document` when the visitor signs in or out. */
export const CHANGED = "wingbeat:session";

/** @returns {"in" | "out" | "unknown"} */
export const state = () => document.body.dataset.session;
export const userId = () => document.body.dataset.user;
export const email = () => document.body.dataset.email;

/** Loads the account and shows it. @returns {Promise<Me | null>} */
export async function refresh() {
  try {
    return show(await get("/api/v1/me"));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return show(null);
    throw error;
  }
}

/** Shows the parts of the page for a signed-in or signed-out visitor. @param {Me | null} me */
export function show(me) {
  const { dataset } = document.body;
  const before = `${dataset.session} ${dataset.user}`;
  dataset.session = me ? "in" : "out";
  dataset.user = me?.user_id ?? "";
  dataset.email = me?.email ?? "";
  for (const part of all("[data-when]")) part.hidden = part.dataset.when !== dataset.session;
  for (const name of all("[data-me-name]")) name.textContent = me?.name ?? "";
  for (const address of all("[data-me-email]")) address.textContent = me?.email ?? "";
  if (before !== `${dataset.session} ${dataset.user}`) document.dispatchEvent(new CustomEvent(CHANGED));
  return me;
}

/** @param {string} email @param {string} password */
export async function signIn(email, password) {
  const { user_id, name } = await call("POST", "/api/v1/sessions", { email, password });
  return show({ user_id, name, email });
}

/** @param {{email: string, password: string, name: string, marketing_opt_in?: boolean}} user */
export async function signUp(user) {
  await call("POST", "/api/v1/users", user);
  return signIn(user.email, user.password);
}

/** Signs up a guest: a user with a generated address, whose password is not kept. */
export async function guest() {
  if (state() === "in") return null;
  return signUp({ email: `guest-${random(8)}@shop.example`, password: random(18), name: "Guest" });
}

export async function signOut() {
  await call("DELETE", "/api/v1/sessions/current");
  show(null);
}

/** Closes the account and erases its personal data. @param {string} password */
export async function closeAccount(password) {
  await call("DELETE", "/api/v1/me", { password });
  show(null);
}

/** Returns the page after the sign-in. It is always a path of this site. */
export function next() {
  const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return wanted.origin === location.origin ? wanted.pathname + wanted.search : "/";
}

/** Returns random bytes in hexadecimal. */
export function random(bytes) {
  const numbers = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(numbers, (number) => number.toString(16).padStart(2, "0")).join("");
}
