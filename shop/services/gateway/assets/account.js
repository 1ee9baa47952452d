/**
 * The account page: sign in, sign up, shop as a guest, close the account.
 * @module
 */
import { Problem } from "./api.js";
import { busy, one } from "./dom.js";
import { guestButtons } from "./page.js";
import { showProblem } from "./say.js";
import * as session from "./session.js";
import { problemWords } from "./words.js";

/** Sends a form with `send`, then goes to the page that the visitor requested. */
function onSubmit(form, send) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!form.reportValidity()) return;
    busy(one("button[type=submit]", form), async () => {
      const place = one("[data-problem]", form);
      showProblem(place, null);
      try {
        await send(new FormData(form));
        location.assign(session.next());
      } catch (error) {
        showProblem(place, inForm(error));
      }
    });
  });
}

/** Returns the message of an error, with the invalid fields. */
function inForm(error) {
  const fields = error instanceof Problem ? error.errors.map(({ pointer, message }) => `${pointer.slice(1)}: ${message}`) : [];
  return fields.length ? fields.join("; ") : problemWords(error);
}

onSubmit(one("[data-sign-in]"), (data) => session.signIn(data.get("email"), data.get("password")));
onSubmit(one("[data-sign-up]"), (data) => session.signUp({
  name: data.get("name"),
  email: data.get("email"),
  password: data.get("password"),
  marketing_opt_in: data.has("marketing_opt_in"),
}));
onSubmit(one("[data-close-account]"), (data) => session.closeAccount(data.get("password")));
guestButtons(() => location.assign(session.next()));
