/**
 * "Your mail": the mails to the visitor's address.
 * @module
 */
import { get } from "./api.js";
import { el, one, whileVisible } from "./dom.js";
import * as session from "./session.js";
import { clock } from "./when.js";

const EVERY_MS = 3_000;

/** @typedef {{to: string, template: string, subject: string, body: string, at: string}} Mail */

let shown = "";

export function startMail() {
  const look = () => refresh().catch(() => {});
  document.addEventListener(session.CHANGED, look);
  whileVisible(EVERY_MS, look);
  look();
}

async function refresh() {
  const to = session.email();
  const items = to ? (await get(`/dev/mailbox?to=${encodeURIComponent(to)}`)).items : [];
  const newest = [...items].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  const mark = newest.map((mail) => `${mail.template} ${mail.at}`).join();
  // Only drawn for new mails, so that an opened mail stays open.
  if (mark === shown) return;
  shown = mark;
  one("[data-mail-empty]").hidden = newest.length > 0;
  one("[data-mail]").replaceChildren(...newest.map(draw));
}

/** @param {Mail} mail */
function draw(mail) {
  return el("li", { "data-template": mail.template },
    el("details", {},
      el("summary", {}, el("span", { class: "mail-subject" }, mail.subject), el("time", { datetime: mail.at }, clock(mail.at))),
      el("p", { class: "mail-body" }, mail.body)));
}
