/**
 * "Break it": the faults of the stand-ins, for visitors who can switch them.
 * @module
 */
import { call, get } from "./api.js";
import { all, busy, one } from "./dom.js";
import { startMail } from "./mail.js";
import { say } from "./say.js";
import * as session from "./session.js";
import { problemWords } from "./words.js";

const FAULTS = {
  outage: [{ outage: true }, "The bank is offline. Orders are accepted and wait."],
  slow: [{ latency_ms: 2_000 }, "Each call to the bank takes two seconds."],
  heal: [{}, "The bank works. Waiting orders continue within seconds."],
};

/** The stand-ins do not come or go while a tab is open, so one check per tab is enough. */
const KNOWN_KEY = "wingbeat.backstage";

export async function startBackstage() {
  const stage = one("[data-backstage]");
  if (!stage || !(await isThere())) return;
  stage.hidden = false;
  for (const button of all("[data-fault]", stage)) {
    button.addEventListener("click", () => busy(button, () => setFaults(button.dataset.fault)));
  }
  startMail();
}

async function isThere() {
  if (sessionStorage.getItem(KNOWN_KEY) === null) {
    const address = session.email() || "nobody@shop.example";
    try {
      const box = await get(`/dev/mailbox?to=${encodeURIComponent(address)}`);
      sessionStorage.setItem(KNOWN_KEY, String(Array.isArray(box?.items)));
    } catch (error) {
      // Remember a refusal, but not a failure.
      if ([401, 403, 404].includes(error.status)) sessionStorage.setItem(KNOWN_KEY, "false");
    }
  }
  return sessionStorage.getItem(KNOWN_KEY) === "true";
}

async function setFaults(name) {
  const [faults, words] = FAULTS[name];
  try {
    await call("PUT", "/dev/provider/faults", faults);
    one("[data-fault-state]").textContent = words;
    for (const button of all("[data-fault]")) button.setAttribute("aria-pressed", String(button.dataset.fault === name && name !== "heal"));
  } catch (error) {
    say(problemWords(error), "bad");
  }
}
