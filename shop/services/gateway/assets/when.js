/**
 * Times in the visitor's time zone.
 * @module
 */
import { all } from "./dom.js";

const FORMAT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** Replaces the server's UTC times by local times. */
export function localTimes() {
  for (const time of all("[data-when-local]")) {
    const at = new Date(time.getAttribute("datetime"));
    if (!Number.isNaN(at.getTime())) time.textContent = FORMAT.format(at);
  }
}

/** Returns the time of day. @param {string} at */
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

/** Returns the time from `start` to `end` as `+38 ms`, `+2.1 s` or `+3 min`; empty if either is invalid. */
export function since(start, end) {
  const elapsed = Date.parse(end) - Date.parse(start);
  if (Number.isNaN(elapsed)) return "";
  if (elapsed < 1_000) return `+${Math.max(0, elapsed)} ms`;
  if (elapsed < 60_000) return `+${(elapsed / 1_000).toFixed(1)} s`;
  return `+${Math.round(elapsed / 60_000)} min`;
}
